"""The files of photos."""

from __future__ import annotations

from http import HTTPStatus

from tornado import web

from aroundtheworld.handlers.base import StaticHandler


class PhotoFileHandler(StaticHandler):
    """Serves finished files of photos; the route lets no other name through."""

    def initialize(self) -> None:  # type: ignore[override]
        """Serve from the directory that the configuration names."""
        super().initialize(path=str(self.application.config.photos or ""))

    def prepare(self) -> None:
        """Find nothing where there are no photos."""
        if self.application.config.photos is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)

    def set_default_headers(self) -> None:
        """Let browsers keep a photo for a day: it hardly ever changes."""
        super().set_default_headers()
        self.set_header("Cache-Control", "public, max-age=86400")

    def compute_etag(self) -> str | None:
        """Leave it to the time of the file.

        Tornado would read the whole file for a checksum, and remember it for as long as the
        process lives, though the file may be replaced.
        """
        return None
