"""What a deployment takes on a host, and what is left there."""

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld.assets import COMPRESSIBLE
from ansible.module_utils.aroundtheworld.host import room as host_room

from aroundtheworld_controller import room

MIB = 1024**2
PLENTY = {"bytes": 10**12, "inodes": 10**9}


@pytest.fixture
def wheels(tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tornado.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("tornado/__init__.py", "x" * 10_000)
        wheel.writestr("tornado/speedups.so", "x" * 3 * MIB)
    return wheels


@pytest.fixture
def trees(tmp_path):
    app = tmp_path / "app"
    for name in ("shop/web.py", "shop/static/css/a.css", "shop/static/b.js"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("x" * 5000)
    files = ["shop/web.py", "shop/static/css/a.css", "shop/static/b.js"]
    return {"app": {"root": str(app), "files": files}}


def needs(**changes):
    usual = {"trees": {}, "static": [], "wheels": None, "settings": 0, "packages": False}
    return room.needs(**usual | changes)


def test_a_run_that_has_nothing_to_bring_takes_nothing():
    assert not any(needs().values())
    assert list(room.room_problems(needs(), {}, "web1")) == []


def test_files_take_whole_blocks_and_directories():
    need = room.files_need([("a/b/c.txt", 1), ("a/d.txt", 4097)])
    # Two files, and the directories a, a/b and their parent.
    assert need == room.Need(3 * 4096 + 3 * 4096, 5)


def test_byte_code_counts():
    plain = room.files_need([("a/b.py", 4000)])
    compiled = room.files_need([("a/b.py", 4000)], byte_code=True)
    assert compiled.bytes == plain.bytes + 3 * 4096
    assert compiled.inodes == plain.inodes + 2


def test_a_wheel_counts_packed_and_unpacked(wheels):
    taken = needs(wheels=wheels)
    environment = taken["home"]["its virtual environment"]
    assert environment.bytes > 3 * MIB
    packed = sum(file.stat().st_size for file in wheels.iterdir())
    assert packed <= taken["home"]["the wheels beside it"].bytes < 3 * MIB
    assert taken["temporary"]["the archive that brings them"].bytes >= packed


def test_static_files_count_again_as_they_are_served(trees):
    bare = needs(trees=trees)["home"]["the release"]
    static = [{"url": "/static/", "directory": "shop/static"}]
    served = needs(trees=trees, static=static)["home"]["the release"]
    # By content a checksum and static for b.js, and css as well for a.css; by name, and in the
    # release, the tree, static and css; and both compressed.
    assert served.inodes - bare.inodes == 2 + 3 + 3 + 3 + 2
    sizes = [size for name, size in room.release_files(trees) if "static" in name]
    packed = sum(room.blocks(size) for size in sizes)
    assert served.bytes - bare.bytes == room.BLOCK * (2 + 3 + 3 + 3) + packed


def test_a_host_compresses_what_there_is_room_for():
    assert room.COMPRESSIBLE == COMPRESSIBLE


def places(**left):
    kinds = ("home", "temporary", "settings", "programs", "lists")
    devices = {kind: {"mount": f"/{kind}", "device": at} for at, kind in enumerate(kinds)}
    return {kind: devices[kind] | PLENTY | left.get(kind, {}) for kind in kinds}


def test_enough_room_is_enough(trees, wheels):
    taken = needs(trees=trees, wheels=wheels, settings=20, packages=True)
    assert list(room.room_problems(taken, places(), "web1")) == []


def test_too_little_is_said_with_what_is_needed_and_where(trees, wheels):
    taken = needs(trees=trees, wheels=wheels)
    left = places(home={"bytes": 5 * MIB, "mount": "/srv"})
    (problem,) = room.room_problems(taken, left, "web1")
    assert problem.startswith("web1 has 5.0 MiB left on /srv, and this deployment needs ")
    for part in ("the release", "its virtual environment", "the wheels beside it", "16.0 MiB that"):
        assert part in problem


def test_what_is_on_one_file_system_is_reckoned_together(trees, wheels):
    taken = needs(trees=trees, wheels=wheels)
    total = sum((part.bytes for parts in taken.values() for part in parts.values()), 16 * MIB)
    apart = places(home={"bytes": total - 4096})
    assert list(room.room_problems(taken, apart, "web1")) == []
    shared = {
        kind: {"mount": "/", "device": 1, "bytes": total - 1, "inodes": 10**6} for kind in apart
    }
    (problem,) = room.room_problems(taken, shared, "web1")
    assert "the archive that brings them" in problem
    enough = {kind: place | {"bytes": total} for kind, place in shared.items()}
    assert list(room.room_problems(taken, enough, "web1")) == []


def test_few_inodes_are_as_bad(trees):
    left = places(home={"inodes": 505, "mount": "/srv"})
    (problem,) = room.room_problems(needs(trees=trees), left, "web1")
    assert "inodes for 505 files and directories left on /srv" in problem


def test_a_file_system_without_a_number_of_inodes_has_enough(trees):
    left = places(home={"inodes": None})
    assert list(room.room_problems(needs(trees=trees), left, "web1")) == []


@pytest.mark.parametrize("kind", ["temporary", "settings", "programs", "lists"])
def test_every_place_is_looked_at(trees, wheels, kind):
    taken = needs(trees=trees, wheels=wheels, settings=20, packages=True)
    (problem,) = room.room_problems(taken, places(**{kind: {"bytes": 1024}}), "web1")
    assert f"left on /{kind}" in problem


# --- On the host ----------------------------------------------------------------------------------


def test_where_a_path_would_be_is_measured(tmp_path, monkeypatch):
    about, measured = os.statvfs(tmp_path), []
    # Others write on this file system, too: between two looks at it something may change.
    monkeypatch.setattr(os, "statvfs", lambda path: measured.append(path) or about)
    there = host_room.left(tmp_path)
    assert host_room.left(tmp_path / "not" / "yet") == there
    assert measured == [tmp_path, tmp_path]
    assert Path(there["mount"]).is_mount()
    assert there["device"] == tmp_path.stat().st_dev
    assert there["bytes"] > 0


def test_what_is_kept_for_root_does_not_count(tmp_path, monkeypatch):
    about = {"f_bavail": 1, "f_bfree": 9, "f_frsize": 4096, "f_files": 0, "f_favail": 0}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**about))
    there = host_room.left(tmp_path)
    assert (there["bytes"], there["inodes"]) == (4096, None)
