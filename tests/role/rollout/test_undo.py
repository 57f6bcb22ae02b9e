"""Back to a release and its data: they belong together, wherever that fails or is cut off."""

import contextlib
import os
import signal
import sqlite3

import pytest
from ansible.module_utils.aroundtheworld.data.undo_copies import read_copies, read_record
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance import switch
from ansible.module_utils.aroundtheworld.maintenance.standstill import Standstill
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing
from ansible.module_utils.aroundtheworld.rollout.undo import Undo
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.matrix import chosen
from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, CutOffError

CLOSING = {
    **{"scope": "all", "pools": ["public", "admin"], "reason": "", "until": ""},
    **{"retry_after": "600", "page": "<p>", "json": "{}", "who": "ada"},
}
EVERY_WORKER_ON_SECOND = dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)


class Shop:
    """A site whose second release has destroyed what the first one needs."""

    def __init__(self, host, run, data):
        self.host, self._run, self._data = host, run, data
        self.site = SiteLayout(host.home, "aroundtheworld", host.root)
        self.place = host.home / "shared/shop.db"
        self.looks = True  # whether a worker that starts looks for the data of its release

    def deploy(self, release, **more):
        return self._run(release, data=self._data, **more)

    def undo(self, release=FIRST, **more):
        options = {"undo": self.copy(release).name, "closing": CLOSING, "verb": "rollback"}
        return self.deploy(release, **options, **more)

    def copy(self, release):
        return [copy for copy in read_copies(self.site) if copy.release == release][-1]

    def write(self, script):
        with contextlib.closing(sqlite3.connect(self.place)) as database:
            database.executescript(script)

    @property
    def rows(self):
        with contextlib.closing(sqlite3.connect(self.place)) as database:
            return [row[0] for row in database.execute("select * from orders")]

    @property
    def runs(self):
        return {self.rows == [1, 2]: FIRST, self.rows == [9]: SECOND}[True]

    def belongs_together(self):
        """Every worker runs the release that the data belong to, and the site is open."""
        release = self.runs
        assert self.host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, release)
        assert self.site.current_release() == release
        assert not self.site.maintenance.exists()
        assert read_record(self.site) == {}
        return release


@pytest.fixture
def shop(host, run, data, monkeypatch):
    monkeypatch.setattr(switch, "PATIENCE", 0)
    shop = Shop(host, run, data)
    shop.deploy(FIRST)
    shop.deploy(SECOND)
    shop.write("delete from orders; insert into orders values (9)")
    start = host._start

    def start_and_look(name):
        start(name)
        if (
            shop.looks and "@" in name and name.endswith(".service")
        ):  # it reads the data as soon as it runs
            assert host.running[name][0].get("release") == shop.runs, name

    monkeypatch.setattr(host, "_start", start_and_look)
    return shop


def test_release_and_data_go_back_together_while_nothing_runs(shop, host):
    result = shop.undo()
    assert shop.belongs_together() == FIRST
    assert shop.rows == [1, 2]
    assert host.migrated == [FIRST, SECOND]
    phases = [phase["name"] for phase in result["phases"]]
    assert phases[:2] == ["close the site and stop its processes", "copy the databases as they are"]
    assert phases[2].startswith("put the databases of 20")
    assert host.log()[-1]["data"] == shop.copy(FIRST).time
    puts = [host.calls.index(call) for call in host.calls if call == "run put"]
    stops = [host.calls.index(call) for call in host.calls if call.startswith("stop ")]
    assert min(puts) > min(stops)


