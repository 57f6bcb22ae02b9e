"""Files that another process may read at any moment."""

import importlib
import os
import sys

import pytest

files = importlib.import_module("ansible.module_utils.aroundtheworld.files")


def test_a_file_is_written_with_its_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        files.write_atomically(tmp_path / "a", "text\n", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_text() == "text\n"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_secret_is_readable_by_its_owner_alone_from_the_first_moment(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        files.os, "fchmod", lambda handle, mode: seen.append(os.fstat(handle).st_mode)
    )
    files.write_atomically(tmp_path / "secret", "x", 0o600)
    assert seen[0] & 0o077 == 0


def test_a_reader_of_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with path.open() as reader:
        files.write_atomically(path, "new", 0o644)
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, "new", 0o644)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_switched_and_a_half_made_one_does_not_matter(tmp_path):
    link = tmp_path / "current"
    files.link_atomically(link, "releases/1")
    (tmp_path / ".current.new").symlink_to("left over")
    files.link_atomically(link, "releases/2")
    assert str(link.readlink()) == "releases/2"
    assert list(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize("left_over", [False, True])
def test_a_link_is_never_missing_while_it_is_switched(tmp_path, left_over):
    link = tmp_path / "current"
    files.link_atomically(link, "old")
    if left_over:
        (tmp_path / ".current.new").symlink_to("left over")
    found = at_each_line(files.link_atomically, link, "new", look=link.readlink)
    assert [str(target) for target in dict.fromkeys(found)] == ["old", "new"]


def test_a_file_is_never_missing_or_half_written_while_it_is_replaced(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    found = at_each_line(files.write_atomically, path, "new", 0o644, look=path.read_text)
    assert list(dict.fromkeys(found)) == ["old", "new"]


def at_each_line(function, *arguments, look):
    """Return what is found before each line that Python runs in a call, and after the last."""
    found = []

    def trace(frame, event, argument):
        sys.settrace(None)  # not in `look` itself
        found.append(look())
        sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return [*found, look()]
