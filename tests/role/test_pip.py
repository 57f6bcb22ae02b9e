"""Whatever the controller's Ansible came with, wheels are fetched, or it is said what to type."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aroundtheworld_controller.packages import pip, wheels
from aroundtheworld_controller.packages.lockfile import environment_for
from aroundtheworld_controller.packages.read_lock import read_lock
from tests.hostile_wheel import make_wheel
from tests.matrix import in_turn
from tests.role.host_python import PIP_WHEELS, PYTHON
from tests.role_files import ROLE

FIND = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from aroundtheworld_controller.packages import pip
pip.WHEEL_DIRECTORIES = [pathlib.Path(path) for path in json.loads(sys.argv[2])]
try:
    print(json.dumps(pip.find_pip()))
except pip.NoPipError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The Python of a controller like uv tool's or Debian's: it has no pip."""
    directory = tmp_path_factory.mktemp("controller")
    python = Path(sys.base_prefix, "bin", "python3")
    subprocess.run([python, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    return directory / "venv" / "bin" / "python"


@pytest.fixture
def programs(tmp_path):
    """The only directory on that controller's PATH."""
    (tmp_path / "programs").mkdir()
    return tmp_path / "programs"


@pytest.fixture
def find(bare, programs, tmp_path):
    """Returns what find_pip() finds on that controller."""

    def run(python=bare, directories=(), **more):
        environment = {
            "PATH": str(programs),
            "HOME": str(tmp_path),
            "PIP_REQUIRE_VIRTUALENV": "1",
            **more,
        }
        directories = json.dumps([str(directory) for directory in directories])
        command = [python, "-c", FIND, ROLE / "plugin_utils", directories]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def fetches(tmp_path, monkeypatch):
    """Asserts that a pip fetches a wheel by its hash, and no other."""
    (tmp_path / "index").mkdir()
    wheel = make_wheel(tmp_path / "index", tmp_path / "ran")
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()

    def run(command, **more):
        for name, digest in (("good", checksum), ("bad", "0" * 64)):
            lock, into = tmp_path / f"{name}.txt", tmp_path / name
            lock.write_text(f"evil==1.0 --hash=sha256:{digest}\n")
            into.mkdir(exist_ok=True)
            done = subprocess.run(
                wheels.download_command(command, lock, into, PYTHON),
                capture_output=True, text=True, check=False, cwd=tmp_path,
                env={"PATH": os.defpath, "HOME": str(tmp_path), "PIP_NO_INDEX": "1",
                     "PIP_FIND_LINKS": str(tmp_path / "index"), **more},
            )  # fmt: skip
            found = [path.name for path in into.iterdir()]
            assert found == ([wheel.name] if name == "good" else []), done.stderr
        assert not (tmp_path / "ran").exists()

    return run


@in_turn(2)
def test_a_wheel_by_its_address_is_fetched_without_an_index(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path, tmp_path / "ran")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull if name == "PIP_CONFIG_FILE" else "")
    (tmp_path / "requirements.txt").write_text(
        f"--no-index\n{wheel} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    lockfile = read_lock(tmp_path / "requirements.txt", tmp_path)
    environment = environment_for(lockfile.requirements, PYTHON)
    fetched = wheels.fetch_wheels(environment, PYTHON, tmp_path / "cache", lockfile)
    assert [path.name for path in fetched.iterdir()] == [wheel.name]


def test_pip_beside_ansible_comes_first(find, fetches):
    command = find(sys.executable)
    assert command == [sys.executable, "-m", "pip"]
    fetches(command)


@in_turn(0)
def test_the_wheel_that_python_brings_will_do(find, fetches, bare):
    command = find(directories=[PIP_WHEELS])
    assert command[0] == str(bare)
    assert command[1].startswith(f"{PIP_WHEELS}/pip-")
    fetches(command)


@in_turn(2)
def test_the_newest_wheel_is_taken(find, tmp_path, bare):
    wheel = next(PIP_WHEELS.glob("pip-*.whl"))
    for version in ("9.0.1", "21.10", "21.9"):
        shutil.copy(wheel, tmp_path / f"pip-{version}-py3-none-any.whl")
    assert find(directories=[tmp_path]) == [str(bare), f"{tmp_path}/pip-21.10-py3-none-any.whl/pip"]


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@in_turn(0)
def test_any_pip_on_the_path_will_do(find, fetches, programs):
    script(programs / "pip3", "echo pip 19.3.1 from somewhere")
    script(programs / "pip", f'exec {sys.executable} -m pip "$@"')
    command = find()
    assert command == [str(programs / "pip")]
    fetches(command)


@in_turn(1)
def test_uv_brings_pip(find, fetches, programs, bare):
    """It gets it from a directory here, since a test needs no network."""
    for name in ("uv", "realpath", "dirname"):  # with the last two its script finds its Python
        (programs / name).symlink_to(shutil.which(name))
    offline = {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(PIP_WHEELS)}
    command = find(**offline)
    assert command == [str(programs / "uv"), "tool", "run", "--python", str(bare), "pip"]
    fetches(command, **offline)


@in_turn(1)
def test_pipx_brings_pip(find, fetches, programs):
    script(
        programs / "pipx",
        f'[ "$1 $2" = "run pip" ] && shift 2 && exec {sys.executable} -m pip "$@"',
    )
    command = find()
    assert command == [str(programs / "pipx"), "run", "pip"]
    fetches(command)


def test_a_program_that_hangs_is_none(find, programs, monkeypatch):
    monkeypatch.setattr(pip, "PATIENCE", 0.2)
    script(programs / "hangs", "exec /bin/sleep 30")
    assert not pip._works([str(programs / "hangs")])


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("apt-get", "Type: sudo apt install python3-pip-whl"),
        ("brew", "Type: brew install uv"),
        ("nothing", "Type: python3 -m ensurepip --user"),
    ],
)
def test_with_none_it_is_one_sentence_with_what_to_type(find, programs, bare, tool, line):
    script(programs / tool, "exit 1")
    script(programs / "pip", "exit 1")
    message = find()
    assert message.startswith(
        f"The controller has nothing to fetch wheels with: its Ansible runs under {bare}"
    )
    assert message.endswith(line)
    assert "\n" not in message


