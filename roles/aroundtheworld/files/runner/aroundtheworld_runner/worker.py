"""The life of a worker: starting, ready, draining, gone."""

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from aroundtheworld_runner import control, heartbeat, loading, systemd
from aroundtheworld_runner.server import WorkerServer

DRAIN_TICK = 0.05  # seconds between two looks at what is left to do
EXIT_GRACE = 2.0  # seconds in which the application's own tasks and threads must end

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line says; times in seconds."""

    module: str
    attribute: str
    control: Path | None
    drain_timeout: float
    linger: float


class Worker:
    """Serves one application on sockets that somebody else has bound."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        """Take listening, non-blocking sockets."""
        self._settings = settings
        self._sockets = sockets
        self._state: Literal["starting", "ready", "draining"] = "starting"
        self._started = time.monotonic()
        self._server: WorkerServer | None = None
        self._heartbeat = heartbeat.Heartbeat(self._on_beat)
        self._watchdog = systemd.watchdog_seconds()
        self._watchdog_sent = 0.0

    async def run(self) -> None:
        """Serve until SIGTERM (or SIGINT), then drain.

        Raises:
            loading.LoadError: The application cannot be had.
            control.ControlSocketError: The control socket cannot be made.
        """
        if self._settings.control is None:
            await self._run()
            return
        # There before the application is imported, which may take its time.
        with control.ControlSocket(self._settings.control, {"/health": self.health}):
            await self._run()

    async def _run(self) -> None:
        self._heartbeat.start()
        factory = loading.import_factory(self._settings.module, self._settings.attribute)
        application = await loading.make_application(factory)
        self._server = server = WorkerServer(application, xheaders=True)
        # Until here a signal ends the process at once, as it should: nothing was accepted.
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server.add_sockets(self._sockets)
        self._state = "ready"
        addresses = ", ".join(_address(sock) for sock in self._sockets)
        log.info("serving on %s", addresses)
        systemd.notify("READY=1", f"STATUS=serving on {addresses}")
        await stop.wait()
        await self._drain(server)
        self._exit_soon()

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

    def _on_beat(self) -> None:
        if self._server:
            self._server.forget_closed_streams()
        now = time.monotonic()
        if self._watchdog and now - self._watchdog_sent >= self._watchdog / 3:
            self._watchdog_sent = now
            systemd.notify("WATCHDOG=1")

    def health(self) -> control.Answer:
        """Describe the worker; called from the control socket's thread."""
        server = self._server
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
            "busy_seconds": busy_seconds,
            "busy_in": busy_in,
        }


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    return f"{name[0]}:{name[1]}" if sock.family == socket.AF_INET else str(name)
