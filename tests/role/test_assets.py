"""nginx finds the static files of every release that is on the host, and of no other."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.rollout.prune import prune
from tornado.web import StaticFileHandler

from aroundtheworld_controller.content import describe_release
from aroundtheworld_controller.rules import static_problems
from aroundtheworld_controller.variables import PREFIX, BadInputError
from tests.render import variables_for

STATIC = [{"url": "/static/", "directory": "shop/static"}]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "releases").mkdir()
    return tmp_path


def release(home, name, files, *, current=False):
    """Puts a release on the host that is newer than those that are there."""
    number = len(list((home / "releases").iterdir()))
    top = home / "releases" / name
    for path, text in files.items():
        file = top / "app" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    os.utime(top, (1000 + number, 1000 + number))
    if current:
        (home / "current").unlink(missing_ok=True)
        (home / "current").symlink_to(f"releases/{name}")


def sha512(text):
    return hashlib.sha512(text.encode()).hexdigest()


def served(home, path, version="none"):
    """Returns what nginx serves, in the order of its try_files."""
    for top in (f"versions/{version}", "current", "names"):
        if (file := home / "assets" / top / path).is_file():
            return file.read_text()
    return None


def everything(home):
    root = home / "assets"
    return {path.relative_to(root): path.stat().st_ino for path in root.rglob("*")}


def test_a_version_is_what_tornado_writes(home):
    release(home, "one", {"shop/static/style.css": "red"}, current=True)
    Assets(home, STATIC).update()
    file = home / "current" / "app" / "shop" / "static" / "style.css"
    assert StaticFileHandler.get_content_version(str(file)) == sha512("red")
    assert served(home, "static/style.css", sha512("red")) == "red"


def test_files_of_the_release_before_and_of_the_next_one_are_served(home):
    release(home, "one", {"shop/static/style.css": "red", "shop/static/a.1.js": "1"}, current=True)
    Assets(home, STATIC).update()
    release(home, "two", {"shop/static/style.css": "blue", "shop/static/a.2.js": "2"})
    Assets(home, STATIC).update()
    for current in ("one", "two"):
        (home / "current").unlink()
        (home / "current").symlink_to(f"releases/{current}")
        assert served(home, "static/style.css", sha512("red")) == "red"
        assert served(home, "static/style.css", sha512("blue")) == "blue"
        assert served(home, "static/style.css") == {"one": "red", "two": "blue"}[current]
        assert served(home, "static/a.1.js") == "1"
        assert served(home, "static/a.2.js") == "2"
    assert served(home, "static/nothing.js") is None


def test_only_static_files_are_served(home):
    release(home, "one", {"shop/web.py": "code", "shop/static/a.js": "1"}, current=True)
    Assets(home, STATIC).update()
    files = {path.name for path in (home / "assets").rglob("*") if path.is_file()}
    assert files == {"a.js", "index.json"}


def test_nothing_is_stale_after_an_update(home):
    release(home, "one", {"shop/static/a.js": "1"}, current=True)
    assert Assets(home, STATIC).stale()
    Assets(home, STATIC).update()
    assert not Assets(home, STATIC).stale()
    assert not Assets(home).stale()


@pytest.mark.parametrize("missing", ["index.json", "names/static", "versions"])
def test_an_update_that_was_cut_off_is_completed(home, missing):
    release(home, "one", {"shop/static/a.js": "1"}, current=True)
    Assets(home, STATIC).update()
    whole = everything(home)
    path = home / "assets" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (home / "assets" / "index.json").unlink(missing_ok=True)
    assert Assets(home, STATIC).stale()
    Assets(home, STATIC).update()
    assert set(everything(home)) == set(whole)


def test_files_of_a_release_that_is_gone_go_and_others_are_not_touched(home):
    release(home, "one", {"shop/static/a.js": "1", "shop/static/old/b.js": "2"})
    release(home, "two", {"shop/static/a.js": "1", "shop/static/c.js": "3"}, current=True)
    Assets(home, STATIC).update()
    before = everything(home)
    shutil.rmtree(home / "releases" / "one")
    assert Assets(home).stale()
    Assets(home).update()
    after = everything(home)
    index = Path("index.json")
    assert {
        path: inode for path, inode in after.items() if path not in (index, Path("current/static"))
    }.items() <= before.items()
    assert {path.name for path in before} - {path.name for path in after} == {
        "old",
        "b.js",
        sha512("2"),
    }
    assert served(home, "static/a.js", sha512("1")) == "1"


def test_a_release_that_is_known_is_not_read_again(home):
    release(home, "one", {"shop/static/a.js": "1"}, current=True)
    Assets(home, STATIC).update()
    (home / "releases" / "one" / "app" / "shop" / "static" / "b.js").write_text("2")
    release(home, "two", {"shop/static/c.js": "3"})
    Assets(home, STATIC).update()
    assert served(home, "static/c.js", sha512("3")) == "3"
    assert not (home / "assets" / "names" / "static" / "b.js").exists()


def test_a_name_that_was_a_file_and_is_a_directory_is_the_newest(home):
    release(home, "one", {"shop/static/js": "a file", "shop/static/css/a": "1"}, current=True)
    Assets(home, STATIC).update()
    release(home, "two", {"shop/static/js/a": "2", "shop/static/css": "a file"})
    Assets(home, STATIC).update()
    names = home / "assets" / "names" / "static"
    assert (names / "js" / "a").read_text() == "2"
    assert (names / "css").read_text() == "a file"
    assert served(home, "static/js", sha512("a file")) == "a file"


def test_another_url_is_served_instead_and_none_removes_all(home):
    release(home, "one", {"shop/static/a.js": "1"}, current=True)
    Assets(home, STATIC).update()
    other = [{"url": "/shop/files/", "directory": "shop/static"}]
    assert Assets(home, other).stale()
    Assets(home, other).update()
    assert served(home, "shop/files/a.js", sha512("1")) == "1"
    assert served(home, "static/a.js", sha512("1")) is None
    assert Assets(home, []).stale()
    Assets(home, []).update()
    assert not (home / "assets").exists()
    assert not Assets(home, []).stale()


def test_everybody_may_read_what_is_served(home):
    release(home, "one", {"shop/static/deep/a.js": "1"}, current=True)
    before = os.umask(0o077)
    try:
        Assets(home, STATIC).update()
    finally:
        os.umask(before)
    directories = [path for path in (home / "assets").rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in directories if not path.is_symlink()} == {0o755}


def test_pruning_removes_files_of_releases_with_them(home):
    for number in (1, 2, 3):
        name = f"{number:012x}"
        release(home, name, {"shop/static/a.js": str(number)}, current=True)
        (home / "environments").mkdir(exist_ok=True)
    Assets(home, STATIC).update()
    assert "release 000000000001" in prune(home, 2, [])
    assert served(home, "static/a.js", sha512("1")) == "3"
    assert served(home, "static/a.js", sha512("2")) == "2"
    assert not Assets(home, STATIC).stale()


def test_pruning_a_site_without_static_files_makes_none(home):
    for number in (1, 2):
        release(home, f"{number:012x}", {"shop/web.py": str(number)}, current=True)
    (home / "environments").mkdir()
    prune(home, 1, [])
    assert not (home / "assets").exists()


# --- The plan ---


def problems(static, **more):
    pools = [{"name": "public", "paths": ["/"]}, {"name": "api", "paths": ["/api/", "/static/api"]}]
    return list(static_problems(static, pools, "shop.web:make_app", **more))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("static/", "a path begins with a slash"),
        ("/static", "'/static' is not allowed; it must have a slash at both ends"),
        ("/", "'/' is not allowed; it must have a slash at both ends"),
        ("/a;b/", "a path has letters, digits"),
        ("/a/../b/", "no '.' or '..' between them"),
        ("/api/", "'/api/' is already a path of the pool 'api'"),
        ("/static/api/", "'/static/api/' is already a path of the pool 'api'"),
    ],
)
def test_a_url_that_cannot_be_served_is_refused(url, reason):
    (problem,) = problems([{"url": url, "directory": "shop/static"}])
    assert problem.startswith("aroundtheworld_static[0].url: ")
    assert reason in problem


@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        ("", "it must be a directory below the app's"),
        (".", "it must be a directory below the app's"),
        ("/etc", "it must be a directory below the app's"),
        ("../static", "it must be a directory below the app's"),
        ("shop", "it holds the app's code"),
    ],
)
def test_a_directory_that_must_not_be_served_is_refused(directory, reason):
    (problem,) = problems([{"url": "/static/", "directory": directory}])
    assert problem.startswith(f"aroundtheworld_static[0].directory: {directory!r} is not allowed")
    assert reason in problem


@pytest.mark.parametrize("other", ["/static/", "/static/more/", "/static/more/and/more/"])
def test_urls_that_overlap_are_refused(other):
    (problem,) = problems([{**STATIC[0], "url": url} for url in ("/static/", other)])
    assert f"aroundtheworld_static[1].url: {other!r} overlaps '/static/'" in problem


def test_static_files_that_can_be_served_are_not_refused():
    assert problems(STATIC) == []


def test_a_directory_without_a_file_is_refused():
    variables = variables_for({})
    site = {name: value for name, value in variables.items() if name.startswith(PREFIX)} | {
        "aroundtheworld_static": [{"url": "/static/", "directory": "aroundtheworld/statics"}]
    }
    with pytest.raises(BadInputError, match="'aroundtheworld/statics' holds no file"):
        describe_release(site)


# --- nginx ---
