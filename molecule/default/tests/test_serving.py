"""Who answers what: from requests, and from what nginx, systemd and the workers say of them."""

import json
import statistics
from concurrent.futures import ThreadPoolExecutor

from tests.waiting import until

PUBLIC = {10001, 10002, 10003}
ADMIN = {10004}

# A path as it goes over the wire, who gets it, and what that worker sees.
PATHS = {
    "/": (PUBLIC, "/"),
    "/administrator": (PUBLIC, "/administrator"),
    "/ADMIN": (PUBLIC, "/ADMIN"),
    "/admin;x": (PUBLIC, "/admin;x"),
    "/admin/../": (PUBLIC, "/"),
    "/admin/%2e%2e/": (PUBLIC, "/"),
    "/%2561dmin": (PUBLIC, "/%2561dmin"),
    "/admin%3fx": (PUBLIC, "/admin%3Fx"),
    "/admin%20": (PUBLIC, "/admin%20"),
    "/x?y=/admin": (PUBLIC, "/x?y=/admin"),
    "/admin": (ADMIN, "/admin"),
    "/admin/": (ADMIN, "/admin/"),
    "//admin": (ADMIN, "/admin"),
    "/admin//": (ADMIN, "/admin/"),
    "/./admin": (ADMIN, "/admin"),
    "/%61dmin": (ADMIN, "/admin"),
    "/x/../admin": (ADMIN, "/admin"),
    "/admin%2fx": (ADMIN, "/admin/x"),
    "/admin/%252e%252e/": (ADMIN, "/admin/%252e%252e/"),
    "/admin/..;/": (ADMIN, "/admin/..;/"),
    "/admin?x=/": (ADMIN, "/admin?x=/"),
    "/admin/../admin/x": (ADMIN, "/admin/x"),
    "http://localhost/admin": (ADMIN, "/admin"),
}


def test_nothing_is_left_to_do(ansible_playbook):
    run = ansible_playbook("--check", "--diff")
    assert (run.returncode, run.changed) == (0, 0)
    assert "@@" not in run.output
    assert "--- before" not in run.output


def test_every_public_worker_answers_and_the_admin_worker_never(site):
    assert site.ask("/").status == 200
    assert site.ports("/", requests=60) == PUBLIC


def test_only_the_admin_worker_answers_under_admin(site):
    assert site.ask("/admin").status == 303
    assert site.ports("/admin") == ADMIN
    assert site.ports("/admin/reports/grand-tour") == ADMIN


def test_nginx_and_the_workers_agree_on_every_path(site, host):
    # Tornado refuses this method before it looks at anything else, and writes down what it saw.
    logged = site.logged(PATHS, method="PROBE")
    path_of = {entry.probe: path for path, entry in logged.items()}
    mark = logged["/"].probe.partition("-")[0]

    def journal():
        command = "journalctl --output=json --unit='aroundtheworld@*' --grep=%s"
        return [json.loads(line) for line in host.run(command, mark).stdout.splitlines()]

    found = {}
    for entry in until(journal, lambda entries: len(entries) == len(PATHS)):
        uri = entry["MESSAGE"].partition("405 PROBE ")[2].split()[0]
        seen, _, probe = uri.partition("probe=")
        port = int(entry["_SYSTEMD_UNIT"].partition("@")[2].removesuffix(".service"))
        path = path_of[probe]
        assert port == logged[path].port
        found[path] = (PUBLIC if port in PUBLIC else ADMIN, seen.rstrip("?&"))
    assert found == PATHS


def test_a_blocked_admin_side_delays_nobody(site, administrator):
    """How fast precisely is for the bench to say; here neighbours share the machine."""

    def seconds():
        return [site.ask("/").seconds for _ in range(150)]

    before = seconds()
    with ThreadPoolExecutor() as pool:
        slow = "/admin/reports/grand-tour?starts=25"
        report = pool.submit(administrator.get, slow)
        until(lambda: site.workers()[10004], lambda status: status["busy_seconds"] > 0.5)
        during = seconds()
        status = site.workers()[10004]
        assert status["busy_in"] == "GrandTourHandler.get"
        assert status["busy_seconds"] > sum(during), "it was not blocked all the time"
        assert report.result().status_code == 200
    assert statistics.median(during) <= 2 * statistics.median(before) + 0.005
    assert (
        statistics.quantiles(during, n=10)[-1] <= 2 * statistics.quantiles(before, n=10)[-1] + 0.01
    )
    assert max(during) < 1, "a request waited for the admin worker"


def test_workers_listen_where_they_should_and_little_else_does(site):
    found = site.listeners()
    workers = {(address, port) for address, port, _ in found if port in PUBLIC | ADMIN}
    assert workers == {("127.0.0.1", port) for port in PUBLIC | ADMIN}
    # 9145 changes hands when somebody asks for metrics; test_metrics.py looks at it.
    others = {(port, holder) for _, port, holder in found if port not in PUBLIC | ADMIN | {9145}}
    assert others == {
        (22, "sshd"),
        (80, "nginx"),
        (9146, "nginx"),
    }


def test_every_worker_names_its_pool_and_release(site):
    workers = site.workers()
    assert {port: status["pool"] for port, status in workers.items()} == {
        **dict.fromkeys(PUBLIC, "public"),
        **dict.fromkeys(ADMIN, "admin"),
    }
    assert {status["state"] for status in workers.values()} == {"ready"}
    assert set(site.releases().values()) == {site.release()}


def test_the_same_content_is_the_same_release_on_every_host(site, neighbours):
    assert neighbours
    for neighbour in neighbours:
        releases = neighbour.check_output("ls /var/lib/tornado/aroundtheworld/releases")
        assert site.release() in releases.split()
