"""A public side that answers at once, and an admin side that does not."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import work
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler


class Home(RequestHandler):
    """GET / for visitors."""

    def get(self) -> None:
        """Answer at once."""
        self.write({"answer": 42})


class Row(RequestHandler):
    """GET /row for visitors."""

    def get(self) -> None:
        """Answer with what the database says, which takes less than a millisecond."""
        (count,) = (
            self.application.settings["database"]
            .execute("SELECT count(*) FROM line WHERE number = 1")
            .fetchone()
        )
        self.write({"rows": count})


class Block(RequestHandler):
    """GET /block?seconds=5 for a visitor who found the slow page that nobody knew of."""

    def get(self) -> None:
        """Block the loop."""
        work.block(float(self.get_argument("seconds")))
        self.write({"blocked": True})


class Admin(RequestHandler):
    """GET /admin/KIND?seconds=1 for those who may wait."""

    def get(self, kind: str) -> None:
        """Work, and let the loop wait."""
        work.KINDS[kind](float(self.get_argument("seconds")))
        self.write({"done": kind})


def make_app() -> Application:
    """Return the application."""
    return Application(
        [("/", Home), ("/row", Row), ("/block", Block), ("/admin/([a-z]+)", Admin)],
        database=work.connect(),
    )


async def serve(sockets: list[socket.socket]) -> None:
    """Serve as Tornado's documentation does."""
    HTTPServer(make_app(), xheaders=True).add_sockets(sockets)
    await asyncio.Event().wait()


def main() -> None:
    """Serve on a port, in as many processes as Tornado is to fork: `strain.py 8000 4`."""
    port, processes = map(int, sys.argv[1:])
    sockets = bind_sockets(port, "127.0.0.1")
    if processes > 1:
        fork_processes(processes)
    print(f"serving on {port} as {os.getpid()}", flush=True)
    asyncio.run(serve(sockets))


if __name__ == "__main__":
    main()
