"""The log of changes: who may read it, how long it grows, and what a rollback needs of it."""

import json
import os
import random
import stat

import pytest
from ansible.module_utils.aroundtheworld import changelog
from ansible.module_utils.aroundtheworld.layout import HomeLayout

NAMES = ["a", "b", "c", "d", "e", "f"]


@pytest.fixture
def home(tmp_path):
    for name in NAMES[:4]:
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    return tmp_path


def entry(to="b", **more):
    usual = {"time": "now", "who": "ada", "verb": "deploy", "from": "a", "to": to}
    return usual | {"phases": [], "outcome": "done", "cause": ""} | more


def mode(home):
    return stat.S_IMODE(HomeLayout(home).log.stat().st_mode)


def test_only_root_and_the_sites_user_can_read_it(home):
    if os.getuid() == 0:
        os.chown(home / "shared", 1234, 4321)
    group = (home / "shared").stat().st_gid
    changelog.append_log(home, entry())
    assert mode(home) == 0o640
    assert HomeLayout(home).log.stat().st_gid == group
    assert not changelog.exposed(home)


def test_one_from_before_that_was_everybodys_is_corrected(home):
    log = HomeLayout(home).log
    assert not changelog.exposed(home)
    log.write_text(json.dumps(entry()) + "\n")
    log.chmod(0o644)
    assert changelog.exposed(home)
    changelog.secure(home)
    assert (mode(home), changelog.exposed(home)) == (0o640, False)
    log.chmod(0o644)
    changelog.append_log(home, entry("c"))
    assert mode(home) == 0o640
    assert [entry["to"] for entry in changelog.read_log(home)] == ["b", "c"]


def test_what_was_cut_off_does_not_take_the_next_entry_with_it(home):
    HomeLayout(home).log.write_text(json.dumps(entry("b")) + "\n" + json.dumps(entry("c"))[:20])
    changelog.append_log(home, entry("d"))
    assert [entry["to"] for entry in changelog.read_log(home)] == ["b", "d"]


def test_it_does_not_grow_for_ever(home, monkeypatch):
    monkeypatch.setattr(changelog, "LIMIT_BYTES", 10_000)
    sizes = []
    for number in range(300):
        changelog.append_log(home, entry("e", outcome="reverted", cause=f"{number} " + "x" * 300))
        sizes.append(HomeLayout(home).log.stat().st_size)
    assert max(sizes) <= 11_000
    assert mode(home) == 0o640
    last = changelog.read_log(home)
    assert last[-1]["cause"].startswith("299 ")
    assert 5 < len(last) < 60


def test_what_was_cut_is_for_the_same_readers(home):
    if os.getuid() == 0:
        os.chown(home / "shared", 1234, 4321)
    changelog.append_log(home, entry())
    changelog.trim(home)
    assert (mode(home), changelog.exposed(home)) == (0o640, False)


@pytest.mark.parametrize(
    "change", [lambda home: changelog.append_log(home, entry()), changelog.secure]
)
def test_a_link_in_its_place_is_not_followed(home, tmp_path, change):
    other = tmp_path / "shadow"
    other.write_text("root only")
    other.chmod(0o600)
    HomeLayout(home).log.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        change(home)
    assert (other.read_text(), stat.S_IMODE(other.stat().st_mode)) == ("root only", 0o600)


def test_an_entry_is_there_after_a_crash_of_the_host(home, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle)))
    changelog.append_log(home, entry())
    now = HomeLayout(home).log.stat()
    assert [(file.st_ino, file.st_size) for file in synced] == [(now.st_ino, now.st_size)]


def test_a_journal_without_end_is_cut_in_the_middle(home):
    changelog.append_log(home, entry(cause="why\n" + "x" * 1_000_000 + "\nlast line"))
    (change,) = changelog.read_log(home)
    assert change["cause"].startswith("why\n")
    assert change["cause"].endswith("\nlast line")
    assert HomeLayout(home).log.stat().st_size < 10_000


def test_an_old_entry_is_kept_for_its_outcome_and_not_for_its_journal(home, monkeypatch):
    monkeypatch.setattr(changelog, "LIMIT_BYTES", 4000)
    changelog.append_log(home, entry("b", cause="x" * 1500, phases=[{"name": "y", "seconds": 1}]))
    for _ in range(9):
        changelog.append_log(home, entry("c", outcome="reverted", cause="x" * 900))
    oldest = changelog.read_log(home)[0]
    assert (oldest["to"], len(oldest["cause"]), oldest["phases"]) == ("b", 200, [])


@pytest.mark.parametrize("seed", range(40))
def test_a_rollback_goes_to_the_same_release_however_much_was_cut(home, monkeypatch, seed):
    chance = random.Random(seed)
    log = HomeLayout(home).log
    entries = [
        entry(
            chance.choice(NAMES),
            **{"from": chance.choice(["", *NAMES])},
            verb=chance.choice(["deploy", "deploy", "rollback"]),
            outcome=chance.choice(["done", "done", "reverted", "refused", "failed"]),
            cause="x" * chance.randrange(100),
        )
        for _ in range(chance.randrange(5, 80))
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in entries))
    before = {name: changelog.last_good(home, name) for name in NAMES}
    monkeypatch.setattr(changelog, "LIMIT_BYTES", chance.choice([0, 600, 2000]))
    changelog.trim(home)
    assert {name: changelog.last_good(home, name) for name in NAMES} == before
    assert len(changelog.read_log(home)) <= len(entries)
