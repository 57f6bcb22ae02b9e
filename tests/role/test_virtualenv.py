"""What comes in a wheel runs nothing while root installs and compiles it."""

import ensurepip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import virtualenv

from tests.hostile_wheel import make_wheel


@pytest.fixture
def mark(tmp_path):
    """The file that each of the wheel's ways to run something would leave."""
    return tmp_path / "ran"


@pytest.fixture
def wheels(tmp_path, mark):
    """A directory with a wheel that is full of code which root might run."""
    (tmp_path / "wheels").mkdir()
    make_wheel(tmp_path / "wheels", mark)
    return tmp_path / "wheels"


@pytest.fixture
def made(tmp_path, wheels, monkeypatch):
    """The environment with that wheel, made and compiled by this machine's own Python."""
    python = str(Path(sys.base_prefix, "bin", "python3"))
    monkeypatch.setattr(virtualenv, "HOST_PYTHON", (python, *virtualenv.HOST_PYTHON[1:]))
    monkeypatch.setattr(virtualenv, "DEBIAN_WHEELS", Path(ensurepip.__file__).parent / "_bundled")
    # Root's own surroundings: a directory and variables that would get code into any Python.
    (tmp_path / "pip.conf").write_text("[global]\ntarget = /nowhere\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    environment = tmp_path / "environment"
    monkeypatch.setenv("PYTHONPATH", str(environment / "lib"))
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / "requirements.txt"
    wheel = next(wheels.iterdir())
    lock.write_text(f"evil==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    virtualenv.make(environment, wheels, lock, run)
    run(virtualenv.compile_command(environment), check=False)
    return environment


def run(command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not (check and done.returncode), done.stdout + done.stderr


def packages(environment):
    return next(environment.glob("lib/python3*/site-packages"))


def test_nothing_of_a_wheel_runs_when_it_is_installed_and_compiled(made, mark):
    assert not mark.exists()
    assert (packages(made) / "evil.pth").exists()
    # It would have: this is what an interpreter of that environment does when it starts.
    real = Path(sys.base_prefix, "bin", "python3")
    code = f"import site; site.addsitedir({str(packages(made))!r})"
    subprocess.run([real, "-I", "-c", code], check=True)
    assert mark.exists()


def test_what_was_installed_is_whole(made):
    script = made / "bin" / "evil-tool"
    assert script.read_text().startswith(f"#!{made}/bin/python\n")
    assert os.access(script, os.X_OK)
    assert (made / "share" / "evil.txt").read_text() == "data"
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
    monkeypatch.setattr(virtualenv, "DEBIAN_WHEELS", Path(ensurepip.__file__).parent / "_bundled")
    commands = []
    virtualenv.make(tmp_path, Path("/wheels"), Path("/lock"), commands.append)
    return " ".join(commands[-1]).partition(" install ")[2]


@pytest.mark.parametrize("promise", OPTIONS)
def test_pip_installs_on_the_host_what_was_locked_and_nothing_else(pip_options, promise):
    assert f" {OPTIONS[promise]} " in f" {pip_options} "


def test_each_option_of_pip_has_a_promise(pip_options):
    assert sorted(pip_options.split()) == sorted(" ".join(OPTIONS.values()).split())
