"""What comes in a wheel runs nothing while root installs and compiles it."""

import dataclasses
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import virtualenv

from tests.hostile_wheel import make_wheel
from tests.role.host_python import PIP_WHEELS


@dataclasses.dataclass
class Made:
    """What there is after the environment with the wheel was made.

    Attributes:
        environment: Its directory.
        mark: The file that each of the wheel's ways to run something would leave.
        ran: Something of the wheel ran meanwhile.
    """

    environment: Path
    mark: Path
    ran: bool


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An environment with a wheel full of code that root might run, by this machine's Python."""
    directory = tmp_path_factory.mktemp("virtualenv")
    mark, wheels, environment = (directory / name for name in ("ran", "wheels", "environment"))
    wheels.mkdir()
    wheel = make_wheel(wheels, mark)
    lock = directory / "requirements.txt"
    lock.write_text(f"evil==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    python = str(Path(sys.base_prefix, "bin", "python3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(virtualenv, "HOST_PYTHON", (python, *virtualenv.HOST_PYTHON[1:]))
        patch.setattr(virtualenv, "DEBIAN_WHEELS", PIP_WHEELS)
        # Root's own surroundings: a directory and variables that would get code into any Python.
        (directory / "pip.conf").write_text("[global]\ntarget = /nowhere\n")
        patch.setenv("PIP_CONFIG_FILE", str(directory / "pip.conf"))
        patch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
        patch.setenv("PYTHONPATH", str(environment / "lib"))
        patch.chdir(directory)
        virtualenv.make(environment, wheels, lock, run)
        run(virtualenv.compile_command(environment), check=False)
    return Made(environment, mark, mark.exists())


def run(command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not (check and done.returncode), done.stdout + done.stderr


def packages(made):
    return next(made.environment.glob("lib/python3*/site-packages"))


def test_nothing_of_a_wheel_runs_when_it_is_installed_and_compiled(made):
    assert not made.ran
    assert (packages(made) / "evil.pth").exists()
    # It would have: this is what an interpreter of that environment does when it starts.
    real = Path(sys.base_prefix, "bin", "python3")
    code = f"import site; site.addsitedir({str(packages(made))!r})"
    subprocess.run([real, "-I", "-c", code], check=True)
    assert made.mark.exists()


def test_its_interpreter_is_named_by_its_version(made):
    link = made.environment / "bin" / "python3"
    # Not `python3`, which will be the next Debian's.
    assert re.fullmatch(r"python3\.\d+", link.readlink().name)
    assert link.readlink() == Path(sys.base_prefix, "bin", "python3").resolve()
    assert virtualenv.names_version(made.environment)


def test_what_was_installed_is_whole(made):
    script = made.environment / "bin" / "evil-tool"
    assert script.read_text().startswith(f"#!{made.environment}/bin/python\n")
    assert os.access(script, os.X_OK)
    assert (made.environment / "share" / "evil.txt").read_text() == "data"
    compiled = {path.name.split(".")[0] for path in packages(made).rglob("*.pyc")}
    assert {"sitecustomize", "compileall", "__init__"} <= compiled
    assert not {"odd", "broken"} & compiled


def test_byte_code_is_what_the_environments_python_loads(made):
    compiled = next(packages(made).glob("__pycache__/sitecustomize.*.pyc"))
    real = Path(sys.base_prefix, "bin", "python3")
    code = "import importlib.util as u; print(u.MAGIC_NUMBER.hex())"
    magic = subprocess.run([real, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert compiled.read_bytes()[:4].hex() == magic.stdout.strip()


def test_root_starts_no_interpreter_but_the_hosts_own():
    assert virtualenv.HOST_PYTHON == ("/usr/bin/python3", "-I", "-S")
    assert virtualenv.compile_command(Path("/srv"))[:3] == list(virtualenv.HOST_PYTHON)


# What pip is told, and why.
OPTIONS = {
    "a package is what the lockfile has, also where a line of it has no hash": "--require-hashes",
    "a package does not run its own setup": "--only-binary=:all:",
    "nothing is downloaded": "--no-index",
    "nothing is installed that the lockfile does not name": "--no-deps",
    "no variable and no configuration of root's changes that": "--isolated",
    "it does not wait for somebody to type": "--no-input",
    "byte code is compiled with the rest, in the right way": "--no-compile",
    "root's home stays as it is": "--no-cache-dir",
    "it does not look for a newer pip": "--disable-pip-version-check",
    "what goes well is not reported": "--quiet",
    "that it is root is not reported": "--root-user-action=ignore",
    "packages come from the directory that the controller sent": "--find-links /wheels",
    "packages are those of the lockfile": "--requirement /lock",
}


@pytest.fixture
def pip_options(tmp_path, monkeypatch):
    monkeypatch.setattr(virtualenv, "DEBIAN_WHEELS", PIP_WHEELS)
    commands = []
    virtualenv.make(tmp_path, Path("/wheels"), Path("/lock"), commands.append)
    return " ".join(commands[-1]).partition(" install ")[2]


@pytest.mark.parametrize("promise", OPTIONS)
def test_pip_installs_on_the_host_what_was_locked_and_nothing_else(pip_options, promise):
    assert f" {OPTIONS[promise]} " in f" {pip_options} "


def test_each_option_of_pip_has_a_promise(pip_options):
    assert sorted(pip_options.split()) == sorted(" ".join(OPTIONS.values()).split())
