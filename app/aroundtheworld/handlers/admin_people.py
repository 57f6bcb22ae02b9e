"""The admin side: who plays, and which workers serve them."""

from __future__ import annotations

from urllib.parse import urlencode

from aroundtheworld import workers
from aroundtheworld.clock import when
from aroundtheworld.db import players
from aroundtheworld.handlers.admin import AdminHandler


class PlayersHandler(AdminHandler):
    """Everybody who plays."""

    def get(self) -> None:
        """Show a page of those whose name contains the text of the search."""
        text = self.get_query_argument("text", "")[:30]
        total = self.database.read(players.count, text)
        pages = max(1, -(-total // players.PER_PAGE))
        number = min(self.page_number(), pages)
        self.render(
            "admin/players.html",
            text=text,
            total=total,
            rows=self.database.read(players.page, text, number),
            page=number,
            pages=pages,
            address=lambda page: "/admin/players?" + urlencode({"text": text, "page": page}),
            when=when,
        )


class WorkersHandler(AdminHandler):
    """What each worker is doing, as it says itself."""

    def get(self) -> None:
        """Ask them, and show it."""
        directory = self.application.config.workers
        found = workers.ask(directory) if directory is not None else []
        self.render("admin/workers.html", directory=directory, workers=found)
