"""A package is built apart from the operator, with the role's tools and no others."""

import hashlib
import sys
from pathlib import Path

import pytest

from aroundtheworld_controller.packages import build as building
from aroundtheworld_controller.packages import build_tools
from aroundtheworld_controller.packages.build import build, build_system, only_for_all
from aroundtheworld_controller.packages.build_tools import BuildFailure
from tests.hostile_wheel import make_wheel
from tests.role.packages import package, seen, toolbox

SECRETS = {
    "SSH_AUTH_SOCK": "/run/agent",
    "GITHUB_TOKEN": "lovelace",
    "PIP_INDEX_URL": "https://ada:lovelace@index/simple",
    "UV_INDEX_URL": "https://ada:lovelace@index/simple",
    "AWS_SECRET_ACCESS_KEY": "lovelace",
    "ANSIBLE_BECOME_PASSWORD": "lovelace",
    "PYTHONPATH": "/home/ada/lib",
    "GPG_AGENT_INFO": "/run/gpg",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a build found around it, of an operator with secrets."""
    directory = tmp_path_factory.mktemp("build")
    source, into = package(directory / "source"), directory / "into"
    into.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(directory))
        # A home that is a git repository.
        (directory / ".git").mkdir()
        (directory / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        for name in ("objects", "refs"):
            (directory / ".git" / name).mkdir()
        wheel = build(source, into, toolbox(directory / "tools"))
    assert wheel == into / "tiny-1.0-py3-none-any.whl"
    only_for_all(wheel, "Tiny", "1.0.0")
    return seen(wheel)


def test_nothing_of_the_operators_environment_is_in_a_build(found):
    environment = found["environment"]
    own = {"PATH", "HOME", "TMPDIR", "GIT_CEILING_DIRECTORIES", *building.SURROUNDINGS}
    assert set(environment) <= own | {"LC_CTYPE", "PWD", "SHLVL", "_"}
    assert "lovelace" not in str(environment)
    assert environment["PIP_NO_INDEX"] == "1"
    assert found["stdin"] == ""


def test_a_build_has_a_home_of_its_own_that_goes_with_it(found):
    home = Path(found["environment"]["HOME"])
    assert home.name == "home"
    assert not home.exists()


def test_a_build_sees_no_repository_that_it_happens_to_be_in(found):
    assert found["git"] == "fatal: not a git repository (or any of the parent directories): .git\n"


def test_a_build_has_the_tools_that_the_package_asks_for_and_no_other(found):
    assert found["tools"] == ["tinybuild"]


def test_a_tool_brings_what_it_needs_and_a_hook_may_ask_for_more(tmp_path):
    tools = toolbox(tmp_path / "tools", needs="other-tool>=2 ; python_version >= '3'")
    choice = tools.choose(["tinybuild >= 0.5", "gone ; python_version < '3'"])
    assert set(choice.places) == {"tinybuild", "other-tool"}
    assert choice.others == ['other-tool>=2; python_version >= "3" (there is 1.0)']
    assert choice.missing == []
    source = package(tmp_path / "source", asks__txt="nowhere-tool")
    with pytest.raises(BuildFailure, match="it asks for nowhere-tool, which is not among the role"):
        build(source, tmp_path, tools)


def test_a_tool_that_the_role_has_not_locked_is_never_fetched(tmp_path):
    text = '[build-system]\nrequires = ["tinybuild", "strange @ https://x/y.whl", "maturin>=1"]\n'
    source = package(tmp_path / "source", pyproject__toml=text)
    with pytest.raises(BuildFailure) as failed:
        build(source, tmp_path, toolbox(tmp_path / "tools"))
    assert str(failed.value) == (
        "it asks for strange, maturin, which is not among the role's tools: other-tool, tinybuild"
    )


@pytest.mark.parametrize(
    ("wheel", "says"),
    [
        ("tiny-1.0-cp311-cp311-linux_x86_64.whl", "for one kind of machine only"),
        ("tiny-1.0-py3-none-linux_x86_64.whl", "only a wheel for all of them (none-any) is taken"),
        ("tiny-1.0-cp311-abi3-any.whl", "for one kind of machine only"),
        ("tiny-2.0-py3-none-any.whl", "which is something else"),
        ("tiny2-1.0-py3-none-any.whl", "which is something else"),
        ("tiny.whl", "is no wheel's name"),
    ],
)
def test_only_the_wheel_for_every_platform_is_taken(wheel, says):
    with pytest.raises(BuildFailure) as failed:
        only_for_all(Path(wheel), "tiny", "1.0")
    assert says in str(failed.value)


def test_what_a_failed_build_printed_is_shown_and_no_terminal_obeys_it(tmp_path):
    source = package(tmp_path / "source", broken__py="raise SystemExit('no \\x1b[31mluck')")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "broken"\nbackend-path = ["."]\n'
    )
    with pytest.raises(BuildFailure, match=r"its build failed\. It printed:\nno \[31mluck$"):
        build(source, tmp_path, toolbox(tmp_path / "tools"))


def test_a_build_that_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    source = package(tmp_path / "source")
    monkeypatch.setattr(building._Bench, "__init__", bare)
    monkeypatch.setattr(building, "PATIENCE", 0.3)
    with pytest.raises(BuildFailure, match=r"it took longer than 0\.3 s"):
        build(source, tmp_path, toolbox(tmp_path / "tools"))


def bare(bench, work, source, system, top):
    """Make a bench whose Python is a program that hangs, which needs no time to be made."""
    vars(bench).update(work=work, source=source, system=system, top=top, others=[])
    for place in ("bin", "lib/python3/site-packages"):
        (work / "python" / place).mkdir(parents=True)
    (work / "python" / "bin" / "python").write_text("#!/bin/sh\n/bin/sleep 600 & wait\n")
    (work / "python" / "bin" / "python").chmod(0o755)


@pytest.mark.parametrize(
    "text",
    ['build-system = "x"', '[build-system]\nrequires = "setuptools"\nbuild-backend = 1', "[[["],
)
def test_a_pyproject_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BuildFailure, match=r"its pyproject\.toml"):
        build(tmp_path, tmp_path, toolbox(tmp_path / "tools"))


def test_a_package_that_says_nothing_is_built_by_setuptools():
    assert build_system({}).backend == "setuptools.build_meta:__legacy__"
    assert build_system({"build-system": {"requires": ["x"]}}).requires == ["x"]


@pytest.mark.parametrize("backend", ["poetry.masonry.api", "poetry.core.masonry.api"])
def test_poetrys_own_backend_is_poetry_cores(backend):
    table = {"requires": ["poetry>=0.12", "poetry-core"], "build-backend": backend}
    system = build_system({"build-system": table})
    assert system.backend == "poetry.core.masonry.api"
    assert system.requires == ["poetry-core>=0.12", "poetry-core"]


def test_what_is_no_package_is_refused(tmp_path):
    with pytest.raises(BuildFailure, match=r"there is neither a pyproject\.toml nor a setup\.py"):
        build(tmp_path, tmp_path, toolbox(tmp_path / "tools"))


def test_the_tools_come_by_their_hashes_and_nothing_of_them_runs(tmp_path, monkeypatch):
    (tmp_path / "index").mkdir()
    wheel = make_wheel(tmp_path / "index", tmp_path / "ran")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setattr(build_tools, "find_pip", lambda: [sys.executable, "-m", "pip"])
    lock = tmp_path / "tools.txt"
    lock.write_text(f"evil==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BuildFailure, match="the tools for that, which the role has locked, could"):
        build_tools.toolbox(tmp_path / "cache", lock)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"evil==1.0 --hash=sha256:{digest}\n")
    tools = build_tools.toolbox(tmp_path / "cache", lock)
    assert list(tools) == ["evil"]
    program = tools.directory / "evil" / "evil-1.0.data" / "scripts" / "python"
    assert program.stat().st_mode & 0o111
    assert not (tmp_path / "ran").exists()


def test_the_roles_lock_of_tools_has_hashes_and_no_address():
    text = build_tools.LOCK.read_text()
    assert "://" not in text
    pins = [line for line in text.splitlines() if "==" in line]
    assert len(pins) > 10
    assert text.count("--hash=sha256:") >= 2 * len(pins) - 1
    assert {"setuptools", "hatchling", "hatch-vcs"} <= {pin.split("==")[0] for pin in pins}
