"""A backup while the site is busy, and of much data.

With MEASURE=yes, on a quiet machine, times and sizes are judged too and printed, by
PYTEST_ADDOPTS="-rP -k test_load".
"""

import time

import pytest

from tests.matrix import MEASURED
from tests.visitors import SERVED, visiting

HOME = "/var/lib/tornado/aroundtheworld"
PHOTOS = f"{HOME}/shared/uploads/photos"
RATE = 200 if MEASURED else 60  # requests a second; two hosts and their visitors share a machine
WORST = 1.5  # times the p99 without a backup
BACKUPS, ALONE = (10, 6) if MEASURED else (1, 3)  # and seconds before each
GIGABYTE = 1000  # photos of a megabyte

pytestmark = pytest.mark.measures


@pytest.fixture(scope="module")
def data(host):
    """Have the site's data weigh something, so that a backup takes a while."""
    players, photos = (2000, 200) if MEASURED else (200, 20)
    host.check_output(f"aroundtheworld-run python -m aroundtheworld simulate --players {players}")
    host.check_output(f"runuser -u tornado -- mkdir -p {PHOTOS}")
    fill(host, photos)
    yield
    host.check_output(f"rm -r {PHOTOS}")


def fill(host, photos):
    """Have so many files of a megabyte in place of photos, each with other bytes."""
    each = "head -c 1000000 /dev/urandom"
    host.check_output(f"for i in $(seq {photos}); do {each} >{PHOTOS}/$i.jpg; done")


@pytest.mark.usefixtures("data")
def test_visitors_feel_no_backup_and_their_writes_are_in_it(site, host, http):
    spans = []
    with visiting(http, RATE) as visits:
        for _ in range(BACKUPS):
            site.back_up()  # so that the next has as little to copy as every night
            host.check_output("sync")  # what was written for the test is no part of that
            time.sleep(ALONE)
            begun = time.monotonic()
            site.back_up()
            spans.append((begun, time.monotonic()))
    assert visits.outcomes() == SERVED
    written = visits.written(begun)
    assert len(written) > 20
    assert written <= set(site.restored("select id from rounds"))
    if MEASURED:
        without = visits.p99((begun - ALONE, begun) for begun, _ in spans)
        during = visits.p99(spans)
        ratio = during / without
        each = sorted(visits.p99([span]) for span in spans)
        print(
            f"p99 {1000 * without:.1f} ms without a backup, {1000 * during:.1f} ms during "
            f"{BACKUPS}, {1000 * each[0]:.1f} to {1000 * each[-1]:.1f} ms by backup: {ratio:.2f} x"
        )
        assert ratio <= WORST


@pytest.mark.skipif(not MEASURED, reason="sizes of much data are judged with MEASURE=yes")
@pytest.mark.usefixtures("data")
def test_of_a_gigabyte_a_second_backup_brings_what_has_changed(site, host):
    fill(host, GIGABYTE)
    site.back_up()
    first = site.state()["last"]
    fill(host, GIGABYTE // 100)
    site.back_up()
    second = site.state()["last"]
    print(
        f"1 GB of photos: {first['added'] / 1e6:.0f} MB in {first['seconds']} s; with 1 % of them "
        f"changed {second['added'] / 1e6:.0f} MB in {second['seconds']} s"
    )
    assert first["added"] > 0.7 * GIGABYTE * 1e6
    assert second["added"] <= 0.05 * first["added"]
