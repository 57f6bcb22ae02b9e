"""What Prometheus reads of a site, from real sockets, with scripts for systemctl."""

import contextlib
import http.server
import json
import os
import socket
import socketserver
import sys
import threading
import time
import urllib.request

import aroundtheworld_exporter
import pytest
from ansible.module_utils.aroundtheworld.data.state import change_drill, change_state
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing, Switch
from aroundtheworld_exporter import parse_https, parse_queues, parse_workers
from prometheus_client.parser import text_string_to_metric_families

from aroundtheworld_metrics import site as site_module
from aroundtheworld_metrics import sources
from aroundtheworld_metrics.certificate import Certificate
from aroundtheworld_metrics.server import Server
from aroundtheworld_metrics.site import Paths, Site
from aroundtheworld_metrics.worker_text import FAMILIES, parse_worker_metrics
from aroundtheworld_runner import worker

WORKER = """\
# HELP aroundtheworld_worker_info What runs.
# TYPE aroundtheworld_worker_info gauge
aroundtheworld_worker_info{release="0123456789ab"} 1
# HELP aroundtheworld_worker_requests_total Whole responses.
# TYPE aroundtheworld_worker_requests_total counter
aroundtheworld_worker_requests_total{code="200"} 41
# HELP aroundtheworld_worker_loop_lag_seconds How late a timer came.
# TYPE aroundtheworld_worker_loop_lag_seconds histogram
aroundtheworld_worker_loop_lag_seconds_bucket{le="0.1"} 3
aroundtheworld_worker_loop_lag_seconds_bucket{le="+Inf"} 4
aroundtheworld_worker_loop_lag_seconds_sum 7.5
aroundtheworld_worker_loop_lag_seconds_count 4
"""
NGINX = """\
Active connections: 3 
server accepts handled requests
 17 16 25 
Reading: 0 Writing: 1 Waiting: 2 
"""  # noqa: W291 - as nginx writes it
SYSTEMD = """\
Id=shop@10001.service
ActiveState=active
NRestarts=2

Id=shop@10004.service
ActiveState=activating
NRestarts=9

Id=shop@10005.service
ActiveState=active
NRestarts=0

Id=shop-public.slice
ActiveState=active
MemoryCurrent=1048576
MemoryMax=infinity
CPUUsageNSec=2500000000
TasksCurrent=5
TasksMax=512

Id=shop-admin.slice
ActiveState=active
MemoryCurrent=[not set]
MemoryMax=2097152
CPUUsageNSec=18446744073709551615
"""

# Shows the properties that are asked for, as systemctl does.
SYSTEMCTL = f"""\
properties=$(echo "${{2#--property=}}" | tr , '|')
grep --extended-regexp "^($properties)=|^$" <<'END'
{SYSTEMD}END
"""


def serve(server):
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def handler(text, status=200, wait=None):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if wait:
                wait.wait(30)
            with contextlib.suppress(BrokenPipeError):  # the client has gone
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    return Handler


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


