"""nginx finds the static files of every release that is on the host, and of no other."""

import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.rollout.prune import prune
from tornado.web import StaticFileHandler

from aroundtheworld_controller.app.content import compressed_problems
from aroundtheworld_controller.app.release import describe_release
from aroundtheworld_controller.nginx.static import media_problems, static_problems
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


# --- Compressed files ---

RED, BLUE = (f"body {{ color: {color} }}\n" * 50 for color in ("red", "blue"))
STYLE = "shop/static/style.css"


def compressed(home, path, version="none"):
    """Returns what nginx serves to who takes gzip; it looks beside the file that it found."""
    for top in (f"versions/{version}", "current", "names"):
        if (file := home / "assets" / top / path).is_file():
            beside = file.with_name(f"{file.name}.gz")
            return gzip.decompress(beside.read_bytes()).decode() if beside.is_file() else None
    return None


def test_text_is_compressed_once_and_found_beside_each_name(home):
    release(home, "one", {STYLE: RED, "shop/static/deep/a.JS": RED}, current=True)
    Assets(home, STATIC).update()
    for path in ("static/style.css", "static/deep/a.JS"):
        files = [
            home / "assets" / top / path for top in (f"versions/{sha512(RED)}", "current", "names")
        ]
        assert {(file.stat().st_ino, file.stat().st_nlink) for file in files} == {
            (files[0].stat().st_ino, 4)
        }
        beside = [file.with_name(f"{file.name}.gz") for file in files]
        assert {file.stat().st_ino for file in beside} == {beside[0].stat().st_ino}
        assert beside[0].stat().st_size < len(RED) / 5
        assert beside[0].stat().st_mtime_ns == files[0].stat().st_mtime_ns
        assert beside[0].read_bytes()[4:8] == bytes(4)
        assert compressed(home, path) == compressed(home, path, sha512(RED)) == RED
    before = everything(home)
    (home / "assets" / "index.json").unlink()
    Assets(home, STATIC).update()
    assert {path for path, inode in everything(home).items() if inode != before[path]} <= {
        Path("index.json"),
        Path("current/static"),
    }


def test_what_does_not_become_smaller_or_is_no_text_is_not_compressed(home):
    names = ("photo.jpg", "pack.zip", "noise.txt", "short.css", "page.woff2")
    release(home, "one", {f"shop/static/{name}": RED for name in names}, current=True)
    static = home / "current" / "app" / "shop" / "static"
    (static / "noise.txt").write_bytes(os.urandom(1000))
    (static / "short.css").write_text("x" * 255)
    Assets(home, STATIC).update()
    files = {path.name for path in (home / "assets").rglob("*") if path.is_file()}
    assert files == {*names, "index.json"}


def test_compressed_files_change_with_the_release_in_both_directions_and_go_with_it(home):
    release(home, "one", {STYLE: RED, "shop/static/old.js": RED}, current=True)
    Assets(home, STATIC).update()
    release(home, "two", {STYLE: BLUE})
    Assets(home, STATIC).update()
    assert compressed(home, "static/style.css") == RED
    for current, text in (("two", BLUE), ("one", RED), ("two", BLUE)):
        (home / "current").unlink()
        (home / "current").symlink_to(f"releases/{current}")
        assert compressed(home, "static/style.css") == text
        assert compressed(home, "static/style.css", sha512(RED)) == RED
        assert compressed(home, "static/old.js") == RED
    shutil.rmtree(home / "releases" / "one")
    Assets(home).update()
    files = [path.name for path in (home / "assets").rglob("*.gz")]
    assert files == ["style.css.gz"] * 2
    assert compressed(home, "static/style.css") == BLUE


def test_a_releases_own_compressed_file_stays_and_goes_with_its_own_release(home):
    own = gzip.compress(RED.encode(), mtime=7)
    release(home, "one", {STYLE: RED, f"{STYLE}.gz": ""}, current=True)
    (home / "current" / "app" / f"{STYLE}.gz").write_bytes(own)
    Assets(home, STATIC).update()
    assert (home / "assets" / "current" / "static" / "style.css.gz").read_bytes() == own
    assert (home / "assets" / "names" / "static" / "style.css.gz").read_bytes() == own
    release(home, "two", {STYLE: BLUE})
    release(home, "three", {"shop/static/a.js": "1"}, current=True)
    Assets(home, STATIC).update()
    assert compressed(home, "static/style.css") == BLUE


