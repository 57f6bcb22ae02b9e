"""An app or a requirement that is not for the host's own Python is refused, both named."""

import zipfile

import pytest
from ansible.errors import AnsibleActionFail

from aroundtheworld_controller.app.project import read_project
from aroundtheworld_controller.packages import wheels
from aroundtheworld_controller.packages.index import File, Indexes
from aroundtheworld_controller.packages.python_versions import (
    fits,
    printed_problem,
    python_problems,
    wheel_problems,
)
from aroundtheworld_controller.variables import BadInputError
from tests.role.host_python import ENVIRONMENT, PYTHON


@pytest.mark.parametrize(
    ("wanted", "fit"),
    [
        (">=3.11", True),
        (">=3.11.3", False),
        (">=3.12", False),
        ("<3.11", False),
        (">=3.9,<4", True),
        ("==3.11.*", True),
        ("~=3.10", True),
        ("^3.9", True),
        ("^3.12", False),
        ("~3.11", True),
        ("~3.10", False),
        ("3.12.*", False),
        ("", True),
        ("whatever", True),
    ],
)
def test_a_specifier_is_for_the_hosts_python_or_not(wanted, fit):
    assert fits(wanted, PYTHON) is fit


def test_a_release_candidate_is_a_python_like_any_other():
    python = PYTHON | {"markers": {"python_full_version": "3.14.0rc1+"}}
    assert fits(">=3.13", python)
    assert not fits(">=3.15", python)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            '[project]\nrequires-python = ">=3.12"',
            [("requires-python in pyproject.toml", ">=3.12")],
        ),
        ('[tool.poetry.dependencies]\npython = "^3.12"', [("python in pyproject.toml", "^3.12")]),
        ("[project]\nrequires-python = 3", []),
        ("[tool]\npoetry = 1", []),
        ("[project", []),
        ("", []),
    ],
)
def test_a_project_says_which_pythons_it_is_for(tmp_path, text, found):
    assert read_project(tmp_path).pythons == ()
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_project(tmp_path).pythons == tuple(found)


def test_an_app_for_another_python_is_refused_with_both():
    wanted = [("requires-python in pyproject.toml", ">=3.12"), ("requires-python in x", ">=3")]
    (problem,) = python_problems(wanted, PYTHON, "web1")
    assert problem.startswith(
        "web1 has Python 3.11.2, but requires-python in pyproject.toml is '>=3.12'; "
    )


def wheel(directory, python, name="shop-1.0-py3-none-any.whl"):
    with zipfile.ZipFile(directory / name, "w") as archive:
        archive.writestr("shop/__init__.py", "")
        archive.writestr("shop/x.dist-info/METADATA", "Requires-Python: >=9")
        archive.writestr(
            "shop-1.0.dist-info/METADATA", f"Name: shop\n{python}\n\nRequires-Python: 9"
        )


def test_a_wheel_for_another_python_is_refused_before_it_is_kept(tmp_path, monkeypatch):
    wheel(tmp_path, "Requires-Python: >=3.12", "new-2.0-py3-none-any.whl")
    wheel(tmp_path, "Requires-Python: >=3.9", "old-1.0-py3-none-any.whl")
    wheel(tmp_path, "", "any-1.0-py3-none-any.whl")
    (tmp_path / "broken-1.0-py3-none-any.whl").touch()
    (problem,) = wheel_problems(tmp_path, PYTHON)
    assert "aroundtheworld_requirements: new 2.0 is for Python >=3.12, and the host has" in problem
    assert (
        "Python 3.11.2. Lock versions for it, as `uv pip compile --python-version 3.11 …`"
        in problem
    )

    def download(lock, options, pip, into, python):
        wheel(into, "Requires-Python: >=3.12")

    monkeypatch.setattr(wheels, "find_pip", lambda: ["pip"])
    monkeypatch.setattr(wheels, "_download", download)
    with pytest.raises(BadInputError, match=r"shop 1\.0 is for Python >=3\.12"):
        wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path / "cache")
    assert not (tmp_path / "cache" / "wheels" / ENVIRONMENT["id"]).exists()


PRINTED = "ERROR: Package 'evil-thing' requires a different Python: 3.11.2 not in '>=3.12'\n"


def test_what_pip_says_about_a_python_is_said_in_our_words():
    assert printed_problem(PRINTED, PYTHON).startswith(
        "aroundtheworld_requirements: evil-thing is for Python >=3.12, and the host has Python 3.11"
    )
    assert printed_problem("ERROR: something else", PYTHON) == ""


def test_versions_that_an_index_has_for_other_pythons_are_named_all_at_once(monkeypatch, tmp_path):
    def files(_, name):
        yield File(f"{name}-6.5.1-py3-none-any.whl", "", frozenset(), ">=3.9")
        yield File(f"{name}-6.5.2.tar.gz", "", frozenset(), ">=3.12")
        yield File(f"{name}-6.5.2-cp312-cp312-manylinux_2_28_x86_64.whl", "", frozenset(), ">=3.12")

    done = type("Done", (), {"returncode": 1, "stderr": "ERROR: No matching distribution found"})
    monkeypatch.setattr(wheels, "run_pip", lambda *_: done)
    monkeypatch.setattr(wheels, "find_pip", lambda: ["pip"])
    monkeypatch.setattr(wheels, "indexes", lambda *_: Indexes())
    monkeypatch.setattr(Indexes, "files", files)
    with pytest.raises(AnsibleActionFail) as failed:
        wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path)
    assert str(failed.value) == (
        "aroundtheworld_requirements: these are for other Pythons, and the host has Python 3.11.2: "
        "tornado 6.5.2 (Python >=3.12). Lock versions for it, as `uv pip compile --python-version "
        "3.11 …` does, or deploy to a host with such a Python."
    )