class Host:
    def __init__(self, directory, monkeypatch):
        self.home, self.run, self.directory = directory / "home", directory / "run", directory
        self.home.mkdir()
        self.servers = []
        self.nginx, self.https = "127.0.0.1:9", None  # nothing listens there
        self.monkeypatch = monkeypatch
        # Long enough for what answers, also on a busy machine.
        monkeypatch.setattr(sources, "TIMEOUT", 10)
        self.systemctl("exit 1")

    def systemctl(self, script):
        path = self.directory / "systemctl"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.monkeypatch.setattr(sources, "SYSTEMCTL", str(path))

    def worker(self, port, text=WORKER, behave=None, **more):
        path = self.run / "shop" / str(port) / "control.sock"
        path.parent.mkdir(parents=True)
        self.servers.append(serve(UnixServer(str(path), behave or handler(text, **more))))

    def start_nginx(self, text=NGINX, behave=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), behave or handler(text))
        self.servers.append(serve(server))
        self.nginx = f"127.0.0.1:{server.server_port}"

    def site(self, workers=None):
        if workers is None:
            workers = [
                *parse_workers("public:10001"),
                *parse_workers("admin:10004:blocking"),
                *parse_workers("flask:10005:command"),
            ]
        return Site("shop", workers, self.nginx, Paths(self.home, self.run), self.https)

    def scrape(self, site=None):
        """Return `name{label="value",…}` without the site to value, as Prometheus reads it."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = "http://{}:{}/metrics".format(*listening.getsockname())
            server = serve(Server(listening, site or self.site()))
            with urllib.request.urlopen(address) as response:
                text = response.read().decode()
            server.shutdown()
        samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                assert sample.labels["site"] == "shop", sample
                labels = sorted(f'{k}="{v}"' for k, v in sample.labels.items() if k != "site")
                name = sample.name.removeprefix("aroundtheworld_")
                key = f"{name}{{{','.join(labels)}}}" if labels else name
                assert key not in samples, f"{key} twice"
                samples[key] = sample.value
        return samples


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path, monkeypatch)
    yield host
    for server in host.servers:
        server.shutdown()
        server.server_close()


def test_metrics_of_a_worker_have_its_pool_and_port(host):
    host.worker(10001)
    host.worker(10004, WORKER.replace("41", "7"))
    samples = host.scrape()
    assert samples['worker_up{pool="public",port="10001"}'] == 1
    assert samples['worker_requests_total{code="200",pool="public",port="10001"}'] == 41
    assert samples['worker_requests_total{code="200",pool="admin",port="10004"}'] == 7
    assert samples['worker_info{pool="public",port="10001",release="0123456789ab"}'] == 1
    assert samples['worker_loop_lag_seconds_bucket{le="0.1",pool="public",port="10001"}'] == 3
    assert samples['worker_loop_lag_seconds_sum{pool="public",port="10001"}'] == 7.5


def test_the_lifetime_of_the_certificate_is_that_of_the_one_which_nginx_shows(host, monkeypatch):
    shown = {"www.example.org": Certificate(("www.example.org",), 1000.0, 2000.0, b"")}
    monkeypatch.setattr(site_module, "served", lambda port, name: {443: shown}[port][name])
    assert "https_up" not in host.scrape()
    host.https = parse_https("443:www.example.org")
    samples = host.scrape()
    assert samples["https_up"] == 1
    assert samples["certificate_begin_timestamp_seconds"] == 1000
    assert samples["certificate_end_timestamp_seconds"] == 2000


def test_a_site_whose_nginx_shows_no_certificate_is_not_up_over_https(host):
    host.https = (9, "")
    samples = host.scrape()
    assert samples["https_up"] == 0
    assert "certificate_end_timestamp_seconds" not in samples


def test_metrics_of_backups_are_what_the_last_one_wrote_down(host):
    assert not [name for name in host.scrape() if "backup" in name]
    state = SiteLayout(host.home, "shop")
    change_state(state, at="03:15", due=5000.0)
    samples = host.scrape()
    assert samples["backup_due_timestamp_seconds"] == 5000
    assert "backup_last_bytes" not in samples
    last = {"time": "1970-01-01T01:00:00+00:00", "seconds": 7.5, "bytes": 9000, "added": 90}
    change_state(state, last=last, failed={"time": "1970-01-01T02:00:00+00:00", "cause": "no"})
    samples = host.scrape()
    assert samples["backup_failed"] == 1
    assert samples["backup_last_timestamp_seconds"] == 3600
    assert samples["backup_last_duration_seconds"] == 7.5
    assert samples["backup_last_bytes"] == 9000
    assert samples["backup_last_added_bytes"] == 90
    assert not [name for name in samples if "drill" in name]
    change_drill(state, due=6000.0, last={**last, "databases": []}, failed={})
    samples = host.scrape()
    assert samples["backup_drill_due_timestamp_seconds"] == 6000
    assert samples["backup_drill_failed"] == 0
    assert samples["backup_drill_last_timestamp_seconds"] == 3600
    assert samples["backup_drill_last_duration_seconds"] == 7.5
    assert samples["backup_failed"] == 1
    (host.home / "backup" / "drill.json").unlink()
    (host.home / "backup" / "state.json").write_text("{")
    assert not [name for name in host.scrape() if "backup" in name]


def test_metrics_of_units_come_from_systemd(host):
    host.systemctl(SYSTEMCTL)
    samples = host.scrape()
    assert samples["systemd_up"] == 1
    assert samples['worker_restarts_total{pool="public",port="10001"}'] == 2
    assert samples['pool_memory_bytes{pool="public"}'] == 1048576
    assert samples['pool_cpu_seconds_total{pool="public"}'] == 2.5
    assert samples['pool_tasks{pool="public"}'] == 5
    assert samples['pool_memory_max_bytes{pool="admin"}'] == 2097152
    for unset in (
        'pool_memory_max_bytes{pool="public"}',
        'pool_memory_bytes{pool="admin"}',
        'pool_cpu_seconds_total{pool="admin"}',
    ):
        assert unset not in samples


def test_systemd_is_asked_for_every_worker_and_pool(host):
    arguments = host.directory / "arguments"
    host.systemctl(f'echo "$@" > {arguments}')
    host.scrape()
    assert arguments.read_text().split()[-6:] == [
        *(f"shop@{port}.service" for port in (10001, 10004, 10005)),
        *(f"shop-{pool}.slice" for pool in ("public", "admin", "flask")),
    ]


def test_a_command_is_up_when_systemd_says_that_it_runs(host):
    host.systemctl(SYSTEMCTL)
    assert host.scrape()['worker_up{pool="flask",port="10005"}'] == 1
    host.systemctl("exit 1")
    assert host.scrape()['worker_up{pool="flask",port="10005"}'] == 0


OF_A_QUEUE = """\
cat <<'END'
Id=shop@mail-1.service
ActiveState=active
NRestarts=4