def test_trees_of_a_former_version_of_the_role_are_made_again(home):
    release(home, "one", {STYLE: RED}, current=True)
    Assets(home, STATIC).update()
    index = home / "assets" / "index.json"
    former = {key: value for key, value in json.loads(index.read_text()).items() if key != "form"}
    index.write_text(json.dumps(former))
    shutil.rmtree(home / "releases" / "one" / "assets")
    for path in (home / "assets").rglob("*.gz"):
        path.unlink()
    link = home / "assets" / "current" / "static"
    link.unlink()
    link.symlink_to(home / "current" / "app" / "shop" / "static")
    assert Assets(home, STATIC).stale()
    Assets(home, STATIC).update()
    assert (
        compressed(home, "static/style.css")
        == compressed(home, "static/style.css", sha512(RED))
        == RED
    )


def test_releases_stay_in_the_order_in_which_they_came(home):
    for name in ("one", "two", "three"):
        release(home, name, {STYLE: name * 200}, current=True)
    for static in (STATIC, [], STATIC):
        Assets(home, static).update()
        assert Assets(home).releases() == ["three", "two", "one"]
    assert compressed(home, "static/style.css") == "three" * 200


def test_a_compressed_file_that_was_cut_off_is_not_served(home, monkeypatch):
    release(home, "one", {STYLE: RED}, current=True)

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(OSError, match="No space"):
            Assets(home, STATIC).update()
    assert not list((home / "assets").rglob("*.css.gz"))
    Assets(home, STATIC).update()
    assert compressed(home, "static/style.css") == RED
    assert not [path for path in home.rglob(".*") if path.is_file()]


# --- The plan ---


def problems(static, media=()):
    variables = {
        "aroundtheworld_pools": [
            {"name": "public", "paths": ["/"]},
            {"name": "api", "paths": ["/api/", "/static/api"]},
        ],
        "aroundtheworld_static": static,
        "aroundtheworld_media": media,
        "aroundtheworld_make_app": "shop.web:make_app",
    }
    return [*static_problems(variables), *media_problems(variables)]


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


@pytest.mark.parametrize(
    ("content", "is_right"),
    [
        (gzip.compress(b"body {}", mtime=0), True),
        (gzip.compress(b"body { }", mtime=0), False),
        (gzip.compress(b"body {} ", mtime=0), False),
        (gzip.compress(b"body {}", mtime=0)[:-4], False),
        (b"body {}", False),
        (b"", False),
    ],
    ids=["right", "other", "longer", "cut off", "not compressed", "empty"],
)
def test_a_file_that_nginx_would_take_for_another_one_compressed_is_refused(
    tmp_path, content, is_right
):
    names = ["shop/a.css", "shop/a.css.gz", "shop/b.tar.gz", "other/a.css", "other/a.css.gz"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if name.endswith(".gz") else b"body {}")
    static = [{"url": "/x/", "directory": "shop/none"}, {"url": "/static/", "directory": "shop"}]
    problems = list(compressed_problems(static, tmp_path, list(map(Path, names))))
    expected = "aroundtheworld_static[1].directory: 'shop/a.css.gz' is not 'shop/a.css' compressed"
    assert [problem.partition(",")[0] for problem in problems] == ([] if is_right else [expected])


# --- nginx ---


@pytest.mark.parametrize(
    "directory", ["", ".", "..", "/uploads", "a/../b", "a b", "a$b", "a;b", "a//b"]
)
def test_a_directory_of_shared_that_must_not_be_served_is_refused(directory):
    (problem,) = problems([], [{"url": "/uploads/", "directory": directory}])
    assert problem.startswith(f"aroundtheworld_media[0].directory: {directory!r} is not allowed")
    assert "it must be a directory in shared/" in problem


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "/uploads",
            "it must have a slash at both ends and something between them, as in '/media/'",
        ),
        ("/api/", "'/api/' is already a path of the pool 'api'"),
        ("/static/uploads/", "overlaps '/static/' of aroundtheworld_static[0]"),
    ],
)
def test_a_url_of_shared_that_cannot_be_served_is_refused(url, reason):
    static = [{"url": "/static/", "directory": "shop/static"}]
    (problem,) = problems(static, [{"url": url, "directory": "uploads"}])
    assert problem.startswith("aroundtheworld_media[0].url: ")
    assert reason in problem
