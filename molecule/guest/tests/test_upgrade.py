"""A host that an earlier role deployed meets this role, and loses nothing.

The earlier role knows neither the neighbour's socket nor nginx.org's layout, so the site is on a
port of its own, on the host with Debian's layout.
"""

import subprocess
import sys

import pytest

from tests.former import OPERATORS, write_former

HOSTS = ("debian12",)
REMOVE = ("--tags", "remove", "-earoundtheworld_remove_data=true")
EARLIER = "9b2a007"
PORT = "-earoundtheworld_http_port=8080"
HOME = "/var/lib/tornado/aroundtheworld"
UNITS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def earlier(checkout, tmp_path_factory):
    """The project as it was then; its own role, playbook and configuration."""
    directory = tmp_path_factory.mktemp("earlier")
    write_former(EARLIER, directory, [*OPERATORS[:-1], "molecule/rollout"], checkout)
    return directory


@pytest.fixture(scope="module")
def deploy_earlier(earlier, name, inventory_path):
    """Deploy with the earlier role."""

    def deploy(*arguments):
        app = f"-earoundtheworld_app_dir={earlier}/molecule/rollout/app"
        command = ["ansible-playbook", "site.yml", PORT, app]
        command += ["-i", str(inventory_path), "--limit", name]
        done = subprocess.run(
            [*command, *arguments], cwd=earlier, capture_output=True, text=True, check=False
        )
        print(done.stdout, done.stderr, file=sys.stderr)
        assert done.returncode == 0

    return deploy


@pytest.fixture(scope="module")
def kept(host):
    """What a host must not lose: data, secrets, releases and the log of changes."""

    def kept():
        return {
            "data": host.check_output(f"cat {HOME}/shared/diary"),
            "secret": host.check_output("sha256sum /etc/aroundtheworld/secrets/cookie_secret"),
            "releases": set(host.check_output(f"ls {HOME}/releases").split()),
            "log": host.check_output(f"head --lines=2 {HOME}/deploys.jsonl"),
            "user": host.check_output("getent passwd tornado; getent group tornado"),
        }

    return kept


@pytest.fixture(scope="module")
def upgrade(
    host, deploy_earlier, kept, ansible_playbook, published, visited, earlier, note_restarts
):
    """Return a function that deploys two releases with the earlier role, a third with this role.

    It returns what was there before, and the outcomes of visits meanwhile.
    """
    app = earlier / "molecule/rollout/app/atlas.py"
    first = app.read_text()

    def upgrade():
        # The earlier role took an operator's slices for its own.
        host.check_output(f"cp -a {UNITS} /run/units")
        app.write_text(first)
        deploy_earlier()
        app.write_text(first.replace('"first"', '"second"'))
        deploy_earlier()
        host.check_output(f"cp -a --no-clobber /run/units/. {UNITS}/ && rm -r /run/units")
        host.check_output(
            "systemctl daemon-reload"
            " && systemctl start aroundtheworld-batch.slice aroundtheworld-backup.service"
        )
        note_restarts()
        host.check_output(f"echo years of work >{HOME}/shared/diary")
        before = kept()
        with visited(published(8080), "/", headers={"Host": "site.example.org"}) as outcomes:
            run = ansible_playbook(PORT)
        assert run.returncode == 0
        return before, outcomes

    return upgrade


@pytest.fixture(scope="module")
def remove(ansible_playbook):
    """Return a function that removes the site with all its data."""

    def remove():
        assert ansible_playbook(PORT, *REMOVE).returncode == 0

    return remove


@pytest.fixture(scope="module")
def made(removed, remove):
    """What `upgraded` has made on the host and a test has not removed yet."""
    made = []
    yield made
    if made:
        remove()


@pytest.fixture
def upgraded(made, upgrade):
    """Have an upgraded site on the host, by a new upgrade where a test has removed it."""
    if not made:
        made.append(upgrade())
    return made[0]


def test_no_visitor_notices(upgraded):
    _, outcomes = upgraded
    assert outcomes.keys() == {"200"}


def test_nothing_is_lost(upgraded, kept, ask):
    before, _ = upgraded
    after = kept()
    assert after["releases"] >= before["releases"]
    assert {**after, "releases": None} == {**before, "releases": None}
    assert ask("/", port=8080).text == "edition first\n"


def test_the_next_run_has_nothing_to_do(upgraded, ansible_playbook):
    run = ansible_playbook(PORT)
    assert (run.returncode, run.changed) == (0, 0)


def test_the_way_back_to_its_releases_is_open(upgraded, ansible_playbook, ask):
    assert ansible_playbook(PORT, "--tags", "rollback").returncode == 0
    assert ask("/", port=8080).text == "edition second\n"
    assert ansible_playbook(PORT).returncode == 0
    assert ask("/", port=8080).text == "edition first\n"


def test_an_operators_units_are_still_theirs(upgraded, host):
    for name in ("aroundtheworld-batch.slice", "aroundtheworld-backup.service", "system-own.slice"):
        assert host.file(f"{UNITS}/{name}").exists
        assert host.service(name).is_running
    override = "aroundtheworld-admin.slice.d/override.conf"
    assert host.file(f"{UNITS}/{override}").exists


def test_all_of_it_goes_again(upgraded, made, remove, before, look, difference):
    remove()
    made.clear()
    now = look()
    assert difference(now) == {}
    assert now["accounts"] == before["accounts"]
