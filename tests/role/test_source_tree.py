"""Whatever an archive holds, nothing is outside of its directory; a refusal names the member."""

import io
import tarfile
from pathlib import Path

import pytest

from aroundtheworld_controller.app import archive, source_tree
from aroundtheworld_controller.app.archive import unpack
from aroundtheworld_controller.app.source_tree import BadSourceError, SourceTree

LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "outer" / "tree"
    tree.mkdir(parents=True)
    return tree


@pytest.fixture(params=["with Python's filter", "without"])
def attempt(request, tree, tmp_path, monkeypatch):
    """Unpacks members, each a name and a text, or a name, a kind and a target; returns the tree."""
    if request.param == "without":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)

    def run(*members, **options):
        path = tmp_path / "archive.tar"
        with tarfile.open(path, "w", **options) as tar:
            for name, content, *target in members:
                member = tarfile.TarInfo(name)
                if target:
                    member.type, member.linkname = content, target[0]
                    tar.addfile(member)
                else:
                    member.size, member.mode = len(content), 0o6777
                    tar.addfile(member, io.BytesIO(content.encode()))
        try:
            unpack(path, tree)
        finally:
            assert [path.name for path in tree.parent.iterdir()] == ["tree"]
            assert {path.name for path in tmp_path.iterdir()} == {"archive.tar", "outer"}
        return tree

    return run


