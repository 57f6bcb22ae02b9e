"""What a release is made of, and what can be in none."""

import os
import socket
import tarfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from aroundtheworld_controller.app import content as content_room
from aroundtheworld_controller.app.content import (
    RUNNER,
    app_files,
    content_id,
    release_name,
)
from aroundtheworld_controller.app.release import describe_release
from aroundtheworld_controller.variables import BadInputError
from tests.role_files import CHECKOUT, load_python

action = load_python("action_plugins/aroundtheworld_release.py")


@pytest.fixture
def app(tmp_path):
    app = tmp_path / "app"
    for name in ("shop/__init__.py", "shop/web.py", "static/logo.svg", "run.sh"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(f"# {name}\n")
    return app


def content(app, exclude=()):
    return content_id({"app": (app, app_files(app, exclude))})


def test_the_same_content_is_the_same_release_wherever_and_whenever(app, tmp_path):
    before = content(app)
    os.utime(app / "run.sh", (1, 1))
    app.rename(tmp_path / "elsewhere")
    assert content(tmp_path / "elsewhere") == before
    assert len(before) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "shop" / "web.py").write_text("# other\n"),
        lambda app: (app / "shop" / "web.py").rename(app / "shop" / "site.py"),
        lambda app: (app / "new.py").touch(),
        lambda app: (app / "run.sh").unlink(),
    ],
    ids=["content", "name", "new file", "file gone"],
)
def test_other_content_is_another_release(app, change):
    before = content(app)
    change(app)
    assert content(app) != before


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o755, 0o777])
def test_the_id_does_not_depend_on_modes(app, mode):
    """A file system of Windows gives all files one mode, and a umask takes bits away."""
    before = content(app)
    for path in app.rglob("*.*"):
        path.chmod(mode)
    assert content(app) == before


def test_the_id_of_a_release_is_the_one_that_it_has_had(tmp_path):
    for name, text in {"run": "#!/bin/sh\n", "shop/web.py": "x = 1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert content(tmp_path) == "7c8ae210a4f0"  # as commit 9b2a007 had it, for a script of mode 755


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda app: None, ""),
        (lambda app: (app / "run.sh").write_text("another"), "were changed while the run went on"),
        (
            lambda app: (app / "run.sh").unlink(),
            r"run\.sh could be read when the run",
        ),
    ],
)
def test_what_is_deployed_is_what_the_id_stands_for(app, tmp_path, change, message):
    """An editor may have saved a file between the plan and the release."""
    files = app_files(app, [])
    trees = {"app": {"root": str(app), "files": [file.as_posix() for file in files]}}
    release = {"id": content_id({"app": (app, files)}), "trees": trees}
    release |= {"lockfiles": [], "about": "", "lib": ""}
    change(app)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        if message:
            with pytest.raises(AnsibleActionFail, match=message):
                action.add_release(archive, release)
        else:
            action.add_release(archive, release)


@pytest.mark.parametrize(
    ("head", "program"),
    [
        (b"#!/bin/sh\n", True),
        (b"\x7fELF\x02", True),
        (b"import os\n", False),
        (b"", False),
        (b" #!", False),
    ],
)
def test_what_begins_as_a_program_is_executable_on_the_host(tmp_path, head, program):
    (tmp_path / "file").write_bytes(head)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_tree(archive, "app", tmp_path, ["file"])
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getmember("app/file").mode == (0o755 if program else 0o644)


def test_on_macos_an_accent_has_one_name():
    composed, decomposed = "caf\u00e9.html", "cafe\u0301.html"
    assert release_name(decomposed, "darwin") == composed
    assert release_name(decomposed, "linux") == decomposed


def refused_files(app, exclude=()):
    with pytest.raises(BadInputError) as caught:
        app_files(app, exclude)
    return caught.value.problems


@pytest.mark.parametrize("target", [".", "..", "/", "shop", "../static/../shop", "up"])
def test_a_link_in_a_circle_is_refused_with_its_path(app, target):
    (app / "shop" / "up").symlink_to(target if target != "shop" else "../shop")
    (problem,) = refused_files(app)
    assert problem.startswith(f"aroundtheworld_app_dir: '{app}/shop/up' is a link in a circle")
    assert problem.endswith("remove it, or name it in aroundtheworld_app_exclude.")
    assert app_files(app, ["up"])


