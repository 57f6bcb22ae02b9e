"""A release has what the app needs, and the run tells what else is left out."""

import pytest

from aroundtheworld_controller.app.content import app_files, survey
from aroundtheworld_controller.app.left_out import sentence
from tests.role.refusals import DEFAULTS

EXCLUDE = DEFAULTS["aroundtheworld_app_exclude"]


@pytest.fixture
def app(tmp_path):
    """Returns a function that makes files of an app, empty ones."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def released(root, exclude=EXCLUDE):
    return {file.as_posix() for file in app_files(root, exclude)}


@pytest.mark.parametrize(
    "name",
    [
        *("shop.py", "static/.well-known/security.txt", ".well-known/assetlinks.json"),
        *("templates/tests/list.html", "shop/tests/__init__.py", "tests.py", "shop/htmlcov/a"),
        *("lib/shop.py", "bin/serve", "dist/app.js", "shop.egg-info/entry_points.txt", "a~b"),
    ],
)
def test_what_an_app_may_need_is_in_a_release(app, name):
    root = app(name)
    assert released(root) == {name}
    assert survey(root, EXCLUDE)[1] == []


@pytest.mark.parametrize(
    "name",
    [
        *(".git/config", ".env", "shop/.env.local", ".mypy_cache/a", ".venv/bin/python", ".DS_St"),
        *("shop/__pycache__/a.pyc", "shop/a.pyc", "shop/web.py~", "#web.py#", "shop/.web.py.swp"),
        *(".well-known/.git/config", ".tox/a", ".ruff_cache/b", ".idea/c", ".pytest_cache/d"),
    ],
)
def test_dot_files_caches_and_what_editors_leave_are_left_out_without_a_word(app, name):
    assert survey(app(name, "shop.py"), EXCLUDE)[1] == []
    assert released(app()) == {"shop.py"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tests/test_web.py", "tests"),
        ("node_modules/a/index.js", "node_modules"),
        ("static/node_modules/a.js", "static/node_modules"),
        ("htmlcov/index.html", "htmlcov"),
        ("__pypackages__/3.11/lib/a.py", "__pypackages__"),
        ("venv/pyvenv.cfg", "venv"),
        ("tools/my env/pyvenv.cfg", "tools/my env"),
        ("conda/conda-meta/history", "conda"),
    ],
)
def test_what_else_is_left_out_is_told(app, name, told):
    assert survey(app(name, "shop.py"), EXCLUDE)[1] == [told]
    assert released(app()) == {"shop.py"}


def test_a_virtual_environment_is_none_of_the_app_whatever_the_variable_says(app):
    root = app("venv/pyvenv.cfg", "venv/lib/a.py", "shop.py")
    before = released(root, [])
    app("venv/lib/python3.11/site-packages/new.py")
    assert released(root, []) == before == {"shop.py"}
    assert "venv/lib/a.py" in released(root, ["!venv"])


def test_a_virtual_environment_may_be_the_apps_directory_itself(app):
    root = app("pyvenv.cfg", "bin/python", "lib/python3.11/site-packages/a.py", "include/a.h")
    app("lib64/a", "lib/shop.py", "shop/bin/x", "shop.py")
    files, told = survey(root, EXCLUDE)
    assert {file.as_posix() for file in files} == {"lib/shop.py", "shop/bin/x", "shop.py"}
    assert told == ["bin", "include", "lib/python3.11", "lib64", "pyvenv.cfg"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["a"], "b/c/x b/x x"),
        (["/a"], "b/a/x b/c/x b/x x"),
        (["b/a"], "a/x b/c/x b/x x"),
        (["b/*"], "a/x x"),
        (["x/"], "a/x b/a/x b/c/x b/x x"),
        (["b/"], "a/x x"),
        (["x", "!/x"], "x"),
        (["!x", "x"], ""),
        (["b/c/x", "/x"], "a/x b/a/x b/x"),
    ],
)
def test_patterns_are_those_of_a_gitignore(app, patterns, left):
    assert released(app("a/x", "b/a/x", "b/c/x", "b/x", "x"), patterns) == set(left.split())


def test_what_is_told_is_one_line(app):
    assert sentence("0123", ["tests", "venv"]) == (
        "Not in release 0123, by aroundtheworld_app_exclude: tests, venv"
    )
    line = sentence("0123", [f"t{number}" for number in range(12)])
    assert line.endswith(": t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 2 more")
