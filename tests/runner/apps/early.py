"""An application that answers before it has received what it is sent."""

from tornado.http1connection import HTTP1Connection
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body


@stream_request_body
class Refused(RequestHandler):
    """Takes no body at all."""

    def prepare(self) -> None:
        self.set_status(413)
        self.finish("too much")

    def data_received(self, chunk: bytes) -> None:
        pass

    def post(self) -> None:
        raise RuntimeError("it has answered")

    get = post


@stream_request_body
class Forbidden(Refused):
    """Raises what Tornado answers."""

    def prepare(self) -> None:
        raise HTTPError(403)

    def write_error(self, status_code: int, **kwargs: object) -> None:
        self.finish("not you")


@stream_request_body
class Enough(Refused):
    """Answers in the middle of the body."""

    def prepare(self) -> None:
        self.received = 0

    def data_received(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.received > 1_000_000:
            self.finish("enough")


@stream_request_body
class Long(Refused):
    """Has more to say than a socket holds."""

    def prepare(self) -> None:
        self.finish("y" * 1_000_000)


@stream_request_body
class Limited(Refused):
    """Takes a body of 1,000 bytes at most, by the method in Tornado's documentation."""

    def prepare(self) -> None:
        assert isinstance(self.request.connection, HTTP1Connection)
        self.request.connection.set_max_body_size(1000)


class Whole(RequestHandler):
    def post(self) -> None:
        self.write(str(len(self.request.body)))


def make_app() -> Application:
    return Application(
        [
            ("/refused", Refused),
            ("/forbidden", Forbidden),
            ("/enough", Enough),
            ("/long", Long),
            ("/limited", Limited),
            ("/whole", Whole),
        ]
    )