def test_two_directories_that_lead_to_each_other_are_refused(app):
    (app / "shop" / "other").symlink_to("../static")
    (app / "static" / "other").symlink_to("../shop")
    assert {problem.split("'")[1] for problem in refused_files(app)} == {
        f"{app}/shop/other/other",
        f"{app}/static/other/other",
    }


def test_what_is_no_file_is_refused_and_not_read(app):
    os.mkfifo(app / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(app)
        listening.bind("gunicorn.sock")
        os.chdir(before)
        (app / "null").symlink_to("/dev/null")
        (app / "gone").symlink_to("nowhere")
        problems = refused_files(app)
    assert [problem.split("'")[1] for problem in problems] == [
        f"{app}/{name}" for name in ("gone", "gunicorn.sock", "null", "pipe")
    ]
    assert "is a link to 'nowhere', which is not there" in problems[0]
    assert "is not a file, directory or link, but a socket, pipe or device" in problems[1]
    assert app_files(app, ["gone", "*.sock", "null", "pipe"])


def test_a_name_that_is_not_utf8_is_refused(app):
    Path(os.fsdecode(os.fsencode(app) + b"/caf\xe9")).mkdir()
    (problem,) = refused_files(app)
    assert "has a name that is not UTF-8" in problem
    problem.encode()  # so it can be printed


def test_more_files_than_a_release_may_have_are_refused(app, monkeypatch):
    monkeypatch.setattr(content_room, "MOST_FILES", 2)
    (problem,) = refused_files(app)
    assert "is one file more than a release may have (2)" in problem


def test_what_git_lfs_put_in_place_of_a_file_is_refused(app):
    (app / "requirements.txt").touch()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    (app / "static" / "photo.jpg").write_text(pointer)
    variables = {
        "aroundtheworld_app_dir": str(app),
        "aroundtheworld_make_app": "shop.web:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": [],
        "aroundtheworld_static": [],
    }
    with pytest.raises(BadInputError, match=r"static/photo\.jpg' is not the file itself, but what"):
        describe_release(variables)
    variables["aroundtheworld_app_exclude"] = ["*.jpg"]
    assert describe_release(variables)[0]["id"]


def test_excluded_names_are_in_no_release(app):
    exclude = [".*", "__pycache__", "*.pyc", "tests"]
    before = content(app, exclude)
    for name in (".git/config", "shop/__pycache__/web.pyc", "shop/a.pyc", "tests/test.py", ".env"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()
    assert content(app, exclude) == before
    assert content(app) != before


def test_what_links_lead_to_is_in_the_release(app, tmp_path):
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "style.css").touch()
    (app / "static" / "built").symlink_to(tmp_path / "built")
    assert "static/built/style.css" in [str(file) for file in app_files(app, [])]


def test_the_runners_links_to_the_roles_modules_are_files_in_a_release(tmp_path):
    """Root imports nothing of a release, so the modules that both use come from two places."""
    names = ["bounded_http.py", "crashes.py", "health_check.py", "percentiles.py"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_tree(archive, "runner", RUNNER, [f"aroundtheworld_runner/{n}" for n in names])
    with tarfile.open(tmp_path / "a.tar") as archive:
        files = {Path(entry.name).name: archive.extractfile(entry).read() for entry in archive}
    modules = CHECKOUT / "roles" / "aroundtheworld" / "module_utils" / "aroundtheworld"
    assert files == {name: (modules / name).read_bytes() for name in names}


def test_the_games_own_release_can_be_described():
    variables = {
        "aroundtheworld_app_dir": str(CHECKOUT / "app"),
        "aroundtheworld_make_app": "aroundtheworld.app:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": ["__pycache__", "tests"],
        "aroundtheworld_static": [],
    }
    release, lockfile = describe_release(variables)
    assert "aroundtheworld/app.py" in release["trees"]["app"]["files"]
    assert "aroundtheworld_runner/__main__.py" in release["trees"]["runner"]["files"]
    assert "tornado" in [requirement["name"] for requirement in lockfile.requirements]
    assert all(requirement["hashes"] for requirement in lockfile.requirements)


SITE = {
    "aroundtheworld_make_app": "shop.web:make_app",
    "aroundtheworld_requirements": "requirements.txt",
    "aroundtheworld_app_exclude": [".*"],
    "aroundtheworld_static": [],
}
PIN = "tornado==6.5.2 --hash=sha256:" + "0" * 64


def described(app, **changes):
    """Returns the id of a release, its files of the app's, and its lockfiles elsewhere."""
    release, _ = describe_release({**SITE, "aroundtheworld_app_dir": str(app), **changes})
    return release["id"], release["trees"]["app"]["files"], release["lockfiles"]


@pytest.mark.parametrize(
    ("place", "exclude"),
    [("../locks/shop.txt", []), ("{}/locks/shop.txt", []), ("locks/shop.txt", ["locks"])],
    ids=["beside the app", "by its path", "left out"],
)
def test_a_lockfile_in_no_release_is_part_of_its_id(app, tmp_path, place, exclude):
    app = app.rename(tmp_path / "shop") if place.startswith("..") else app
    lock = app / place.format(tmp_path)
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(PIN)
    site = {
        "aroundtheworld_requirements": place.format(tmp_path),
        "aroundtheworld_app_exclude": exclude,
    }
    first, _, lockfiles = described(app, **site)
    assert [Path(path).read_text() for path in lockfiles] == [PIN]
    assert described(app, **site)[0] == first
    lock.write_text(PIN + " # another")
    assert described(app, **site)[0] != first
    lock.write_text("-r more.txt\n")
    (lock.parent / "more.txt").write_text(PIN)
    named = described(app, **site)
    (lock.parent / "more.txt").write_text(PIN + "\n")
    assert described(app, **site)[0] != named[0]


def test_a_lockfile_in_the_release_counts_as_a_file_of_it(app):
    (app / "requirements.txt").write_text(PIN)
    before, files, lockfiles = described(app)
    assert ("requirements.txt" in files, lockfiles) == (True, [])
    (app / "requirements.txt").rename(app / "real.txt")
    (app / "requirements.txt").symlink_to("real.txt")
    assert described(app)[2] == []
    assert described(app)[0] != before


def test_a_lockfile_with_an_address_stays_on_the_controller(app):
    (app / "requirements.txt").write_text("-i https://ada:lovelace@index/simple\n-r base.txt\n")
    (app / "base.txt").write_text(PIN)
    first, files, lockfiles = described(app)
    assert "requirements.txt" not in files
    assert "base.txt" in files
    assert lockfiles == [str(app / "requirements.txt")]
    (app / "requirements.txt").write_text("-i https://another/simple\n-r base.txt\n")
    assert described(app)[0] != first


def test_wheels_that_the_lockfile_names_stay_on_the_controller(app):
    (app / "wheels").mkdir()
    for name in ("a-1-py3-none-any.whl", "README"):
        (app / "wheels" / name).touch()
    (app / "b-1-py3-none-any.whl").touch()
    (app / "requirements.txt").write_text(f"--find-links wheels\n{PIN}\n")
    _, files, _ = described(app)
    assert {"wheels/README", "b-1-py3-none-any.whl", "requirements.txt"} <= set(files)
    assert "wheels/a-1-py3-none-any.whl" not in files


def test_an_archive_belongs_to_root_and_nobody_else_may_write(app, tmp_path):
    (app / "run.sh").write_text("#!/bin/sh\n")
    (app / "run.sh").chmod(0o775)
    (app / "shop" / "web.py").chmod(0o666)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_tree(archive, "app", app, ["run.sh", "shop/web.py"])
    with tarfile.open(tmp_path / "a.tar") as archive:
        entries = {entry.name: entry for entry in archive}
    assert {name: oct(entry.mode) for name, entry in entries.items()} == {
        "app/run.sh": "0o755",
        "app/shop/web.py": "0o644",
    }
    assert {(entry.uid, entry.gid, entry.uname) for entry in entries.values()} == {(0, 0, "root")}
