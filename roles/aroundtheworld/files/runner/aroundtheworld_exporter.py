"""Tells Prometheus how a site on this host is: its workers, their slices, nginx, and the release.

It runs under the host's own Python with Debian's prometheus_client, as the site's user, on a socket
that systemd holds. Every request asks anew, and all sources at once: a worker that is dead or hangs
shows as `aroundtheworld_worker_up 0` after a second, and holds up nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import wsgiref.simple_server
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Python runs this isolated, and looks for nothing beside it of its own accord.
sys.path.append(str(Path(__file__).resolve().parent))
from aroundtheworld_runner import crashes
from aroundtheworld_runner.bounded_http import request

TIMEOUT = 1.0  # seconds until a source that does not answer is left out
PREFIX = "aroundtheworld_"
OF_POOLS = ("MemoryCurrent", "MemoryMax", "CPUUsageNSec", "TasksCurrent", "TasksMax")
PROPERTIES = ",".join(["Id", *crashes.PROPERTIES, *OF_POOLS])
SYSTEMCTL = "/usr/bin/systemctl"
UNSET = 2**64 - 1  # how systemd writes what has no value, and no limit
FIRST_SOCKET = 3  # sd_listen_fds(3)
LAST_BYTES = 64 * 1024  # of the log of changes: the last one is in there

# What workers tell, as the runner of this release does: the type, the help, and the labels.
FAMILIES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "info": ("gauge", "What runs.", ("release", "config", "python", "tornado")),
    "ready": ("gauge", "Whether it takes visitors.", ()),
    "start_time_seconds": ("gauge", "When it started.", ()),
    "requests": ("counter", "Whole responses, by status.", ("code",)),
    "requests_aborted": ("counter", "Requests without a whole response.", ()),
    "requests_in_flight": ("gauge", "Requests that are being answered.", ()),
    "request_duration_seconds": (
        "histogram",
        "From a request's headers to its whole response.",
        (),
    ),
    "connections": ("gauge", "Open connections.", ()),
    "websockets": ("gauge", "Open WebSockets.", ()),
    "loop_lag_seconds": ("histogram", "How late a timer came, four a second.", ()),
    "loop_busy_seconds": (
        "gauge",
        "For how long the event loop has been blocked, 0 while it turns.",
        (),
    ),
    "loop_blocked_seconds": ("counter", "Seconds in blocks of 20 ms and more.", ("handler",)),
    "cpu_seconds": ("counter", "Processor time.", ()),
    "resident_memory_bytes": ("gauge", "Memory in use.", ()),
}
# The names of samples that are not those of their families.
SAMPLES = {
    f"{name}{suffix}": name
    for name, (kind, _, _) in FAMILIES.items()
    for suffix in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(kind, [])
}
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(
    rf"{PREFIX}worker_(?P<name>[a-z_]+)"
    rf"(?:\{{(?P<labels>{LABEL.pattern}(?:,{LABEL.pattern})*)\}})? (?P<value>[0-9eE.+-]{{1,40}})"
)
LABEL_LENGTH = 300

NGINX_NUMBERS = re.compile(
    r"Active connections: (?P<active>\d+)\s+server accepts handled requests\s+"
    r"(?P<accepted>\d+) (?P<handled>\d+) (?P<requests>\d+)\s+"
    r"Reading: (?P<reading>\d+) Writing: (?P<writing>\d+) Waiting: (?P<waiting>\d+)"
)


class Worker(NamedTuple):
    """A worker that there should be."""

    pool: str
    port: int
    speaks: bool
    """Whether it has a private socket; what a pool's own command starts has none."""
    blocking: bool = False
    """Whether its handlers may block."""


class Paths(NamedTuple):
    """Where everything is."""

    home: Path
    run: Path = Path("/run")


# --- Sources --------------------------------------------------------------------------------------


