"""nginx reads what workers write in directories of media, and root follows no link there."""

import os
import stat

import pytest
from ansible.module_utils.aroundtheworld.media import Media
from ansible.module_utils.aroundtheworld.systemd import HostError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to a group")
WORKER, NGINX = 48151, 62342


@pytest.fixture
def shared(tmp_path):
    """Returns `shared/`, with a file of a worker and one of somebody else in a directory of it."""
    shared = tmp_path / "shared"
    for name in ("old/a.jpg", "old/albums/b.jpg", "old/foreign", "data.db"):
        path = shared / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o600)
    for path in (shared, *shared.rglob("*")):
        os.chown(path, WORKER, WORKER)
        path.chmod(0o750 if path.is_dir() else 0o600)
    os.chown(shared / "old/foreign", 0, 0)
    return shared


def rights(path):
    status = path.lstat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


@needs_root
def test_a_directory_is_made_for_the_worker_to_write_and_nginx_to_read(shared):
    media = Media(shared, ["new/photos"], NGINX)
    assert media.steps() == [f"let nginx read {shared}/new/photos"]
    assert not (shared / "new").exists()
    media.carry_out()
    assert rights(shared / "new/photos") == (WORKER, NGINX, 0o2750)
    assert rights(shared / "new") == (WORKER, WORKER, 0o751)
    assert media.steps() == []
    (shared / "new").chmod(0o750)
    assert media.steps() == [f"let nginx read {shared}/new/photos"]


@needs_root
def test_what_is_there_already_can_be_read_then_and_nothing_else(shared):
    Media(shared, ["old"], NGINX).carry_out()
    assert rights(shared / "old/a.jpg") == (WORKER, NGINX, 0o640)
    assert rights(shared / "old/albums") == (WORKER, NGINX, 0o2750)
    assert rights(shared / "old/albums/b.jpg") == (WORKER, NGINX, 0o640)
    assert rights(shared / "old/foreign") == (0, 0, 0o600)
    assert rights(shared / "data.db") == (WORKER, WORKER, 0o600)


@needs_root
def test_a_run_that_was_cut_off_is_completed(shared, monkeypatch):
    media = Media(shared, ["old"], NGINX)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fchmod", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            media.carry_out()
    assert media.steps()
    media.carry_out()
    assert rights(shared / "old/albums/b.jpg") == (WORKER, NGINX, 0o640)


@needs_root
@pytest.mark.parametrize("directory", ["old", "old/albums", "old/albums/deeper"])
def test_no_link_is_followed(shared, tmp_path, directory):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "albums").mkdir(parents=True)
    before = rights(elsewhere), rights(elsewhere / "albums")
    (shared / "old").rename(shared / "away")
    (shared / "old").symlink_to(elsewhere)
    media = Media(shared, [directory], NGINX)
    for act in (media.steps, media.carry_out):
        with pytest.raises(HostError, match=f"{shared / directory} cannot .* no link may lead"):
            act()
    assert (rights(elsewhere), rights(elsewhere / "albums")) == before
    assert [path.name for path in elsewhere.rglob("*")] == ["albums"]


@needs_root
def test_links_among_the_files_stay_and_so_does_what_they_lead_to(shared, tmp_path):
    for name in ("file", "directory/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        os.chown(tmp_path / name, WORKER, WORKER)
        (tmp_path / name).chmod(0o600)
    (shared / "old/file").symlink_to(tmp_path / "file")
    (shared / "old/directory").symlink_to(tmp_path / "directory")
    os.mkfifo(shared / "old/pipe")
    Media(shared, ["old"], NGINX).carry_out()
    for name in ("file", "directory/file"):
        assert rights(tmp_path / name) == (WORKER, WORKER, 0o600)


def test_a_file_in_the_place_of_a_directory_is_named(shared):
    with pytest.raises(HostError, match=r"data\.db cannot be a directory that nginx serves: Not a"):
        Media(shared, ["data.db"], NGINX).steps()
