"""What Prometheus hears of a host, and whether the dashboard has something to show for it."""

import json
import re
import time
import urllib.parse
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import until

ENDPOINT, NGINX, PROMETHEUS = "127.0.0.1:9145", "127.0.0.1:9146", "127.0.0.1:9147"
PORTS = {10001: "public", 10002: "public", 10003: "public", 10004: "admin"}
FETCH = (
    "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())' %s"
)
UNPACKED = "/var/tmp/prometheus"
MONITORING = Path(__file__).resolve().parents[3] / "monitoring"


@pytest.fixture
def metrics(host):
    """Return a function that returns name and labels, but for the site, to value."""

    def read():
        values = {}
        text = host.check_output(FETCH, f"http://{ENDPOINT}/metrics")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if key != "site"}
                name = sample.name.removeprefix("aroundtheworld_")
                values[name, *sorted(labels.values())] = sample.value
        return values

    return read


def test_every_worker_is_there_with_pool_port_and_release(metrics, site):
    values = metrics()
    for port, pool in PORTS.items():
        assert values["worker_up", str(port), pool] == 1
        assert values["worker_restarts_total", str(port), pool] >= 0
        (about,) = [key for key in values if key[0] == "worker_info" and str(port) in key]
        assert site.release() in about
    for pool in PORTS.values():
        assert values["pool_memory_bytes", pool] > 10_000_000
        assert (
            values.get(("pool_cpu_seconds_total", pool), 1) > 0
        )  # not on every version of cgroups
    assert values["nginx_up",] == 1
    assert values["nginx_requests_total",] > 0
    assert values["release_info", site.release()] == 1


def test_metrics_are_for_the_host_alone(site):
    found = {(address, port): holder for address, port, holder in site.listeners()}
    assert found["127.0.0.1", 9145] in ("systemd", "python3")
    assert found["127.0.0.1", 9146] == "nginx"
    assert {address for address, port in found if port in (9145, 9146)} == {"127.0.0.1"}


def test_the_exporter_has_no_secrets_and_no_privileges(host, metrics):
    metrics()  # so that it runs
    unit = "aroundtheworld-metrics.service"
    output = host.check_output(f"systemd-analyze security --no-pager {unit}")
    assert float(re.search(r"Overall exposure level for .*: ([\d.]+)", output)[1]) <= 1.5
    verified = host.run(f"systemd-analyze verify {unit} aroundtheworld-metrics.socket")
    assert (verified.rc, verified.stdout, verified.stderr) == (0, "", "")
    pid = host.check_output(f"systemctl show -P MainPID {unit}")
    status = host.file(f"/proc/{pid}/status").content_string
    assert re.search(r"^Uid:\t(\d+)", status, re.M)[1] == str(host.user("tornado").uid)
    assert re.search(r"^CapEff:\t(\S+)", status, re.M)[1] == "0" * 16
    assert "DATABASE_URL" not in host.file(f"/proc/{pid}/environ").content_string
    assert not host.file(f"/run/credentials/{unit}").exists


def test_a_worker_that_hangs_is_down_and_holds_nothing_up(host, metrics):
    host.check_output("systemctl kill --signal=STOP aroundtheworld@10002")
    try:
        begun = time.monotonic()
        values = metrics()
        took = time.monotonic() - begun
    finally:
        host.check_output("systemctl kill --signal=CONT aroundtheworld@10002")
    up = {port: values["worker_up", str(port), pool] for port, pool in PORTS.items()}
    assert up == {10001: 1, 10002: 0, 10003: 1, 10004: 1}
    assert took < 3


def test_a_restart_by_systemd_is_counted(host, metrics, site):
    before = metrics()["worker_restarts_total", "10003", "public"]
    pid = site.pids()[10003]
    host.check_output("systemctl kill --signal=KILL aroundtheworld@10003")
    until(site.pids, lambda pids: pids[10003] not in (0, pid))
    after = until(metrics, lambda values: values["worker_up", "10003", "public"] == 1)
    assert after["worker_restarts_total", "10003", "public"] == before + 1


def test_maintenance_is_a_metric(ansible_playbook, metrics):
    assert metrics()["maintenance",] == 0
    try:
        assert ansible_playbook("--tags", "maintenance_on").returncode == 0
        closed = metrics()["maintenance",]
    finally:
        assert ansible_playbook("--tags", "maintenance_off").returncode == 0
    assert (closed, metrics()["maintenance",]) == (1, 0)


@pytest.fixture(scope="module")
def prometheus(host):
    """Run a Prometheus on the host that scrapes every second; return a function that queries it.

    Debian's package is only unpacked, so that nothing of it stays. On Debian 13 promtool is a
    package of its own; Prometheus refuses a bad file itself, and unit tests have judged the rules.
    """
    host.check_output(
        f"mkdir -p {UNPACKED} && cd {UNPACKED} && apt-get download -qq prometheus"
        " && dpkg-deb --extract prometheus_*.deb ."
    )
    alerts = (MONITORING / "alerts.yml").read_text()
    host.check_output("printf %%s %s > %s", alerts, f"{UNPACKED}/alerts.yml")
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": "aroundtheworld", "static_configs": [{"targets": [ENDPOINT]}]}
        ],
    }
    path = f"{UNPACKED}/prometheus.yml"
    host.check_output("printf %%s %s > %s", json.dumps(settings), path)
    host.check_output(
        f"systemd-run --quiet --collect --unit=prometheus-here {UNPACKED}/usr/bin/prometheus"
        f" --config.file={path} --storage.tsdb.path={UNPACKED}/data"
        f" --web.listen-address={PROMETHEUS}"
    )

    def ask(url):
        response = host.run(FETCH, f"http://{PROMETHEUS}/api/v1/{url}")
        return json.loads(response.stdout)["data"] if response.rc == 0 else None

    yield ask
    host.check_output(f"systemctl stop prometheus-here && rm -r {UNPACKED}")


def test_no_panel_is_without_data_and_no_alert_without_reason(
    host, prometheus, site, administrator
):
    def known():
        return prometheus(f"query?query={urllib.parse.quote('count_over_time(up[1m])')}")

    until(known, bool, 30)
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    expressions = {
        (panel["title"], target["expr"]): re.sub(
            r"\$\w+", lambda found: {"$__rate_interval": "10s"}.get(found[0], ".+"), target["expr"]
        )
        for panel in panels
        for target in panel.get("targets", [])
        # This site is served over HTTP, and the scenario data backs one up.
        if not re.search("certificate_end|backup_(drill_)?last", target["expr"])
    }
    assert len(expressions) > 20

    def empty():
        for path in ("/", "/api/ping", "/nothing"):
            site.ask(path)
        # A report that honestly blocks, so that there is a handler to name.
        administrator.get("/admin/reports/grand-tour?starts=2")
        return {
            key
            for key, expression in expressions.items()
            if not (prometheus(f"query?query={urllib.parse.quote(expression)}") or {}).get("result")
        }

    assert until(empty, lambda found: not found, 40) == set()
    *_, last = host.check_output("cat /var/lib/tornado/aroundtheworld/deploys.jsonl").splitlines()
    # Another test may have had a release that failed.
    reasons = [] if json.loads(last)["outcome"] == "done" else ["AroundTheWorldDeployFailed"]
    alerts = [alert for alert in prometheus("alerts")["alerts"] if alert["state"] == "firing"]
    assert [alert["labels"]["alertname"] for alert in alerts] == reasons
    rules = prometheus("rules")["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} == {"ok"}
