"""Debian 12 becomes 13 under the site, as its release notes say; one run of the role mends it.

The upgrade is a real one, and there is no way back on this host.
"""

import pytest

HOSTS = ("debian12",)
NOBODY_LISTENS = {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"}
SOURCES = "/etc/apt/sources.list"
# The host is thrown away, so nothing has to survive a power failure.
OPTIONS = "--option Dpkg::Options::=--force-confold --option Dpkg::Options::=--force-unsafe-io"
APT = f"DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes {OPTIONS}"


@pytest.fixture(scope="module")
def before(host, player, ansible_playbook, files, worker_statuses, pythons):
    """The site on Debian 12, with a release of the present role to go back to."""
    assert ansible_playbook().returncode == 0
    assert host.check_output(". /etc/os-release; echo $VERSION_ID") == "12"
    return {
        "round": player.play(),
        "files": files(),
        "workers": worker_statuses(),
        "pythons": pythons(),
    }


@pytest.fixture(scope="module")
def new_debian(host, before, visitors):
    """Upgrade Debian while visitors read and write."""
    with visitors() as visits:
        host.check_output(f"sed -i s/bookworm/trixie/ {SOURCES}")
        host.check_output(f"{APT} update && {APT} full-upgrade")
    assert host.check_output(". /etc/os-release; echo $VERSION_ID") == "13"
    return visits


@pytest.fixture(scope="module")
def without_old_python(host, new_debian):
    """Remove what the new Debian does not need, as its release notes say."""
    host.check_output(f"{APT} autoremove")
    assert not host.file("/usr/bin/python3.11").exists


@pytest.fixture(scope="module")
def mended(without_old_python, visitors, ansible_playbook):
    """Run the role once."""
    with visitors() as visits:
        run = ansible_playbook()
    assert run.returncode == 0
    return visits


def test_only_nginx_is_away_for_a_moment_and_no_worker(new_debian, before, worker_statuses):
    """Debian's own package stops and starts nginx when it changes the unit, on every server."""
    outcomes = new_debian.outcomes
    away = sum(count for outcome, count in outcomes.items() if outcome in NOBODY_LISTENS)
    assert set(outcomes) <= {"200", *NOBODY_LISTENS}, outcomes
    assert away < outcomes["200"] / 50, outcomes
    pids = {port: worker["pid"] for port, worker in worker_statuses().items()}
    assert pids == {port: worker["pid"] for port, worker in before["workers"].items()}


def test_what_the_site_has_outside_its_home_is_the_same(before, new_debian, files):
    assert "/etc/systemd/system/aroundtheworld@.service" in before["files"]
    assert files() == before["files"]


def test_the_status_says_what_to_do_before_the_old_python_goes(new_debian, ansible_playbook):
    status = ansible_playbook("--tags", "status")
    assert status.returncode != 0
    assert "the workers run on Python 3.11, and this Debian's own is 3.13" in status.output
    assert "before `apt autoremove` takes the old one away" in status.output


def test_a_worker_that_restarts_meanwhile_goes_on(new_debian, host, player):
    host.check_output("systemctl restart aroundtheworld@10001")
    assert host.service("aroundtheworld@10001").is_running
    assert player.play()


def test_the_status_says_what_to_do_without_it(without_old_python, ansible_playbook):
    status = ansible_playbook("--tags", "status")
    assert status.returncode != 0
    assert "no worker can start any more: its packages are for Python 3.11" in status.output
    assert "run `ansible-playbook site.yml`" in status.output


def test_a_rollback_to_a_release_of_the_old_python_is_refused(
    without_old_python, ansible_playbook, worker_statuses
):
    before = worker_statuses()
    back = ansible_playbook("--tags", "rollback")
    assert back.returncode != 0
    assert "its packages are for Python 3.11, which this host lost" in back.output
    assert "Deploy the revision of the app that it was made from" in back.output
    pids = {port: status["pid"] for port, status in worker_statuses().items()}
    assert pids == {port: status["pid"] for port, status in before.items()}


def test_one_run_mends_it_and_no_visitor_notices(mended, ansible_playbook):
    assert set(mended.outcomes) == {"200"}, mended.outcomes
    assert mended.failures == []
    status = ansible_playbook("--tags", "status")
    assert status.returncode == 0, status.output


def test_it_is_the_same_release_on_the_new_python(before, mended, host, worker_statuses, pythons):
    releases = {worker["release"] for worker in worker_statuses().values()}
    assert releases == {worker["release"] for worker in before["workers"].values()}
    assert (before["pythons"], pythons()) == ({"/usr/bin/python3.11"}, {"/usr/bin/python3.13"})
    app = "/var/lib/tornado/aroundtheworld/current/app"
    assert host.run(f"find {app} -name '*.cpython-313.pyc' | grep --quiet .").rc == 0


def test_every_row_is_there_and_the_session_is_still_good(before, new_debian, mended, rows, player):
    assert {before["round"], *new_debian.rounds, *mended.rounds} <= rows()
    assert player.sees(before["round"])


def test_the_next_run_has_nothing_to_do(mended, ansible_playbook):
    run = ansible_playbook()
    assert (run.returncode, run.changed) == (0, 0)


def test_it_comes_back_after_the_reboot(mended, reboot, player, before):
    reboot()
    assert player.sees(before["round"])