def ask_worker(control: Path) -> list[Metric]:
    """Return what a worker measures; raises `OSError` when it does not answer.

    One with an older runner answers that there is nothing to tell.
    """
    status, body = request(control, "GET", "/metrics", timeout=TIMEOUT)
    if status != http.client.OK:
        return []
    try:
        return worker_metrics(body.decode())
    except ValueError as error:
        raise OSError(f"what it tells cannot be read: {error}") from error


def worker_metrics(text: str) -> list[Metric]:
    """Return the metrics in a worker's text; raises `ValueError` when one of them has not its form.

    Prometheus takes all or nothing of an answer. So that one worker cannot spoil the others', only
    known families with their own type and labels are taken, each sample once, printable and short.
    """
    families: dict[str, Metric] = {}
    seen = set()
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        if not (sample := SAMPLE.fullmatch(line)):
            raise ValueError("this is no sample")
        name = sample["name"]
        family = name if name in FAMILIES else SAMPLES.get(name, "")
        if not family:  # a newer runner's
            continue
        kind, about, allowed = FAMILIES[family]
        found = LABEL.findall(sample["labels"] or "")
        labels = {label: _label(label, value) for label, value in found}
        bound = {"le"} if name.endswith("_bucket") else set()
        key = (name, *sorted(labels.items()))
        fits = bound <= labels.keys() <= bound | {*allowed} and len(found) == len(labels)
        if not fits or key in seen:
            raise ValueError(f"a sample of {name} has other labels, or is there twice")
        seen.add(key)
        value = float(sample["value"])
        if not math.isfinite(value):
            raise ValueError(f"{name} is no number")
        metric = families.setdefault(family, Metric(f"{PREFIX}worker_{family}", about, kind))
        metric.add_sample(f"{PREFIX}worker_{name}", labels, value)
    return list(families.values())


def _label(name: str, value: str) -> str:
    """Return the value of a label; raises `ValueError` where it cannot be one."""
    text = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)
    if not text.isprintable():
        raise ValueError(f"the label {name} is not printable")
    if name == "le":
        float(text)
    return text[:LABEL_LENGTH]


