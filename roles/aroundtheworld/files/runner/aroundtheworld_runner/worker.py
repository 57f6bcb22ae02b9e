"""The life of a worker: starting, held if its command line asks for that, ready, draining."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar, cast

from tornado.httpserver import HTTPServer

from aroundtheworld_runner import (
    blocking,
    heartbeat,
    loading,
    logs,
    measuring,
    remembered,
    systemd,
)
from aroundtheworld_runner.control import Endpoints, Response, control_socket
from aroundtheworld_runner.descriptors import PatientListener
from aroundtheworld_runner.drain import Drain
from aroundtheworld_runner.ending import Ending
from aroundtheworld_runner.leaving import Leaving
from aroundtheworld_runner.private_socket import private_socket
from aroundtheworld_runner.reports import Reports, State
from aroundtheworld_runner.routes import Routes
from aroundtheworld_runner.server import WorkerServer
from aroundtheworld_runner.signals import EndSignals

LOOP_PATIENCE = 1.0  # seconds in which the loop must come to carry out a command
# Above what nginx can be set to pass on, so that nginx answers 431, and not the runner 502.
MAX_HEADER_SIZE = 1024**2  # bytes
# The limit is nginx's, for each pool; Tornado's own would cut at 100 MB what nginx lets through.
MAX_BODY_SIZE = sys.maxsize

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the command line; times in seconds."""

    module: str
    attribute: str
    control: Path | None
    private_app: Path | None
    hold: bool
    drain_timeout: float
    stream_timeout: float
    stream: bool
    linger: float
    block_warn: float


class Worker:
    """Serves an application on sockets that are bound and listening already."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        """Take listening, non-blocking sockets."""
        self._settings = settings
        self._sockets = sockets
        self._state: State = "starting"
        self._server: WorkerServer | None = None
        self._signals: EndSignals | None = None
        self._heartbeat = heartbeat.Heartbeat(self._on_beat)
        self._routes = Routes(os.environ.get("AROUNDTHEWORLD_RELEASE"))
        self._reports = Reports(self._heartbeat, self._routes)
        control = settings.control
        self._watch = blocking.Watch(
            self._heartbeat,
            self._routes,
            warn=settings.block_warn,
            watchdog=systemd.watchdog_seconds(),
            file=control.with_suffix(".routes") if control else None,
        )

    async def run(self) -> None:
        """Serve until SIGTERM (or SIGINT), then drain.

        Raises:
            loading.LoadError: The application cannot be imported or made.
            private_socket.PrivateSocketError: A private socket cannot be made.
        """
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(logs.log_failure)
        self._heartbeat.start()
        with contextlib.ExitStack() as private_sockets:
            if self._settings.control:
                # There before the application is imported, which may take its time.
                private_sockets.enter_context(
                    control_socket(self._settings.control, self.endpoints())
                )
            factory = loading.import_factory(self._settings.module, self._settings.attribute)
            application = await loading.make_application(factory)
            leaving = Leaving(application)
            # What is in memory now stays: without this, Python searches all of it for garbage now
            # and then, which blocks the loop of a large application for some 50 ms.
            gc.collect()
            gc.freeze()
            # Until here a signal ends the process at once, as it should: nothing was accepted.
            stop = asyncio.Event()
            self._signals = EndSignals(stop.set)
            measuring.measure_handlers(self._routes)
            remembered.remember()
            self._heartbeat.start()  # again: while the import blocked the loop, nobody waited
            self._watch.start()
            if self._settings.private_app:
                sock = private_sockets.enter_context(private_socket(self._settings.private_app))
                # Tornado's own server: not in the statistics, and a drain does not wait for it.
                private = HTTPServer(application, xheaders=True, max_body_size=MAX_BODY_SIZE)
                private.add_socket(cast(socket.socket, PatientListener(sock)))
            self._server = server = WorkerServer(
                application,
                xheaders=True,
                max_header_size=MAX_HEADER_SIZE,
                max_body_size=MAX_BODY_SIZE,
            )
            server.every_response_streams = self._settings.stream
            if self._settings.hold:
                self._state = "held"
                systemd.notify("READY=1", "STATUS=held until POST /accept")
            else:
                self._serve(server, "READY=1")
            await stop.wait()
            ending = Ending(self._settings.drain_timeout)
            await self._drain(server, leaving)
            self._watch.save()
            ending.start()
            await leaving.finish(ending.left())
            await ending.cancel_tasks()
        ending.leave()

    def _serve(self, server: WorkerServer, *assignments: str) -> None:
        """Accept from the passed sockets, and notify systemd with these assignments."""
        server.add_sockets(self._sockets)
        self._state = "ready"
        addresses = ", ".join(_address(sock) for sock in self._sockets)
        log.info("serving on %s", addresses)
        systemd.notify(*assignments, f"STATUS=serving on {addresses}")

    def accept(self) -> Response:
        """End the hold, if there is one; called from the control socket's thread.

        Returns:
            The health afterwards. When the loop is too busy to end the hold in time, the worker
            stays held until the next request.
        """
        if self._state == "held":
            self._in_loop(self._end_hold)
        return self.health()

    def _end_hold(self) -> None:
        if self._server and self._state == "held":
            self._serve(self._server)

    def end_streams(self) -> Response:
        """End open WebSockets and streams; called from the control socket's thread."""
        server, seconds = self._server, self._settings.stream_timeout

        def end() -> tuple[int, int]:
            return server.end_streams(seconds, "maintenance") if server else (0, 0)

        ended = self._in_loop(end)
        if ended is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the event loop is blocked"}
        return HTTPStatus.OK, {
            "websockets": ended[0],
            "streams": ended[1],
            "seconds": seconds,
        }

    def _in_loop(self, command: Callable[[], T]) -> T | None:
        """Carry out a command in the event loop, or return None when the loop does not come."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def carry_out() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(command())
                except BaseException as error:
                    done.set_exception(error)
                    raise

        self._loop.call_soon_threadsafe(carry_out)
        try:
            return done.result(LOOP_PATIENCE)
        except TimeoutError:
            if done.cancel():
                return None
            return done.result()  # begun at this moment

    async def _drain(self, server: WorkerServer, leaving: Leaving) -> None:
        """Stop accepting, tell the application, and return when it is safe to exit."""
        self._state = "draining"
        systemd.notify("STOPPING=1")
        server.stop_accepting()
        leaving.begin()
        settings = self._settings
        await Drain(
            server,
            drain_timeout=settings.drain_timeout,
            stream_timeout=settings.stream_timeout,
            linger=settings.linger,
        ).run()

    def _on_beat(self, lag: float) -> None:
        if self._server:
            self._server.count_websockets()
            self._server.close_idle(time.monotonic())
        if self._signals:
            self._signals.take()
        self._watch.beat(lag)

    def endpoints(self) -> Endpoints:
        """Return what the control socket answers."""
        return {
            "GET /health": self.health,
            "GET /metrics": self.metrics,
            "GET /routes": self._reports.routes,
            "POST /accept": self.accept,
            "POST /end-streams": self.end_streams,
        }

    def health(self) -> Response:
        """Describe the worker; called from the control socket's thread."""
        return self._reports.health(self._state, self._server)

    def metrics(self) -> Response:
        """Report what Prometheus collects; called from the control socket's thread."""
        return self._reports.metrics(self._state, self._server)


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    return f"{name[0]}:{name[1]}" if sock.family == socket.AF_INET else str(name)
