"""Whatever fails, what is on disk is what runs: nginx and systemd start with it again."""

import contextlib
import shutil

import pytest

HOME = "/var/lib/tornado/aroundtheworld"
UNITS = "/etc/systemd/system"
PORTS = (10004, 10001, 10002)  # in the order of their replacement
STAND_INS = "systemctl list-units --plain --no-legend 'aroundtheworld-handover@*'"
TAKES_A_PORT = "python3 -m http.server --bind 127.0.0.1 8099"


@contextlib.contextmanager
def another_configuration(host, text):
    """A neighbour's file that nginx has not read yet."""
    path = "/etc/nginx/conf.d/careless.conf"
    host.check_output("printf %%s %s >%s", text, path)
    try:
        yield
    finally:
        host.check_output("rm %s", path)


@contextlib.contextmanager
def small_disk(host, directory, spare):
    """A file system over a directory, with so many kibibytes to spare."""
    host.check_output(
        f"mkdir /run/copy && cp -a {directory}/. /run/copy && mount -t tmpfs tmpfs {directory}"
        f" && cp -a /run/copy/. {directory} && used=$(df --output=used {directory} | tail -1)"
        f" && mount -o remount,size=$((used + {spare}))k {directory}"
    )
    try:
        yield
    finally:
        host.check_output(f"umount {directory} && rm -r /run/copy && systemctl daemon-reload")


@pytest.fixture
def site_file(host):
    return lambda: host.check_output("nginx -T 2>&1 | grep -A200 'nginx/.*/aroundtheworld.conf:'")


def test_a_neighbours_mistake_is_reported_and_the_site_stays(
    host, ansible_playbook, ask, site_file, restart_nginx, neighbours_are_well
):
    before = site_file()
    with another_configuration(host, "server { listen 8098; no_such_directive; }"):
        run = ansible_playbook("-earoundtheworld_max_body_size=17m")
    assert run.returncode == 2
    assert "no_such_directive" in run.output
    assert (ask("/").status, site_file()) == (200, before)
    restart_nginx()
    neighbours_are_well()


def test_a_reload_that_fails_puts_the_former_file_back(
    host, ansible_playbook, ask, site_file, restart_nginx, neighbours_are_well
):
    # nginx -t passes, because syntax does not include the sockets of others.
    before = site_file()
    host.check_output(f"systemd-run --quiet --unit=takes-a-port {TAKES_A_PORT}")
    try:
        host.check_output("until ss --no-header -ltn | grep -q :8099; do sleep 0.1; done")
        with another_configuration(host, "server { listen 8099; }"):
            run = ansible_playbook("-earoundtheworld_max_body_size=18m")
    finally:
        host.check_output("systemctl stop takes-a-port")
    assert run.returncode == 2
    assert "8099" in run.output
    assert (ask("/").status, site_file()) == (200, before)
    restart_nginx()
    neighbours_are_well()


@pytest.fixture
def first_edition_afterwards(ansible_playbook):
    """Have the host back at the release that the inventory says, whatever the test deploys."""
    yield
    assert ansible_playbook().returncode == 0


@pytest.mark.usefixtures("first_edition_afterwards")
def test_a_full_disk_below_the_units_reverts_the_rollout(
    host, ansible_playbook, ask, restart_nginx, tmp_path, checkout, neighbours_are_well
):
    units = f"cd {UNITS} && grep -r . . | sort | sha256sum"
    before = host.check_output(units)
    # A page for each file that names the release, and for the drop-in of each stand-in, but not for
    # the last file: that is the drop-in of the last worker, when all others are replaced.
    release = f"releases/$(basename $(readlink {HOME}/current))"
    files = int(host.check_output(f"grep -r --files-with-matches {release} {UNITS} | wc -l"))
    app = shutil.copytree(checkout / "molecule/rollout/app", tmp_path / "app")
    (app / "atlas.py").write_text((app / "atlas.py").read_text().replace('"first"', '"second"'))
    with small_disk(host, UNITS, spare=4 * (files + len(PORTS) - 1)):
        run = ansible_playbook(f"-earoundtheworld_app_dir={app}")
        assert run.returncode == 2
        drop_in = f"{UNITS}/aroundtheworld@{PORTS[-1]}.service.d/pool.conf"
        assert f"{drop_in} cannot be written: No space left on device" in run.output
        assert "Every worker that was touched is back on release" in run.output
        # What is on this disk, and not on the disk below it.
        assert host.check_output(units) == before
        assert {ask("/").text for _ in range(12)} == {"edition first\n"}
        assert ask("/admin").text == "administration of edition first\n"
        assert host.check_output(STAND_INS) == ""
    restart_nginx()
    # With room again, the same release goes out.
    assert ansible_playbook(f"-earoundtheworld_app_dir={app}").returncode == 0
    assert {ask("/").text for _ in range(12)} == {"edition second\n"}
    neighbours_are_well()