def test_the_same_sentence_is_the_tasks_failure(monkeypatch, tmp_path):
    def fail():
        raise pip.NoPipError("Type: it")

    monkeypatch.setattr(wheels, "find_pip", fail)
    with pytest.raises(wheels.AnsibleActionFail, match=r"^Type: it"):
        wheels.fetch_wheels({"id": "a", "lock": "x==1\n"}, PYTHON, tmp_path)


def test_uvs_index_is_pips_where_it_has_none(monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index/simple")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_PYTHON", "/nowhere")
    assert pip.environment()["PIP_INDEX_URL"] == "https://index/simple"
    assert "PIP_PYTHON" not in pip.environment()
    monkeypatch.setenv("PIP_INDEX_URL", "https://other/simple")
    assert pip.environment()["PIP_INDEX_URL"] == "https://other/simple"


def test_an_index_of_uvs_may_have_a_name(monkeypatch):
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_INDEX", "our-own=https://a/simple https://b/simple?x=https://c")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "main=https://d/simple")
    found = pip.environment()
    assert found["PIP_EXTRA_INDEX_URL"] == "https://a/simple https://b/simple?x=https://c"
    assert found["PIP_INDEX_URL"] == "https://d/simple"


def test_an_index_that_cannot_be_reached_is_not_called_a_missing_wheel(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://ada:love%2Flace@index/simple")
    printed = (
        "WARNING: Retrying after connection broken by 'NewConnectionError': /simple/tornado/\n"
        "ERROR: 401 for https://ada:love%2Flace@index/simple/tornado/ (love/lace)\n"
        "ERROR: No matching distribution found for tornado==6.5.2\n"
    )
    message = wheels.explain(printed, ["uv", "tool", "run", "pip"])
    assert message.startswith("The package index did not give them. `uv tool run pip` printed:")
    assert "https://index/simple/tornado/" in message
    assert "love" not in message
    wheel = wheels.explain("ERROR: No matching distribution found for tornado==6.5.2", ["pip"])
    assert wheel.startswith(
        "Every requirement needs a wheel for it, with the hash in the lockfile."
    )


def test_a_lock_for_another_python_is_said_to_be_one():
    printed = (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have\n"
        "    cffi==2.1.1 from https://index/cffi-2.1.1-cp313-cp313-any.whl (from -r x (line 1)):\n"
        "        Expected sha256 00\n             Got        11\n"
    )
    message = wheels.explain(printed, ["pip"])
    assert message.startswith("The index has cffi 2.1.1 for it, but no hash of that is in the lock")
    assert "Expected sha256 00" in message
