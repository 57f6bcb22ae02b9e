"""An app that is a Python project is found in ``src/``, and built into its own wheel when asked."""

import json
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from aroundtheworld_controller.app import project_wheel
from aroundtheworld_controller.app.project import read_project
from aroundtheworld_controller.app.project_wheel import BUILT, with_project
from aroundtheworld_controller.app.release import describe_release
from aroundtheworld_controller.app.revision import Revision, revision_in_cache, revision_of
from aroundtheworld_controller.packages.build_tools import BuildFailure
from aroundtheworld_controller.variables import BadInputError
from tests.role.packages import PYPROJECT, toolbox
from tests.role.repositories import commit, from_git, write
from tests.role_files import load_python

action = load_python("action_plugins/aroundtheworld_release.py")

NAMED = PYPROJECT + '[project]\nname = "shop"\nversion = "1.0"\n'
VERSIONED = NAMED + "[tool.setuptools_scm]\n"
ENTRIES = (
    "[console_scripts]\nshop-admin = shop.cli:main\nshop-all = shop.cli:group.run [all]\n"
    "[shop.plugins]\nx = shop.x:y\n"
)
FILES = {
    "requirements.txt": "",
    "alembic.ini": "[alembic]\n",
    "migrations/env.py": "",
    "src/shop/web.py": "def make_app(): ...\n",
    "src/shop/__init__.py": "",
    "pyproject.toml": NAMED,
    # What the tests' backend makes a wheel of.
    "wheel.txt": "shop-1.0-py3-none-any.whl",
    "data/shop/__init__.py": "",
    "data/shop/web.py": "def make_app(): ...\n",
    "data/shop/cli.py": "def main(): return 'it ran'\n",
    "data/shop/templates/list.html": "<p>",
    "data/shop-1.0.dist-info/entry_points.txt": ENTRIES,
    "data/shop-1.0.data/scripts/shop-raw": "#!python\nprint(1)\n",
    "data/shop-1.0.data/data/share/man/shop.1": "a page",
}


@pytest.fixture
def app(tmp_path):
    write(tmp_path / "app", FILES)
    return tmp_path / "app"


def describe(app, revision=None, **changes):
    variables = {
        "aroundtheworld_app_dir": str(app),
        "aroundtheworld_make_app": "shop.web:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": [".*"],
        "aroundtheworld_static": [],
        "aroundtheworld_build": [],
    }
    return describe_release(variables | changes, revision)[0]


def refused(app, **changes):
    with pytest.raises(BadInputError) as problem:
        describe(app, **changes)
    return str(problem.value)


