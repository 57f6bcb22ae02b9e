"""A connection that is kept, over HTTP/2.

h2 takes nothing after a GOAWAY, though a site goes on with the streams that it has. So each frame
goes to h2 by itself, and a GOAWAY does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from bench.kept import Connection, Exchange, FailedError, RefusedError, UntouchedError

HEADER = 9  # bytes of each frame's (RFC 9113 4.1): 3 of the length, the type, the flags, the stream
GOAWAY = 7  # its type
STREAM = 0x7FFFFFFF  # the bits of a stream's id


class Http2(Connection):
    """HTTP/2, with any number of requests at a time."""

    protocol = "HTTP/2"

    def __init__(self, host: str) -> None:
        """Take the name of the site."""
        super().__init__(host)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._streams: dict[int, Exchange] = {}
        self._received = b""
        self._leaves = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the preface."""
        super().connection_made(transport)
        self._h2.initiate_connection()
        self._flush()

    def _send(self, path: str, exchange: Exchange) -> None:
        stream = self._h2.get_next_available_stream_id()
        self._streams[stream] = exchange
        pseudo = {":method": "GET", ":scheme": "https", ":authority": self.host, ":path": path}
        self._h2.send_headers(stream, list(pseudo.items()), end_stream=True)
        self._flush()

    def _take_all(self) -> list[Exchange]:
        taken, self._streams = list(self._streams.values()), {}
        return taken

    def _why_closed(self) -> Exception:
        return RefusedError() if self._leaves else UntouchedError()

    def _why_lost(self) -> Exception:
        # With a GOAWAY, a site promises to answer the streams that it does not refuse.
        return FailedError("no response after GOAWAY") if self._leaves else UntouchedError()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._received += data
        try:
            for frame in self._frames():
                if frame[3] == GOAWAY:
                    self._go_away(frame[HEADER:])
                else:
                    for event in self._h2.receive_data(frame):
                        self._handle(event)
        except h2.exceptions.ProtocolError as error:
            self.close(f"not HTTP/2: {type(error).__name__}: {error}")
            return
        self._flush()
        if self._leaves and not self._streams:
            self.close()

    def _frames(self) -> Iterator[bytes]:
        """Yield each frame that is there as a whole."""
        while len(self._received) >= HEADER:
            end = HEADER + int.from_bytes(self._received[:3])
            if end > HEADER + self._h2.max_inbound_frame_size:
                raise h2.exceptions.FrameTooLargeError(f"a frame of {end - HEADER} bytes")
            if len(self._received) < end:
                return
            frame, self._received = self._received[:end], self._received[end:]
            yield frame

    def _go_away(self, body: bytes) -> None:
        last, code = int.from_bytes(body[:4]) & STREAM, int.from_bytes(body[4:8])
        if code != h2.errors.ErrorCodes.NO_ERROR:
            self.close(f"GOAWAY with error {code}")
            return
        self.open, self._leaves = False, True
        for stream in [stream for stream in self._streams if stream > last]:
            self._streams.pop(stream).fail(RefusedError())

    def _handle(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None) or 0
        exchange = self._streams.get(stream)
        if exchange is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            exchange.touched = True
            headers = {str(name): str(value) for name, value in event.headers or ()}
            exchange.answer.status, exchange.answer.headers = headers.pop(":status"), headers
        elif isinstance(event, h2.events.DataReceived):
            exchange.answer.size += len(event.data or b"")
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        elif isinstance(event, h2.events.StreamEnded):
            del self._streams[stream]
            self.used = True
            exchange.finish()
        elif isinstance(event, h2.events.StreamReset):
            del self._streams[stream]
            is_refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            if is_refused and not exchange.touched:
                exchange.fail(RefusedError())
            else:
                exchange.fail(FailedError(f"RST_STREAM with error {event.error_code}"))
