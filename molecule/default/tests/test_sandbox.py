"""What a worker may do, and who may read its secrets."""

import re
import shlex

import pytest

HOME = "/var/lib/tornado/aroundtheworld"
SECRET = "/etc/aroundtheworld/secrets/cookie_secret"
SHOWN = "echo shown >/dev/tty; "  # which only a process with a terminal of its own can open
PORTS = (10001, 10002, 10003, 10004)


def test_systemd_finds_little_exposure(host):
    workers = " ".join(f"aroundtheworld@{port}.service" for port in PORTS)
    output = host.check_output(f"systemd-analyze security --no-pager {workers}")
    exposures = re.findall(r"Overall exposure level for .*@(\d+)\.service: ([\d.]+)", output)
    assert [int(port) for port, _ in exposures] == list(PORTS)
    assert max(float(exposure) for _, exposure in exposures) <= 1.5


def test_systemd_finds_no_mistake_in_a_unit(host):
    workers = [f"aroundtheworld@{port}.{kind}" for port in PORTS for kind in ("service", "socket")]
    others = ["aroundtheworld-prepare.service", "aroundtheworld-public.slice"]
    verified = host.run("systemd-analyze verify " + " ".join([*workers, *others]))
    assert (verified.rc, verified.stdout, verified.stderr) == (0, "", "")


def test_no_unit_has_failed(host):
    assert host.check_output("systemctl --failed --no-legend") == ""


@pytest.fixture
def as_worker(host, site):
    """Return a function that runs a command where worker 10001 runs: in what it sees of files."""
    pid = site.pids()[10001]
    user = "setpriv --reuid=tornado --regid=tornado --clear-groups"

    def run(command, as_root=False):
        return host.run(f"nsenter --target={pid} --mount {'' if as_root else user} {command}")

    return run


def test_a_worker_cannot_write_what_it_runs(as_worker):
    for path in (f"{HOME}/current/app", f"{HOME}/current/venv", HOME, "/etc"):
        written = as_worker(f"touch {path}/written", as_root=True)
        assert (written.rc, "Read-only file system" in written.stderr) == (1, True), path


def test_a_worker_writes_its_shared_directory_alone(as_worker, host):
    assert as_worker(f"touch {HOME}/shared/written").rc == 0
    assert host.file(f"{HOME}/shared/written").user == "tornado"
    assert host.run(f"rm {HOME}/shared/written").rc == 0
    assert as_worker("touch /tmp/written").rc == 0
    assert not host.file("/tmp/written").exists


def test_a_release_belongs_to_root(host):
    trees = f"{HOME}/releases {HOME}/environments"
    assert host.check_output(f"find {trees} -not -user root -o -not -type l -perm /022") == ""


def test_a_worker_has_no_privileges(host, site):
    for pid in site.pids().values():
        status = dict(
            line.split(":\t", 1)
            for line in host.file(f"/proc/{pid}/status").content_string.splitlines()
        )
        assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Uid"].split()[0] == str(host.user("tornado").uid)


def test_an_operators_command_has_the_terminal_and_the_workers_sandbox(host, site):
    """Each line of the process's status that tells what it may do is as a worker's."""
    status = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp.*):' /proc/{}/status"
    command = f"aroundtheworld-run sh -c {shlex.quote(SHOWN + status.format('self'))}"
    output = host.check_output("script -qec %s /dev/null </dev/null", command)
    terminal, *found = output.splitlines()
    assert terminal.endswith("shown")
    assert found == host.check_output(status.format(site.pids()[10001])).splitlines()


def test_secrets_and_environment_are_for_root_alone(host):
    assert host.check_output("stat --format=%a:%U /etc/aroundtheworld/secrets") == "700:root"
    for path in (SECRET, "/etc/aroundtheworld/environment"):
        assert host.check_output(f"stat --format=%a:%U {path}") == "600:root"
        for user in ("tornado", "nobody", "www-data"):
            assert host.run(f"setpriv --reuid={user} --clear-groups cat {path}").rc == 1


def test_a_credential_is_for_its_worker_alone(host):
    credential = "/run/credentials/aroundtheworld@10001.service/cookie_secret"
    read = "setpriv --reuid={} --clear-groups cat " + credential
    assert host.run(read.format("tornado")).stdout == host.file(SECRET).content_string
    assert host.run(read.format("www-data")).rc == 1


def test_a_secret_appears_nowhere(host, site):
    secret = host.file(SECRET).content_string
    assert len(secret) >= 32
    places = {
        "units": "systemctl show 'aroundtheworld*'; systemctl cat 'aroundtheworld*'",
        "journal": "journalctl --no-pager",
        "nginx": "cat /var/log/nginx/*.log /var/log/nginx/*/*; nginx -T",
        "processes": f"cat {' '.join(f'/proc/{pid}/environ' for pid in site.pids().values())}",
        "command lines": "cat /proc/*/cmdline",
    }
    for place, command in places.items():
        output = host.run(command).stdout
        assert output, place
        assert secret not in output, place
