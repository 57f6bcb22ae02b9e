"""From the moment when a worker stops accepting until it is safe to exit."""

import asyncio
import logging
import time

from aroundtheworld_runner import logs, systemd
from aroundtheworld_runner.server import TrackedRequest, WorkerServer

TICK = 0.05  # seconds between two looks at what is left to do
HEAD_START = 0.5  # seconds in which the application, once told, may end its streams itself
CLOSING = 3.0  # seconds in which a client must take the end of its stream

log = logging.getLogger(__name__)


class Drain:
    """Answers the requests in flight, ends what would go on, and waits until all have left.

    It is safe to exit when no connection is left, or when nothing has been in flight for the linger
    time, in which a client such as nginx has closed its idle connections. (The other way round, the
    worker closing them, loses a request that the client sends at that moment.) What is left at the
    end of its time-out is cut.
    """

    def __init__(
        self, server: WorkerServer, *, drain_timeout: float, stream_timeout: float, linger: float
    ) -> None:
        """Begin to count the time.

        Args:
            server: It accepts no more.
            drain_timeout: Seconds that requests may take.
            stream_timeout: Seconds over which the ends of WebSockets and streams are spread.
            linger: Seconds for which idle connections are left to their clients.
        """
        self._server = server
        self._drain_timeout, self._stream_timeout = drain_timeout, stream_timeout
        self._linger = linger
        self._began = time.monotonic()
        self._quiet = 0.0  # for how many seconds nothing has been in flight
        self._notified = ""

    async def run(self) -> None:
        """Return when it is safe to exit, or when the time is over."""
        log.info("draining: %s", self._left())
        while self._server.connections and self._goes_on():
            if (left := self._left()) != self._notified:
                systemd.notify(f"STATUS=draining: {left}")
                self._notified = left
            seen = self._server.requests_total
            await asyncio.sleep(TICK)
            self._server.count_websockets()
            self._end_streams()
            # Counted in turns of the loop and not by the clock: what arrived while the loop was
            # blocked is read before the worker calls itself idle.
            unanswered = self._unanswered() or self._server.requests_total != seen
            self._quiet = 0.0 if unanswered else self._quiet + TICK
        for request in self._in_flight():
            if request.response.transport.closed():  # at this moment
                continue
            which = "stream" if request.response.is_stream else "drain"
            with logs.about(request.response.request_id):
                log.error("cut at the end of the %s timeout: %s", which, request)
            request.cut()
        log.info("drained in %.1f s: %s", self._seconds(), self._left())

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _goes_on(self) -> bool:
        """Tell whether there is something to wait for, and time left for it."""
        if self._unanswered():
            return True
        work = any(not request.response.is_stream for request in self._in_flight())
        latest = max(self._drain_timeout, self._stream_timeout + CLOSING)
        return not work and self._quiet < self._linger and self._seconds() < latest

    def _unanswered(self) -> bool:
        """Tell whether a request, a stream or a WebSocket is left, and time for it."""
        seconds = self._seconds()
        streams = [request.response.is_stream for request in self._in_flight()]
        return (seconds < self._drain_timeout and not all(streams)) or (
            seconds < self._stream_timeout + CLOSING
            and (any(streams) or bool(self._server.open_websockets()))
        )

    def _in_flight(self) -> list[TrackedRequest]:
        return list(self._server.requests_in_flight.values())

    def _end_streams(self) -> None:
        """End those that are open, and later those that come on idle connections."""
        seconds = self._seconds()
        if seconds >= min(HEAD_START, self._stream_timeout):
            self._server.end_streams(max(0.0, self._stream_timeout - seconds), "restarting")

    def _left(self) -> str:
        requests = len(self._server.requests_in_flight)
        return f"requests in flight: {requests}, connections: {self._server.connections}"