BUILD = {"aroundtheworld_build": ["Shop"]}


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Returns what a release gets from the wheel of its project, as its directory and its tree."""
    tools = toolbox(tmp_path / "tools")
    monkeypatch.setattr(project_wheel, "toolbox", lambda cache: tools)

    def make(app, revision=None, **changes):
        release = with_project(describe(app, revision, **BUILD, **changes), tmp_path / "cache")
        return release, Path(release["trees"][BUILT]["root"])

    return make


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"pyproject.toml": '[project]\nname = "shop"\n'}, "shop"),
        ({"pyproject.toml": '[tool.poetry]\nname = "shop"\n'}, "shop"),
        ({"setup.cfg": "[metadata]\nname = shop\n"}, "shop"),
        ({"setup.py": "import setuptools\nsetuptools.setup(version=V, name='shop')"}, "shop"),
        ({"setup.py": "from setuptools import setup\nsetup(name=NAME)"}, ""),
        ({"setup.py": "raise SystemExit('(')\nsetup(name="}, ""),
        ({"pyproject.toml": "[[["}, ""),
        ({"pyproject.toml": "[project]\nname = 1\n[tool]\npoetry = 2\n"}, ""),
        ({}, ""),
    ],
)
def test_a_project_says_what_it_is_called_and_nothing_of_it_runs(tmp_path, files, name):
    write(tmp_path, files)
    assert read_project(tmp_path).name == name


def test_what_a_project_says_is_read_once(tmp_path, monkeypatch):
    text = '[project]\nname = "shop"\nrequires-python = ">=3.11"\n'
    write(tmp_path, {"shop/web.py": "", "requirements.txt": "", "pyproject.toml": text})
    read = []
    monkeypatch.setattr(
        tomllib, "loads", lambda text, loads=tomllib.loads: read.append(text) or loads(text)
    )
    assert describe(tmp_path)["project"] == "shop"
    assert read == [text]


def test_an_app_that_is_no_project_is_the_release_that_it_was(tmp_path):
    write(tmp_path, {"shop/web.py": "", "requirements.txt": "", "src/main.js": "", "src/a.py": ""})
    release = describe(tmp_path)
    assert (release["lib"], release["about"]) == ("", "")


def test_modules_in_src_are_found_without_a_build(app, tmp_path):
    release = describe(app)
    assert release["lib"] == "src"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_release(archive, release)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getmember("lib").linkname == "app/src"
        assert {"app/alembic.ini", "app/migrations/env.py"} <= set(archive.getnames())
    # Also for commands, where no variable names a module.
    assert describe(app, aroundtheworld_make_app="")["lib"] == "src"
    (app / "shop.py").touch()
    assert describe(app)["lib"] == ""
    assert describe(app)["id"] != release["id"]


def test_a_module_that_is_nowhere_is_refused_with_where_it_was_looked_for(app):
    message = refused(app, aroundtheworld_make_app="shoop.web:make_app")
    assert f"which is neither in {app}, nor in its src/, nor among the locked requ" in message


@pytest.mark.parametrize("directory", ["src", "src/shop"])
def test_code_in_src_is_not_served(app, directory):
    static = [{"url": "/static/", "directory": directory}]
    assert "it holds the app's code" in refused(app, aroundtheworld_static=static)


def test_a_project_lies_beside_the_apps_files(app, built, tmp_path):
    release, directory = built(app)
    files = release["trees"][BUILT]["files"]
    assert {
        "lib/shop/web.py", "lib/shop/templates/list.html", "lib/shop-1.0.dist-info/METADATA",
        "bin/shop-admin", "bin/shop-all", "bin/shop-raw",
    } <= set(files)  # fmt: skip
    assert not [file for file in files if "share" in file or file.startswith("app/")]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_release(archive, release)
    release = tmp_path / "release"
    release.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "a.tar", "-C", release], check=True)
    assert (release / "app" / "alembic.ini").exists()
    assert (release / "bin" / "shop-admin").stat().st_mode & 0o111
    ask = "import importlib.metadata as m, shop; print(m.version('shop'), shop.__file__)"
    path = f"{release}/lib:{release}/app"
    command = [sys.executable, "-c", ask]
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stdout.split() == ["1.0", f"{release}/lib/shop/__init__.py"]
    for name in ("shop-admin", "shop-all"):
        assert (directory / "bin" / name).read_text().startswith("#!python\n")
    assert "from shop.cli import group\n" in (release / "bin" / "shop-all").read_text()
    assert "sys.exit(group.run())" in (release / "bin" / "shop-all").read_text()
    done = subprocess.run(
        [sys.executable, release / "bin" / "shop-admin"], env={"PYTHONPATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == "it ran\n"


def test_what_a_build_makes_beside_sources_is_there_too(app, built):
    write(app, {"shop/web.py": "", "data/shop/_version.py": "version = 1\n"})
    release, _ = built(app)
    assert "app/shop/_version.py" in release["trees"][BUILT]["files"]
    assert "app/shop/web.py" not in release["trees"][BUILT]["files"]


def test_what_a_former_build_left_is_not_in_the_next_one(app, built):
    write(app, {"build/lib/data/x": "", "data/shop.egg-info/SOURCES.txt": ""})
    _, directory = built(app)
    assert not (directory / "lib" / "shop.egg-info").exists()


def test_a_module_that_the_wheel_does_not_have_is_refused(app, built):
    with pytest.raises(BuildFailure, match=r"names the module 'sh', but in its wheel are: shop"):
        built(app, aroundtheworld_make_app="sh.web:make_app")


def test_a_build_of_other_files_than_the_plan_saw_is_refused(app, built, monkeypatch, tmp_path):
    release = describe(app, **BUILD)
    (app / "src/shop/web.py").write_text("# saved in an editor\n")
    with pytest.raises(BuildFailure, match="its files were changed while the run went on"):
        with_project(release, tmp_path / "cache")


@pytest.mark.parametrize("script", ["../x = shop:main", "x = shop:main()", "x = os;a:b"])
def test_a_script_that_is_none_is_refused(app, built, script):
    write(app, {"data/shop-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{script}\n"})
    with pytest.raises(BuildFailure, match="is none that Python could run"):
        built(app)


def test_the_id_stands_for_content_and_tools_and_not_for_the_wheel(app, monkeypatch, tmp_path):
    plain, release = describe(app), describe(app, **BUILD)
    assert plain["id"] != release["id"]
    app.rename(tmp_path / "elsewhere")
    assert describe(tmp_path / "elsewhere", **BUILD)["id"] == release["id"]
    monkeypatch.setattr("aroundtheworld_controller.app.project.tools_id", lambda: "others")
    assert describe(tmp_path / "elsewhere", **BUILD)["id"] != release["id"]


@pytest.fixture
def tagged(git):
    """A repository with the app in a directory, whose first commit is tagged."""
    commit(git, {f"app/{name}": text for name, text in FILES.items()})
    commit(git, {"app/pyproject.toml": VERSIONED, ".gitignore": "ignored\n"})
    git("tag", "v1.2")
    return git


def test_a_version_is_that_of_the_sources_revision(tagged, cache, built, tmp_path):
    first = from_git(tagged, cache, "v1.2", directory="app")
    revision = revision_in_cache({"repository": str(tagged.repository)}, first, cache)
    assert revision["prefix"] == "app"
    release, directory = built(first, revision)
    assert json.loads((directory / "lib" / "seen.json").read_text())["git"] == "v1.2\n"
    commit(tagged, {"README": "Three shops."})
    another = tmp_path / "another controller"
    then = from_git(tagged, another, "main", directory="app")
    later = revision_in_cache({"repository": str(tagged.repository)}, then, another)
    other = describe(then, later, **BUILD)
    assert other["id"] != release["id"]
    # The same directory as a checkout, with what the operator has there besides.
    (tagged.repository / "app" / ".env").touch()
    assert describe(tagged.repository / "app", **BUILD)["id"] == other["id"]
    assert revision_of(tagged.repository / "app")["commit"] == later["commit"]
    # A tag that was set later is another version.
    tagged("tag", "v1.3")
    assert describe(tagged.repository / "app", **BUILD)["id"] != other["id"]


def test_without_a_version_from_git_a_commit_is_no_other_release(tagged, built):
    (tagged.repository / "app" / "pyproject.toml").write_text(NAMED)
    before, directory = built(tagged.repository / "app")
    commit(tagged, {"README": "More."})
    assert describe(tagged.repository / "app", **BUILD)["id"] == before["id"]
    assert "not a git repo" in json.loads((directory / "lib" / "seen.json").read_text())["git"]


def test_an_archive_has_no_commit_even_in_a_home_that_is_a_repository(tagged):
    assert describe(tagged.repository / "app", {}, **BUILD)["revision"] == {}


def test_a_build_that_wants_a_commit_and_has_none_is_told_where_to_get_one(app, built):
    write(app, {"pyproject.toml": VERSIONED, "wheel.txt": ""})
    with pytest.raises(BuildFailure) as failed:
        built(app)
    assert "its build failed" in str(failed.value)
    assert str(failed.value).endswith(
        "this source is in no repository: give aroundtheworld_app_git, or a checkout as "
        "aroundtheworld_app_dir."
    )


def test_what_is_copied_of_a_repository_runs_nothing_and_knows_no_remote(tagged, tmp_path):
    tagged("config", "core.fsmonitor", f"touch {tmp_path}/ran")
    tagged("remote", "add", "origin", "https://ada:lovelace@git/shop")
    (tagged.repository / ".git" / "hooks").mkdir(exist_ok=True)
    copy = tmp_path / "copy"
    (copy / "app").mkdir(parents=True)
    revision = Revision(**revision_of(tagged.repository / "app"))
    revision.copy(copy)

    def ask(*arguments):
        command = ["git", "-C", copy, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert ask("status", "--porcelain", "--untracked-files=no") == ""
    assert ask("describe", "--tags", "--dirty") == "v1.2\n"
    assert "app/alembic.ini" in ask("ls-files").split()
    assert "lovelace" not in ask("config", "--list", "--local")
    assert not (tmp_path / "ran").exists()


def test_a_directory_in_no_repository_has_no_commit(tmp_path):
    assert revision_of(tmp_path) == {}
