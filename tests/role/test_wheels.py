"""Wheels are fetched once, on the controller, for the host's own Python."""

import itertools
import threading
import types
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from aroundtheworld_controller.packages import wheels
from aroundtheworld_controller.packages.lockfile import Lockfile
from tests.role.host_python import ENVIRONMENT, PYTHON
from tests.role_files import load_python

action = load_python("action_plugins/aroundtheworld_release.py")


def test_wheels_for_the_hosts_c_library_or_an_older_one_will_do():
    tags = wheels.platforms(PYTHON)
    assert tags[0] == "manylinux_2_36_x86_64"
    assert "manylinux_2_17_x86_64" in tags
    assert "manylinux2014_x86_64" in tags
    assert "manylinux_2_37_x86_64" not in tags
    assert all(
        tag.endswith("_aarch64") for tag in wheels.platforms(PYTHON | {"machine": "aarch64"})
    )


def test_wheels_are_asked_for_by_hash_and_for_the_hosts_python(tmp_path):
    command = wheels.download_command(["pip"], tmp_path / "lock", tmp_path / "into", PYTHON)
    for option in ("--require-hashes", "--only-binary=:all:", "--no-deps"):
        assert option in command
    options = list(itertools.pairwise(command))
    assert ("--python-version", "3.11.2") in options
    assert [abi for name, abi in options if name == "--abi"] == ["cp311", "abi3", "none"]
    assert ("--platform", "manylinux_2_36_x86_64") in options
    assert ("--requirement", str(tmp_path / "lock")) in options


def test_pip_is_told_where_to_look_and_a_host_is_not(tmp_path):
    options = ("--index-url", "https://a/simple", "--no-index", "")
    lockfile = Lockfile([], options=options, links=['https://a/x-1-py3-none-any.whl?a="&b'])
    asked = tmp_path / "requirements.txt"
    wheels.write_requirements(ENVIRONMENT["lock"], wheels.look_in(lockfile, tmp_path), asked)
    assert asked.read_text() == (
        "--index-url https://a/simple\n--no-index\n"
        f"--find-links file://{tmp_path}/links.html\n{ENVIRONMENT['lock']}"
    )
    page = (tmp_path / "links.html").read_text()
    assert '<a href="https://a/x-1-py3-none-any.whl?a=&quot;&amp;b"></a>' in page
    assert wheels.look_in(wheels.NOWHERE, tmp_path) == []
    wheels.write_requirements(ENVIRONMENT["lock"], [], asked)
    assert asked.read_text() == ENVIRONMENT["lock"]


def test_a_password_of_the_lockfile_is_not_shown(pip, tmp_path):
    address = "https://ada:love%2Flace@index/simple"
    pip.fails = f"ERROR: 401 for {address}/tornado/ (love/lace)"
    lockfile = Lockfile([], options=("--extra-index-url", address))
    with pytest.raises(AnsibleActionFail) as caught:
        wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path, lockfile)
    assert "https://index/simple/tornado/" in str(caught.value)
    assert "love" not in str(caught.value)


@pytest.fixture
def pip(monkeypatch):
    """Stands for pip: makes one wheel, slowly, or fails where `fails` says so."""
    pip = types.SimpleNamespace(calls=[], fails="")

    def run(command, **_):
        pip.calls.append(command)
        into = command[command.index("--dest") + 1]
        (Path(into) / "tornado.whl").touch()
        threading.Event().wait(0.05)
        return types.SimpleNamespace(returncode=bool(pip.fails), stderr=pip.fails)

    monkeypatch.setattr(wheels, "run_pip", run)
    monkeypatch.setattr(wheels, "find_pip", lambda: ["pip"])
    return pip


def test_wheels_are_fetched_once(pip, tmp_path):
    fetched = wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path)
    assert [wheel.name for wheel in fetched.iterdir()] == ["tornado.whl"]
    assert wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path) == fetched
    assert len(pip.calls) == 1


def test_hosts_that_want_the_same_wheels_at_once_share_one_fetch(pip, tmp_path):
    threads = [
        threading.Thread(target=wheels.fetch_wheels, args=(ENVIRONMENT, PYTHON, tmp_path))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip.calls) == 1


def test_wheels_that_cannot_be_had_are_explained_and_not_kept(pip, tmp_path):
    pip.fails = "\n".join([*(f"line {number}" for number in range(20)), "No matching distribution"])
    with pytest.raises(AnsibleActionFail) as caught:
        wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path)
    message = str(caught.value)
    assert "aroundtheworld_requirements: the locked wheels could not be fetched" in message
    assert "for Python 3.11 on x86_64-glibc2.36" in message
    assert "No matching distribution" in message
    assert "line 1\n" not in message
    pip.fails = ""
    assert wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path).is_dir()
    assert len(pip.calls) == 2


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert action.cache_directory() == tmp_path / "aroundtheworld"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert action.cache_directory() == tmp_path / ".cache" / "aroundtheworld"
