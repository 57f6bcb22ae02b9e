"""The shop's page: what it finds of itself, as JSON."""

import importlib.resources
import importlib.util
from importlib.metadata import version
from pathlib import Path

import tornado.web


class Main(tornado.web.RequestHandler):
    """The only page."""

    def get(self) -> None:
        """Write it."""
        self.write(
            {
                "version": version("shop"),
                "docopt": version("docopt"),
                "data": importlib.resources.files("shop").joinpath("greeting.txt").read_text(),
                "generated": importlib.util.find_spec("shop._version") is not None,
                "beside": Path("alembic.ini").exists(),
            }
        )


def make_app() -> tornado.web.Application:
    """Return the app."""
    return tornado.web.Application([("/.*", Main)])
