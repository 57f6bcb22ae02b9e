"""What a worker answers on its control socket: its status, its metrics, and its routes.

All of it is called from the control socket's thread, also while the event loop is blocked.
"""

import os
import platform
import resource
import time
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import tornado

from aroundtheworld_runner import descriptors
from aroundtheworld_runner.control import Response
from aroundtheworld_runner.heartbeat import Heartbeat
from aroundtheworld_runner.metrics import CONTENT_TYPE, Metrics
from aroundtheworld_runner.routes import BLOCK, Routes
from aroundtheworld_runner.server import WorkerServer
from aroundtheworld_runner.statistics import ResponseStatistics

State = Literal["starting", "held", "ready", "draining"]


class Reports:
    """Describes a worker; the time counts from when this was made."""

    def __init__(self, heartbeat: Heartbeat, routes: Routes) -> None:
        """Take what measures the worker from the start; its server comes later."""
        self._heartbeat = heartbeat
        self._routes = routes
        self._started = time.monotonic()
        self._started_at = time.time()

    def health(self, state: State, server: WorkerServer | None) -> Response:
        """Describe the worker: 200 when it takes visitors, otherwise 503."""
        statistics = server.statistics if server else ResponseStatistics()
        port = os.environ.get("AROUNDTHEWORLD_PORT", "")
        busy_seconds, busy_in = self._heartbeat.busy()
        status = HTTPStatus.OK if state == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
        return status, {
            "state": state,
            "pid": os.getpid(),
            "pool": os.environ.get("AROUNDTHEWORLD_POOL"),
            "port": int(port) if port.isdecimal() else None,
            "release": os.environ.get("AROUNDTHEWORLD_RELEASE"),
            "config": os.environ.get("AROUNDTHEWORLD_CONFIG"),
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "connections": server.connections if server else 0,
            "requests_in_flight": len(server.requests_in_flight) if server else 0,
            "requests_total": server.requests_total if server else 0,
            "responses": statistics.responses(),
            "latency_seconds": statistics.duration.describe(),
            "loop_lag_seconds": self._heartbeat.lag(),
            "busy_seconds": busy_seconds,
            "busy_in": busy_in,
        }

    def routes(self) -> Response:
        """Report for how long each route has held the loop."""
        return HTTPStatus.OK, self._routes.to_json()

    def metrics(self, state: State, server: WorkerServer | None) -> Response:
        """Report what Prometheus collects."""
        statistics = server.statistics if server else ResponseStatistics()
        metrics = Metrics()
        metrics.gauge(
            "info",
            "What runs.",
            1,
            {
                "release": os.environ.get("AROUNDTHEWORLD_RELEASE", ""),
                "config": os.environ.get("AROUNDTHEWORLD_CONFIG", ""),
                "python": platform.python_version(),
                "tornado": tornado.version,
            },
        )
        metrics.gauge("ready", "Whether it takes visitors.", state == "ready")
        metrics.gauge("start_time_seconds", "When it started.", round(self._started_at, 3))
        metrics.counter(
            "requests_total",
            "Whole responses, by status.",
            [({"code": str(code)}, count) for code, count in sorted(statistics.codes().items())],
        )
        metrics.counter(
            "requests_aborted_total", "Requests without a whole response.", statistics.aborted
        )
        metrics.gauge(
            "requests_in_flight",
            "Requests that are being answered.",
            len(server.requests_in_flight) if server else 0,
        )
        metrics.histogram(
            "request_duration_seconds",
            "From a request's headers to its whole response.",
            statistics.duration,
        )
        metrics.gauge("connections", "Open connections.", server.connections if server else 0)
        metrics.gauge("websockets", "Open WebSockets.", server.websockets if server else 0)
        metrics.histogram(
            "loop_lag_seconds", "How late a timer came, four a second.", self._heartbeat.lags
        )
        metrics.gauge(
            "loop_busy_seconds",
            "For how long the event loop has been blocked, 0 while it turns.",
            self._heartbeat.busy()[0],
        )
        metrics.counter(
            "loop_blocked_seconds_total",
            f"Seconds in blocks of {BLOCK * 1000:.0f} ms and more.",
            self._routes.blocked(),
        )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        metrics.counter("cpu_seconds_total", "Processor time.", usage.ru_utime + usage.ru_stime)
        metrics.gauge("resident_memory_bytes", "Memory in use.", _resident_memory())
        metrics.gauge("open_fds", "Open files and connections.", descriptors.count())
        metrics.gauge("max_fds", "How many of them there may be.", descriptors.most())
        return HTTPStatus.OK, (CONTENT_TYPE, str(metrics))


def _resident_memory() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