def ask_systemd(units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return each unit's properties; raises `OSError` when systemd does not answer."""
    try:
        said = subprocess.run(  # noqa: S603 - names from the unit file
            [SYSTEMCTL, "show", f"--property={PROPERTIES}", "--", *units],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=2 * TIMEOUT,
        ).stdout
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    found = {}
    for block in said.strip().split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        found[properties.get("Id", "")] = properties
    return found


def ask_nginx(where: str) -> dict[str, int]:
    """Return nginx's own numbers; raises `OSError` when it does not tell them."""
    body = request(where, "GET", "/nginx", timeout=TIMEOUT).body
    said = NGINX_NUMBERS.search(body.decode(errors="replace"))
    if said is None:
        raise OSError("this is not what nginx tells")
    return {name: int(value) for name, value in said.groupdict().items()}


def last_change(log: Path) -> dict[str, Any]:
    """Return the last whole line of the site's log of changes, or nothing."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - LAST_BYTES))
            lines = handle.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            entry: dict[str, Any] = json.loads(line)
            return entry
    return {}


# --- Metrics --------------------------------------------------------------------------------------


class Families:
    """Metric families, each with the samples of every worker: a name must come up only once."""

    def __init__(self, site: str) -> None:
        """Begin without any; every sample gets the label `site`."""
        self.site = site
        self.all: dict[str, Metric] = {}

    def gauge(self, name: str, about: str, value: float, **labels: str) -> None:
        """Add a sample of something that goes up and down."""
        self._add(GaugeMetricFamily, name, about, value, labels)

    def counter(self, name: str, about: str, value: float, **labels: str) -> None:
        """Add a sample of something that only goes up."""
        self._add(CounterMetricFamily, name, about, value, labels)

    def _add(
        self,
        kind: Callable[..., Any],
        name: str,
        about: str,
        value: float,
        labels: Mapping[str, str],
    ) -> None:
        labels = {"site": self.site, **labels}
        made = kind(PREFIX + name, about, labels=list(labels))
        made.add_metric(list(labels.values()), value)
        self.take([made], {})

    def take(self, metrics: Iterable[Metric], labels: Mapping[str, str]) -> None:
        """Add the samples of metrics, each with more labels."""
        for metric in metrics:
            family = self.all.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            family.samples += [
                sample._replace(labels={**sample.labels, **labels}) for sample in metric.samples
            ]


def number(properties: Mapping[str, str], name: str) -> int | None:
    """Return one of systemd's numbers, or `None` when it has none."""
    text = properties.get(name, "")
    return int(text) if text.isdigit() and int(text) != UNSET else None


class Site(Collector):
    """Everything about one site, asked anew each time."""

    def __init__(self, name: str, workers: Sequence[Worker], nginx: str, paths: Paths) -> None:
        """Keep what there should be.

        Args:
            name: Of the site.
            workers: All of them.
            nginx: Where nginx tells its own numbers, as ``address:port``.
            paths: Where everything is.
        """
        self.name, self.workers, self.nginx, self.paths = name, workers, nginx, paths
        self._one_at_a_time = threading.Lock()
        self._threads = ThreadPoolExecutor(min(len(workers) + 2, 64))

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families; what a source does not tell is left out."""
        with self._one_at_a_time:
            begun = time.monotonic()
            families = Families(self.name)
            pools = list(dict.fromkeys(worker.pool for worker in self.workers))
            slices = {f"{self.name}-{pool}.slice": pool for pool in pools}
            services = {f"{self.name}@{worker.port}.service": worker for worker in self.workers}
            nginx = self._threads.submit(ask_nginx, self.nginx)
            systemd = self._threads.submit(ask_systemd, [*services, *slices])
            asked = {
                worker: self._threads.submit(ask_worker, self._control(worker))
                for worker in self.workers
                if worker.speaks
            }
            units = self._try(families, "systemd", systemd.result) or {}
            for name, worker in services.items():
                answer = asked[worker].result if worker in asked else None
                self._tell_worker(families, worker, units.get(name, {}), answer)
            for pool in pools:
                may = any(worker.pool == pool and worker.blocking for worker in self.workers)
                families.gauge(
                    "pool_blocking", "Whether the pool's handlers may block.", may, pool=pool
                )
            for name, pool in slices.items():
                self._tell_slice(families, pool, units.get(name, {}))
            self._tell_nginx(families, self._try(families, "nginx", nginx.result) or {})
            self._tell_release(families)
            families.gauge(
                "exporter_seconds",
                "How long it took to ask everybody.",
                round(time.monotonic() - begun, 6),
            )
        yield from families.all.values()

    def describe(self) -> list[Metric]:
        """Return nothing: what there is depends on who answers."""
        return []

    def _control(self, worker: Worker) -> Path:
        return self.paths.run / self.name / str(worker.port) / "control.sock"

    @staticmethod
    def _try(families: Families, source: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        try:
            said = ask()
        except OSError:
            said = None
        families.gauge(f"{source}_up", f"Whether {source} answers.", said is not None)
        return said

    def _tell_worker(
        self,
        families: Families,
        worker: Worker,
        unit: Mapping[str, str],
        answer: Callable[[], list[Metric]] | None,
    ) -> None:
        labels = {"pool": worker.pool, "port": str(worker.port)}
        up = unit.get("ActiveState") == "active"
        if answer is not None:
            try:
                families.take(answer(), {"site": self.name, **labels})
                up = True
            except OSError:
                up = False
        families.gauge(
            "worker_up",
            "Whether the worker answers on its private socket; without one, whether it runs.",
            up,
            **labels,
        )
        if unit:
            families.gauge(
                "worker_crashing",
                "Whether it ended by itself, and has not run for a minute since.",
                crashes.crashing(unit) is not None,
                **labels,
            )
        if (restarts := number(unit, "NRestarts")) is not None:
            families.counter(
                "worker_restarts", "Restarts by systemd, after it was told to run.", restarts,
                **labels,
            )  # fmt: skip

    @staticmethod
    def _tell_slice(families: Families, pool: str, unit: Mapping[str, str]) -> None:
        for key, name, about in (
            ("MemoryCurrent", "pool_memory_bytes", "Memory of all the pool's workers together."),
            ("MemoryMax", "pool_memory_max_bytes", "How much memory they may have, if limited."),
            ("TasksCurrent", "pool_tasks", "Processes and threads of the pool's workers."),
            ("TasksMax", "pool_tasks_max", "How many of them there may be."),
        ):
            if (value := number(unit, key)) is not None:
                families.gauge(name, about, value, pool=pool)
        if (nanoseconds := number(unit, "CPUUsageNSec")) is not None:
            families.counter(
                "pool_cpu_seconds", "Processor time of the pool's workers.", nanoseconds / 1e9,
                pool=pool,
            )  # fmt: skip

    @staticmethod
    def _tell_nginx(families: Families, numbers: Mapping[str, int]) -> None:
        for state in ("active", "reading", "writing", "waiting"):
            if state in numbers:
                families.gauge(
                    "nginx_connections", "Clients' connections, of all sites of the host.",
                    numbers[state], state=state,
                )  # fmt: skip
        for name, about in (
            ("accepted", "Connections that nginx accepted."),
            ("handled", "Connections that it handled; fewer when it had no more room."),
            ("requests", "Requests that it got."),
        ):
            if name in numbers:
                infix = "" if name == "requests" else "connections_"
                families.counter(f"nginx_{infix}{name}", about, numbers[name])

    def _tell_release(self, families: Families) -> None:
        current = self.paths.home / "current"
        release = current.readlink().name if current.is_symlink() else ""
        families.gauge("release_info", "The current release.", 1, release=release)
        closed = (self.paths.home / "maintenance.html").exists()
        families.gauge("maintenance", "Whether the site is closed for maintenance.", closed)
        if not (entry := last_change(self.paths.home / "deploys.jsonl")):
            return
        families.gauge(
            "deploy_last_info",
            "The last change of the site: done, reverted or failed.",
            1,
            **{key: str(entry.get(key, "")) for key in ("verb", "from", "to", "outcome")},
        )
        with contextlib.suppress(KeyError, ValueError):
            begun = datetime.fromisoformat(entry["time"]).timestamp()
            families.gauge("deploy_last_timestamp_seconds", "When it began, Unix time.", begun)
        seconds = sum(phase["seconds"] for phase in entry.get("phases", []))
        families.gauge("deploy_last_duration_seconds", "How long it took.", seconds)


# --- Serving --------------------------------------------------------------------------------------


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """Answers on a socket that is there already."""

    daemon_threads = True  # a client that says nothing does not hold up the end

    def __init__(self, listening: socket.socket, collector: Collector) -> None:
        """Take over the listening socket."""
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = "metrics", 0
        self.setup_environ()
        registry = CollectorRegistry()
        registry.register(collector)
        self.set_app(make_wsgi_app(registry))


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    """Answers one request."""

    timeout = 10  # seconds of silence until the connection is closed

    def log_message(self, *args: object) -> None:
        """Say nothing: who may ask asks often."""


def workers_of(text: str) -> list[Worker]:
    """Return the workers that an argument names.

    It is like `public:10001,10002`; with `:blocking` and `:command` behind it where the pool is.
    """
    pool, ports, *kinds = text.split(":")
    speaks, blocking = "command" not in kinds, "blocking" in kinds
    return [Worker(pool, int(port), speaks, blocking) for port in ports.split(",")]


def main() -> None:
    """Carry out the command line, until SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", help="its name")
    parser.add_argument("home", type=Path, help="its directory")
    parser.add_argument("nginx", help="where nginx tells its numbers, as address:port")
    parser.add_argument("pools", nargs="+", help="workers, as public:10001,10002")
    given = parser.parse_args()
    workers = [worker for pool in given.pools for worker in workers_of(pool)]
    site = Site(given.site, workers, given.nginx, Paths(given.home))
    with Server(socket.socket(fileno=FIRST_SOCKET), site) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