Id=shop@mail-2.service
ActiveState=inactive

Id=shop-mail.slice
MemoryCurrent=7
END
"""


def test_a_worker_without_a_port_is_up_when_systemd_says_that_it_runs(host):
    host.systemctl(OF_A_QUEUE)
    samples = host.scrape(host.site(parse_queues("mail:2")))
    assert samples['worker_up{pool="mail",port="mail-1"}'] == 1
    assert samples['worker_up{pool="mail",port="mail-2"}'] == 0
    assert samples['worker_restarts_total{pool="mail",port="mail-1"}'] == 4
    assert samples['pool_memory_bytes{pool="mail"}'] == 7


OF_A_JOB = """\
if [ "$1" = list-timers ]; then
    echo '[{"next":2000000000000000,"unit":"shop-job-nightly.timer"},{"next":0,"unit":"x.timer"}]'
    exit
fi
cat <<END
Id=shop-job-nightly.service
ActiveState=STATE
Result=RESULT
ExecMainStartTimestampMonotonic=BEGAN
ExecMainExitTimestampMonotonic=ENDED

Id=shop-job-nightly.timer
ActiveState=active
END
"""


def of_a_job(host, state, result, began, ended):
    """Return the samples about a job that is like this, by the ends of their names."""
    values = {"STATE": state, "RESULT": result, "BEGAN": str(began), "ENDED": str(ended)}
    script = OF_A_JOB
    for word, value in values.items():
        script = script.replace(word, value)
    host.systemctl(script)
    site = Site("shop", [], host.nginx, Paths(host.home, host.run), None, ["nightly"])
    return {
        name.removeprefix("job_").partition("{")[0]: value
        for name, value in host.scrape(site).items()
        if name.startswith("job_")
    }


def test_a_job_shows_how_its_last_run_went_and_when_it_runs_next(host):
    now = time.monotonic()
    began, ended = int((now - 100) * 1e6), int((now - 40) * 1e6)
    samples = of_a_job(host, "inactive", "success", began, ended)
    assert samples.pop("last_start_timestamp_seconds") == pytest.approx(time.time() - 100, abs=5)
    assert samples.pop("last_success_timestamp_seconds") == pytest.approx(time.time() - 40, abs=5)
    assert samples == {
        "running": 0,
        "scheduled": 1,
        "failed": 0,
        "last_duration_seconds": 60,
        "next_timestamp_seconds": 2e9,
    }


@pytest.mark.parametrize(
    ("state", "result", "ended", "expected"),
    [
        ("failed", "exit-code", 2, {"failed": 1, "running": 0, "last_duration_seconds": 1}),
        ("failed", "timeout", 2, {"failed": 1, "running": 0, "last_duration_seconds": 1}),
        # Of a run under way, systemd still knows how the one before ended.
        ("activating", "success", 0, {"failed": 0, "running": 1}),
    ],
)
def test_a_job_that_failed_or_still_runs_is_no_success(host, state, result, ended, expected):
    samples = of_a_job(host, state, result, 1_000_000, ended * 1_000_000)
    assert {key: samples.get(key) for key in expected} == expected
    assert "last_success_timestamp_seconds" not in samples
    assert ("last_duration_seconds" in samples) is bool(ended)


def test_a_job_that_has_not_run_since_the_boot_neither_failed_nor_ended(host):
    samples = of_a_job(host, "inactive", "success", 0, 0)
    assert samples == {
        "running": 0, "scheduled": 1, "failed": 0, "next_timestamp_seconds": 2e9,
    }  # fmt: skip


def test_queues_are_named_by_a_variable_which_older_exporters_do_not_know():
    workers = parse_queues("mail:2,sms:1")
    assert [(each.pool, each.instance) for each in workers] == [
        ("mail", "mail-1"),
        ("mail", "mail-2"),
        ("sms", "sms-1"),
    ]
    assert parse_queues("") == []


def test_a_worker_that_runs_and_does_not_answer_is_down(host):
    host.systemctl(SYSTEMCTL)
    host.worker(10004)
    samples = host.scrape()
    assert samples['worker_up{pool="public",port="10001"}'] == 0
    assert samples['worker_up{pool="admin",port="10004"}'] == 1


def test_many_workers_that_hang_cost_one_time_out(host, monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT", 0.5)
    end = threading.Event()
    ports = range(10001, 10033)
    for port in ports:
        host.worker(port, wait=end)
    host.worker(10034)
    named = ",".join(map(str, [*ports, 10034]))
    began = time.monotonic()
    samples = host.scrape(host.site(parse_workers(f"public:{named}")))
    took = time.monotonic() - began
    end.set()
    assert sum(value for key, value in samples.items() if key.startswith("worker_up")) == 1
    assert samples['worker_up{pool="public",port="10034"}'] == 1
    assert took < 8


def test_a_worker_with_an_older_runner_is_up_and_has_no_other_metrics(host):
    host.worker(10001, "{}", status=404)
    samples = host.scrape()
    assert samples['worker_up{pool="public",port="10001"}'] == 1
    assert not any(key.startswith("worker_info") for key in samples)


def test_a_worker_that_sends_nonsense_is_down_and_the_others_are_not(host):
    host.worker(10001, "what{ever\n")
    host.worker(10004)
    samples = host.scrape()
    assert samples['worker_up{pool="public",port="10001"}'] == 0
    assert samples['worker_up{pool="admin",port="10004"}'] == 1


def lines(*more):
    return "".join(f"aroundtheworld_worker_{line}\n" for line in more)


SPOILING = {
    "a sample twice": lines("ready 1", "ready 1"),
    "a label twice": lines('requests_total{code="200",code="200"} 1'),
    "another label": lines('ready{evil="1"} 1'),
    "a label of ours": lines('ready{port="10004"} 1'),
    "no bound": lines("loop_lag_seconds_bucket 3"),
    "a bound that is none": lines('loop_lag_seconds_bucket{le="x"} 3'),
    "no number": lines("ready 1e5e"),
    "more than a number": lines("ready 1e999"),
    "not a number": lines("ready NaN"),
    "a terminal's orders": lines('requests_total{code="\x1b[2J"} 1'),
    "a line end": lines('requests_total{code="2\\n00"} 1'),
    "a quote left open": lines('requests_total{code="200} 1'),
    "a moment": lines("ready 1 1395066363000"),
    "another language": "\xff\x00",
    "too much": lines("ready 1") + "# x\n" * 20_000,
}


@pytest.mark.parametrize("text", SPOILING.values(), ids=SPOILING)
def test_what_would_spoil_the_response_makes_only_its_worker_down(host, text):
    host.worker(10001, text)
    host.worker(10004)
    samples = host.scrape()
    assert samples['worker_up{pool="public",port="10001"}'] == 0
    assert not any('port="10001"' in key for key in samples if not key.startswith("worker_up"))
    assert samples['worker_requests_total{code="200",pool="admin",port="10004"}'] == 41


def test_families_that_no_worker_has_are_left_out(host):
    own = lines('up{pool="admin",port="10004"} 1', "restarts_total 7", "newer_total 1")
    host.worker(10001, lines("ready 1") + own)
    samples = host.scrape()
    assert samples['worker_up{pool="public",port="10001"}'] == 1
    assert samples['worker_ready{pool="public",port="10001"}'] == 1
    assert samples['worker_up{pool="admin",port="10004"}'] == 0
    assert not any("newer" in key or "restarts" in key for key in samples)


def test_a_worker_cannot_change_the_type_or_help_of_a_family(host):
    host.worker(10001, "# HELP aroundtheworld_worker_ready Ha\n"
                "# TYPE aroundtheworld_worker_ready histogram\n" + lines("ready 1"))  # fmt: skip
    families = {family.name: family for family in host.site().collect()}
    ready = families["aroundtheworld_worker_ready"]
    assert (ready.type, ready.documentation) == ("gauge", "Whether it takes visitors.")


@pytest.mark.parametrize("piece", [b"x", b"# nothing\n" * 5000], ids=["slowly", "without end"])
@pytest.mark.parametrize("source", ["worker", "nginx"])
def test_an_answer_without_end_does_not_delay_the_others(host, source, piece, monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT", 0.5)
    over = threading.Event()

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.end_headers()
                while not over.wait(0.05 if len(piece) == 1 else 0):
                    self.wfile.write(piece)

        def log_message(self, *args):
            pass

    if source == "worker":
        host.worker(10001, behave=Endless)
    else:  # any local user can listen on its port while nginx does not run
        host.start_nginx(behave=Endless)
    host.worker(10004)
    began = time.monotonic()
    end = threading.Timer(10, over.set)  # for a client without a deadline
    end.start()
    samples = host.scrape()
    took = time.monotonic() - began
    end.cancel()
    over.set()
    assert samples['worker_up{pool="public",port="10001"}'] == 0
    assert samples["nginx_up"] == 0
    assert samples['worker_requests_total{code="200",pool="admin",port="10004"}'] == 41
    assert took < 8


def test_a_systemd_that_does_not_answer_does_not_delay_the_others(host, monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT", 0.5)
    host.systemctl("exec sleep 20")
    host.worker(10004)
    began = time.monotonic()
    samples = host.scrape()
    assert samples["systemd_up"] == 0
    assert samples['worker_requests_total{code="200",pool="admin",port="10004"}'] == 41
    assert time.monotonic() - began < 8


def test_the_runner_publishes_the_families_that_are_known():
    settings = worker.Settings(
        module="m", attribute="a", control=None, private_app=None,
        hold=False, drain_timeout=1.0, stream_timeout=1.0, stream=False, linger=1.0, block_warn=1.0,
    )  # fmt: skip
    _, (_, text) = worker.Worker(settings, []).metrics()
    published = {
        family.name.removeprefix("aroundtheworld_worker_"): (family.type, family.documentation)
        for family in text_string_to_metric_families(text)
    }
    assert published == {name: family[:2] for name, family in FAMILIES.items()}
    assert len(parse_worker_metrics(text)) > 8


def test_a_worker_that_crashes_is_shown(host):
    host.systemctl(SYSTEMCTL)
    samples = host.scrape()
    assert samples['worker_crashing{pool="public",port="10001"}'] == 0  # it has run for long since
    assert samples['worker_crashing{pool="admin",port="10004"}'] == 1
    assert samples['worker_crashing{pool="flask",port="10005"}'] == 0


def test_metrics_of_nginx_come_from_its_status_page(host):
    host.start_nginx()
    samples = host.scrape()
    assert samples["nginx_up"] == 1
    assert samples['nginx_connections{state="active"}'] == 3
    assert samples['nginx_connections{state="waiting"}'] == 2
    assert samples["nginx_connections_accepted_total"] == 17
    assert samples["nginx_connections_handled_total"] == 16
    assert samples["nginx_requests_total"] == 25


@pytest.mark.parametrize("text", [None, "<html>not found</html>", NGINX + " " * 70_000])
def test_an_nginx_without_a_status_page_is_down(host, text):
    if text:
        host.start_nginx(text)
    samples = host.scrape()
    assert samples["nginx_up"] == 0
    assert "nginx_requests_total" not in samples


def test_no_source_answers_and_the_rest_is_shown_all_the_same(host):
    samples = host.scrape()
    assert samples["systemd_up"] == 0
    assert samples["maintenance"] == 0
    assert samples['release_info{release=""}'] == 1
    assert samples["exporter_seconds"] < 8
    assert samples['pool_blocking{pool="admin"}'] == 1
    assert samples['pool_blocking{pool="public"}'] == 0


def test_release_and_maintenance_are_shown(host):
    (host.home / "current").symlink_to("releases/abcdefabcdef")
    samples = host.scrape()
    assert samples['release_info{release="abcdefabcdef"}'] == 1
    assert samples["maintenance"] == 0
    assert not [name for name in samples if name.startswith("maintenance_")]
    # By hand.
    page = host.home / "maintenance.html"
    page.touch()
    os.utime(page, (1e9, 1e9))
    samples = host.scrape()
    assert (samples["maintenance"], samples["maintenance_since_timestamp_seconds"]) == (1, 1e9)
    assert "maintenance_until_timestamp_seconds" not in samples
    # By the role.
    end, more = "2026-12-24T17:30:00+00:00", {"retry_after": "", "page": "", "json": ""}
    closing = Closing(scope="all", pools=[], reason="Disks", until=end, who="ada", **more)
    switch = Switch(host.home)
    state = switch.expected_state(closing)
    switch.close(closing)
    switch.note(state)
    samples = host.scrape()
    assert samples["maintenance_since_timestamp_seconds"] == 1e9
    assert samples["maintenance_until_timestamp_seconds"] == 1798133400
    assert samples['maintenance_info{reason="Disks",scope="all"}'] == 1


def entry(**more):
    usual = {"time": "2026-01-02T03:04:05+00:00", "who": "ada", "verb": "deploy", "from": "a"}
    rest = {"to": "b", "outcome": "done", "phases": [{"name": "x", "seconds": 1.5}], "cause": ""}
    return json.dumps(usual | rest | more) + "\n"


def test_the_last_change_is_shown(host):
    log = host.home / "deploys.jsonl"
    log.write_text(entry(to="a") + entry(outcome="reverted"))
    samples = host.scrape()
    assert samples['deploy_last_info{from="a",outcome="reverted",to="b",verb="deploy"}'] == 1
    assert samples["deploy_last_timestamp_seconds"] == 1767323045
    assert samples["deploy_last_duration_seconds"] == 1.5
    assert "ada" not in str(samples)


def test_a_line_that_was_cut_off_is_not_the_last_change(host):
    log = host.home / "deploys.jsonl"
    log.write_text(entry(to="c", cause="x" * 100_000) + entry(to="d") + entry(to="e")[:40])
    key = 'deploy_last_info{from="a",outcome="done",to="d",verb="deploy"}'
    assert host.scrape()[key] == 1


def test_the_command_line_is_understood(host):
    """As systemd starts it: with the listening socket as handle 3."""
    host.worker(10001)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pid = os.fork()
        if not pid:
            os.dup2(listening.fileno(), 3)
            os.set_inheritable(3, True)  # also where it was that already
            program = aroundtheworld_exporter.__file__
            arguments = ["shop", str(host.home), "127.0.0.1:9", "public:10001,10002"]
            python = sys.executable
            os.environ |= {"AROUNDTHEWORLD_QUEUES": "mail:1", "AROUNDTHEWORLD_JOBS": "nightly"}
            os.execv(python, [python, "-I", "-B", program, *arguments, "flask:10005:command"])
        address = "http://{}:{}/metrics".format(*listening.getsockname())
        try:
            with urllib.request.urlopen(address, timeout=20) as response:
                text = response.read().decode()
        finally:
            os.kill(pid, 15)
            os.waitpid(pid, 0)
    for port, pool in ((10001, "public"), (10002, "public"), (10005, "flask"), ("mail-1", "mail")):
        # The workers' sockets are looked for in /run, where none of this site is.
        assert f'aroundtheworld_worker_up{{pool="{pool}",port="{port}",site="shop"}} 0.0' in text