def contents(tree):
    return {str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*.txt")}


def test_usual_members_are_unpacked(attempt):
    tree = attempt(
        ("./", tarfile.DIRTYPE, ""),
        ("./a/", tarfile.DIRTYPE, ""),
        ("./a/1.txt", "one"),
        ("b//./2.txt", "two"),
        ("a/hard.txt", HARD, "./a/1.txt"),
        ("link.txt", LINK, "a/../b/2.txt"),
        ("hard-link.txt", HARD, "link.txt"),
        ("later.txt", LINK, "z/3.txt"),
        ("z/3.txt", "three"),
        ("directory", LINK, "a"),
        ("nowhere.md", LINK, "a/gone"),
    )
    assert contents(tree) == {
        "a/1.txt": "one",
        "b/2.txt": "two",
        "a/hard.txt": "one",
        "link.txt": "two",
        "hard-link.txt": "two",
        "later.txt": "three",
        "z/3.txt": "three",
    }
    assert (tree / "directory").readlink() == Path("a")
    assert (tree / "a" / "1.txt").stat().st_mode & 0o7000 == 0


def test_of_a_name_that_comes_twice_the_last_one_counts_as_for_tar(attempt):
    assert contents(attempt(("a.txt", "old and long"), ("a.txt", "new"))) == {"a.txt": "new"}


def test_a_hard_link_to_itself_is_a_file(attempt):
    assert contents(attempt(("a.txt", "one"), ("a.txt", HARD, "a.txt"))) == {"a.txt": "one"}


def test_long_names_are_unpacked(attempt):
    name = "/".join(["d" * 100] * 5) + "/file.txt"
    assert list(contents(attempt((name, "deep")))) == [name]


LONG = "x" * 256

REFUSED = {
    "through a link": ([("l", LINK, "../../out"), ("l/x", "")], "'l/x' below 'l', which is a link"),
    "through an inner link": ([("l", LINK, "."), ("l/x", "")], "'l/x' below 'l', which is a link"),
    "directory through a link": (
        [("l", LINK, ".."), ("l/x", tarfile.DIRTYPE, "")],
        "'l/x' below 'l', which is a link",
    ),
    "hard link through a link": (
        [("f", ""), ("l", LINK, ".."), ("l/x", HARD, "f")],
        "'l/x' below 'l', which is a link",
    ),
    "a link instead of a directory": (
        [("d/x", ""), ("d", LINK, "../../out")],
        "'d' twice, as a directory and as a link",
    ),
    "a file instead of a link": ([("l", LINK, "../x"), ("l", "")], "'l' twice, as a link and as"),
    "a link instead of the tree": ([(".", LINK, "/etc")], "'.' twice, as a directory and as a lin"),
    "a file instead of the tree": ([("./", "text")], "'./' twice, as a directory and as a file"),
    "out by a chain": (
        [("a", LINK, "b/.."), ("b", LINK, "c/d"), ("c/d", LINK, ".."), ("e", LINK, "a/..")],
        "the link 'a' to 'b/..', which leads out of it",
    ),
    "out and in again": ([("l", LINK, "../tree/x"), ("x", "")], "'../tree/x', which leads out of"),
    "absolute link": ([("l", LINK, "/etc/passwd")], "link 'l' to '/etc/passwd', which leads out"),
    "circle": ([("a", LINK, "b"), ("b", LINK, "a")], "link 'a' to 'b', which leads in a circle"),
    "its own circle": ([("a", LINK, "a/x")], "the link 'a' to 'a/x', which leads in a circle"),
    "empty link": ([("l", LINK, "")], "the link 'l' to '', which is no name"),
    "hard link to a directory": (
        [("d/x", ""), ("h", HARD, "d")],
        "'h', a hard link to 'd', which is a directory",
    ),
    "hard link to a later one": (
        [("h", HARD, "f"), ("f", "")],
        "'h', a hard link to 'f', which does not come before it",
    ),
    "hard link outside": ([("h", HARD, "../f")], "'../f', which leads out of it"),
    "absolute hard link": ([("h", HARD, "/etc/passwd")], "'/etc/passwd', which leads out of it"),
    "long name": ([(LONG, "")], "whose name is longer than 255 bytes"),
    "long directory": ([(f"{LONG}/x", "")], "whose name is longer than 255 bytes"),
    "long path": ([("/".join(["y" * 250] * 20), "")], "cannot be written: File name too long"),
    "long target": ([("l", LINK, "x/" * 2100)], "'l' cannot be written: File name too long"),
    "not UTF-8": ([("caf\udce9", "")], "'caf\\udce9', whose name is not UTF-8"),
    "device": ([("d", tarfile.CHRTYPE, "")], "'d', which is no file, directory or link"),
    "pipe": ([("d", tarfile.FIFOTYPE, "")], "'d', which is no file, directory or link"),
}


@pytest.mark.parametrize(("members", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_stay_inside_is_refused_by_name(attempt, members, expected):
    with pytest.raises(BadSourceError) as refused:
        attempt(*members)
    assert expected in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_name_with_a_nul_is_refused(tree):
    with pytest.raises(BadSourceError, match="whose name has a NUL"):
        SourceTree(tree).add_file("a\0b", [], 0)


def test_a_file_that_the_disk_has_no_room_for_is_refused_by_name(tree):
    def chunks():
        yield b"x"
        raise OSError(28, "No space left on device")

    with pytest.raises(BadSourceError, match="'a' cannot be written: No space left on device"):
        SourceTree(tree).add_file("a", chunks(), 2)


def test_a_bomb_is_refused_before_it_is_written(attempt, tmp_path, tree, monkeypatch):
    monkeypatch.setattr(source_tree, "MOST_BYTES", 1 << 30)
    path = tmp_path / "archive.tar"
    member = tarfile.TarInfo("zeros")
    member.size = 10 << 30
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(BadSourceError, match="it holds more than 1 GiB, counted to 'zeros'"):
        unpack(path, tree)


def test_too_many_members_are_refused(attempt, monkeypatch):
    monkeypatch.setattr(source_tree, "MOST_ENTRIES", 3)
    with pytest.raises(BadSourceError, match="more than 3 files and directories, counted to 'c'"):
        attempt(*((name, "") for name in "abcdef"))


def test_a_negative_size_is_refused(attempt, tmp_path, tree):
    """Some versions of Python would read such a member again and again."""
    path = tmp_path / "archive.tar"
    member = tarfile.TarInfo("back")
    member.size = -512
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) * 2)
    with pytest.raises(BadSourceError, match=r"'back', whose size is -512|no whole tar file"):
        unpack(path, tree)


@pytest.mark.parametrize(
    "members",
    [
        [("README", "1"), ("readme", "2")],
        [("App/x", "1"), ("app/y", "2")],
        [("README", "1"), ("readme", LINK, "README")],
    ],
)
def test_names_that_a_file_system_takes_for_one_are_refused(attempt, members, monkeypatch):
    """As on macOS, where one of them would be lost without a word."""
    usual = source_tree.SourceTree._path

    def without_case(self, parts):
        return usual(self, tuple(part.lower() for part in parts))

    monkeypatch.setattr(source_tree.SourceTree, "_path", without_case)
    with pytest.raises(BadSourceError, match="another name that the controller's file system"):
        attempt(*members)


def test_whatever_tarfile_raises_is_a_refusal(attempt, monkeypatch):
    def fail(*_):
        raise RecursionError("deep")

    monkeypatch.setattr(archive, "_unpack_member", fail)
    with pytest.raises(BadSourceError, match=r"no whole tar file, compressed or not \(deep\)"):
        attempt(("a", ""))


def test_a_second_opinion_counts_where_python_has_one(attempt, monkeypatch):
    def doubtful(member, _):
        raise tarfile.ReadError(f"{member.name} is not for me")

    monkeypatch.setattr(tarfile, "data_filter", doubtful, raising=False)
    with pytest.raises(BadSourceError, match="Python's own filter refuses it: a is not for me"):
        attempt(("a", ""))