def test_what_would_fail_is_found_before_anything_stops(shop, host):
    before = host.snapshot()
    (shop.copy(FIRST).source / "shop.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    with pytest.raises(shop._run.failed, match="Release and data are as they were"):
        shop.undo()
    assert shop.belongs_together() == SECOND
    assert host.snapshot() == before
    assert not [call for call in host.calls if "@" in call]


def test_the_undo_can_be_undone(shop):
    shop.undo()
    left = shop.copy(SECOND)
    assert left.is_left
    shop.undo(SECOND)
    assert shop.belongs_together() == SECOND
    assert shop.rows == [9]


def test_the_release_that_went_migrates_again(shop, host):
    shop.undo()
    shop.looks = False  # here, a migration changes nothing
    shop.deploy(SECOND)
    assert host.migrated == [FIRST, SECOND, SECOND]


def test_the_data_of_the_present_release_come_back_after_half_a_migration(shop, host):
    third = "333333333333"
    (host.home / "releases" / third).mkdir()
    (host.home / "releases" / third / "venv").symlink_to("../../environments/e")
    host.unmigratable.add(third)
    with pytest.raises(shop._run.failed) as caught:
        shop.deploy(third)
    sentence = f"-e aroundtheworld_with_data=true -e aroundtheworld_release={SECOND}"
    assert sentence in str(caught.value)
    shop.write("drop table orders; create table orders (lost)")
    shop.undo(SECOND)
    assert shop.rows == [9]
    assert shop.belongs_together() == SECOND


def test_a_dry_run_says_what_would_be_done(shop, host):
    before = host.snapshot()
    result = shop.undo(check=True)
    assert result["steps"][0] == "close the site and stop its processes"
    assert result["steps"][1].startswith("put the databases of 20")
    assert (host.snapshot(), shop.rows) == (before, [9])
    assert shop.undo(begin=False)["pending"]


def test_a_release_is_not_asked_about_data_of_its_own(shop, host):
    host.unfit.add(FIRST)  # because it does not know the command yet
    shop.undo(schema="check")
    assert shop.belongs_together() == FIRST
    assert host.asked == []


@pytest.mark.parametrize("breaking", ["sick", "refused"])
def test_a_release_that_cannot_run_gives_the_data_back(shop, host, breaking):
    getattr(host, breaking).add(FIRST)
    with pytest.raises(shop._run.failed):
        shop.undo()
    getattr(host, breaking).clear()
    assert shop.belongs_together() == SECOND
    assert host.log()[-1]["outcome"] == "reverted"


def test_data_that_cannot_be_taken_back_keep_the_site_closed_until_the_next_run(shop, host):
    host.sick.add(FIRST)
    copies = shop.site.undo
    hidden = copies.parent / "hidden"
    # At the first look at a worker after the exchange.
    lose = lambda: shop.copy(SECOND).directory.rename(hidden)  # noqa: E731 - or three lines
    host.disturbed = ("look", host.counts["look"] + 1, lose)
    with pytest.raises(shop._run.failed, match="the site stays closed, and nothing of it runs"):
        shop.undo()
    assert host.releases() == {}
    assert shop.site.maintenance.exists()
    hidden.rename(copies / read_record(shop.site)["left"])
    host.sick.clear()
    shop.deploy(SECOND)
    assert shop.belongs_together() == SECOND


@pytest.mark.parametrize("end", [(Undo, "_settle"), (Standstill, "end")], ids=["data", "opening"])
def test_a_run_that_was_cut_off_at_its_very_end_is_not_taken_back(shop, monkeypatch, end):
    def killed(self):
        raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(*end, killed)
        with pytest.raises(CutOffError):
            shop.undo()
    shop.deploy(FIRST)
    assert shop.belongs_together() == FIRST
    assert shop.rows == [1, 2]


@pytest.mark.parametrize("then", ["again", "deploy"])
def test_wherever_it_is_killed_the_next_run_has_release_and_data_belong_together(shop, host, then):
    for number in chosen(range(400)):  # by its calls of systemd and of the site's user
        host.cut_off_at = number
        try:
            shop.undo()
            break
        except CutOffError:
            host.cut_off_at = None
        if then == "again":
            shop.undo()
            assert shop.belongs_together() == FIRST, number
            shop.undo(SECOND)
        else:
            shop.deploy(SECOND)
        assert shop.belongs_together() == SECOND, number
    assert number > 10


def test_wherever_it_is_asked_to_end_release_and_data_belong_together(shop, host):
    for number in chosen(range(1, 400)):
        host.disturbed = (
            "call", host.counts["call"] + number, lambda: os.kill(os.getpid(), signal.SIGTERM)
        )  # fmt: skip
        try:
            shop.undo()
        except shop._run.failed:
            assert shop.belongs_together() == SECOND, number
            continue
        assert shop.belongs_together() == FIRST, number
        if host.disturbed:  # it was over before that
            break
        shop.undo(SECOND)
    assert number > 10


def test_a_site_that_cannot_be_started_again_stays_closed_until_the_next_run(
    shop, host, monkeypatch
):
    def start(standstill):
        raise HostError("no")

    host.refused.add(FIRST)  # after the exchange
    with monkeypatch.context() as patch:
        patch.setattr(Standstill, "start", start)
        with pytest.raises(shop._run.failed, match="is still closed, and has to be started: no"):
            shop.undo()
    assert shop.rows == [9]
    assert shop.site.maintenance.exists()
    shop.deploy(SECOND)
    assert shop.belongs_together() == SECOND


@pytest.mark.parametrize("fails", [False, True])
def test_a_site_that_stands_still_for_something_else_is_not_opened(shop, host, fails):
    standstill = Standstill(shop.site, host)
    standstill.begin(Closing(**CLOSING))
    if fails:
        host.sick.add(SECOND)
        with pytest.raises(shop._run.failed):
            shop.deploy(SECOND)
    else:
        shop.deploy(SECOND)
    assert standstill.record
    assert shop.site.maintenance.exists()
