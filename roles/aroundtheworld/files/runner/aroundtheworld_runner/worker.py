"""The life of a worker: starting, held if so wished, ready, draining, gone."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
import os
import platform
import resource
import signal
import socket
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import tornado
from tornado.httpserver import HTTPServer

from aroundtheworld_runner import blocking, heartbeat, loading, systemd
from aroundtheworld_runner.control import Answer, control_socket
from aroundtheworld_runner.metrics import CONTENT_TYPE, Metrics
from aroundtheworld_runner.private_socket import private_socket
from aroundtheworld_runner.routes import BLOCK, Routes
from aroundtheworld_runner.server import WorkerServer
from aroundtheworld_runner.statistics import ResponseStatistics

DRAIN_TICK = 0.05  # seconds between two looks at what is left to do
ACCEPT_PATIENCE = 1.0  # seconds in which the loop must come to carry out POST /accept
EXIT_GRACE = 2.0  # seconds in which the application's own tasks and threads must end

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line says; times in seconds."""

    module: str
    attribute: str
    control: Path | None
    private_app: Path | None
    hold: bool
    drain_timeout: float
    linger: float
    block_warn: float


class Worker:
    """Serves one application on sockets that somebody else has bound."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        """Take listening, non-blocking sockets."""
        self._settings = settings
        self._sockets = sockets
        self._state: Literal["starting", "held", "ready", "draining"] = "starting"
        self._started = time.monotonic()
        self._server: WorkerServer | None = None
        self._started_at = time.time()
        self._heartbeat = heartbeat.Heartbeat(self._on_beat)
        self._watchdog = systemd.watchdog_seconds()
        self._routes = Routes(os.environ.get("AROUNDTHEWORLD_RELEASE"))
        control = settings.control
        self._watch = blocking.Watch(
            self._heartbeat,
            self._routes,
            warn=settings.block_warn,
            watchdog=self._watchdog,
            file=control.with_suffix(".routes") if control else None,
        )

    async def run(self) -> None:
        """Serve until SIGTERM (or SIGINT), then drain.

        Raises:
            loading.LoadError: The application cannot be had.
            private_socket.PrivateSocketError: A private socket cannot be made.
        """
        self._loop = asyncio.get_running_loop()
        self._heartbeat.start()
        with contextlib.ExitStack() as private_sockets:
            if self._settings.control:
                # There before the application is imported, which may take its time.
                routes = {
                    "GET /health": self.health,
                    "GET /metrics": self.metrics,
                    "GET /routes": self.routes,
                    "POST /accept": self.accept,
                }
                private_sockets.enter_context(control_socket(self._settings.control, routes))
            factory = loading.import_factory(self._settings.module, self._settings.attribute)
            application = await loading.make_application(factory)
            # What is there now stays: looking through all of it for garbage, as is done every once
            # in a while, would hold up the loop of a large application for some 50 ms.
            gc.collect()
            gc.freeze()
            # Until here a signal ends the process at once, as it should: nothing was accepted.
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, stop.set)
            blocking.measure_handlers(self._routes)
            self._heartbeat.start()  # anew: that the import held up the loop was no lag for anybody
            self._watch.start()
            if self._settings.private_app:
                sock = private_sockets.enter_context(private_socket(self._settings.private_app))
                # Tornado's own server, so that no statistics show it and no drain waits for it.
                HTTPServer(application, xheaders=True).add_socket(sock)
            self._server = server = WorkerServer(application, xheaders=True)
            if self._settings.hold:
                self._state = "held"
                systemd.notify("READY=1", "STATUS=held until POST /accept")
            else:
                self._serve(server, "READY=1")
            await stop.wait()
            await self._drain(server)
            self._watch.save()
        self._exit_soon()

    def _serve(self, server: WorkerServer, *assignments: str) -> None:
        """Accept from the passed sockets, and tell systemd, with these assignments."""
        server.add_sockets(self._sockets)
        self._state = "ready"
        addresses = ", ".join(_address(sock) for sock in self._sockets)
        log.info("serving on %s", addresses)
        systemd.notify(*assignments, f"STATUS=serving on {addresses}")

    def accept(self) -> Answer:
        """End the hold, if there is one; called from the control socket's thread.

        Returns:
            The health afterwards. When the loop is too busy to end the hold in time, the worker
            is still held and stays so until it is asked again.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def serve() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    if self._server and self._state == "held":
                        self._serve(self._server)
                finally:
                    done.set_result(None)

        if self._state == "held":
            self._loop.call_soon_threadsafe(serve)
            try:
                done.result(ACCEPT_PATIENCE)
            except TimeoutError:
                if not done.cancel():  # begun at this moment
                    done.result()
        return self.health()

    async def _drain(self, server: WorkerServer) -> None:
        """Stop accepting, answer what there is, and leave when that is safe.

        It is safe when no connection is left, or when nothing has been in flight for the
        linger time, in which a client such as nginx has closed its idle connections. (The
        other way round, the worker closing them, loses the request that the client puts on
        one at that moment.) After the drain timeout what is left is cut.
        """
        self._state = "draining"
        began = time.monotonic()
        systemd.notify("STOPPING=1")
        log.info("draining: %s", self._left(server))
        server.stop_accepting()
        said = ""
        quiet = 0.0
        while server.connections and (server.requests_in_flight or quiet < self._settings.linger):
            if time.monotonic() - began >= self._settings.drain_timeout:
                for request in server.requests_in_flight.values():
                    log.error("cut at the end of the drain timeout: %s", request)
                break
            if (left := self._left(server)) != said:
                systemd.notify(f"STATUS=draining: {left}")
                said = left
            seen = server.requests_total
            await asyncio.sleep(DRAIN_TICK)
            server.close_websockets()  # one may have been opened on an idle connection
            server.forget_closed_streams()
            # Counted in turns of the loop and not by the clock: what arrived while the loop was
            # blocked is read before the worker calls itself idle.
            unanswered = server.requests_in_flight or server.requests_total != seen
            quiet = 0.0 if unanswered else quiet + DRAIN_TICK
        log.info("drained in %.1f s: %s", time.monotonic() - began, self._left(server))

    @staticmethod
    def _left(server: WorkerServer) -> str:
        requests = len(server.requests_in_flight)
        return f"requests in flight: {requests}, connections: {server.connections}"

    @staticmethod
    def _exit_soon() -> None:
        """Exit even if a thread or an uncancellable task of the application never ends."""

        def exit_anyway() -> None:
            log.error("exiting although tasks or threads of the application have not ended")
            os._exit(0)

        timer = threading.Timer(EXIT_GRACE, exit_anyway)
        timer.daemon = True
        timer.start()

    def _on_beat(self, lag: float) -> None:
        if self._server:
            self._server.forget_closed_streams()
        self._watch.beat(lag)
        now = time.monotonic()
        if self._watchdog and now - self._watch.sign_of_life >= self._watchdog / 3:
            self._watch.sign_of_life = now
            systemd.notify("WATCHDOG=1")

    def health(self) -> Answer:
        """Describe the worker; called from the control socket's thread."""
        server = self._server
        statistics = server.statistics if server else ResponseStatistics()
        port = os.environ.get("AROUNDTHEWORLD_PORT", "")
        busy_seconds, busy_in = self._heartbeat.busy()
        status = HTTPStatus.OK if self._state == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
        return status, {
            "state": self._state,
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

    def routes(self) -> Answer:
        """Tell for how long each route has held the loop; called from the control's thread."""
        return HTTPStatus.OK, self._routes.to_json()

    def metrics(self) -> Answer:
        """Tell what Prometheus wants to know; called from the control socket's thread."""
        server = self._server
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
        metrics.gauge("ready", "Whether it takes visitors.", self._state == "ready")
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
        return HTTPStatus.OK, (CONTENT_TYPE, str(metrics))


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    return f"{name[0]}:{name[1]}" if sock.family == socket.AF_INET else str(name)


def _resident_memory() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
