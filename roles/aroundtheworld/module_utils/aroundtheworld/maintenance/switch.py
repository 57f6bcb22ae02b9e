"""The switch: files in the site's home, which nginx looks for in every request.

``maintenance.html`` is there while the site is closed. Beside it, in ``maintenance``:

- ``switch`` is a link to a directory in ``switches`` with the answers of the closed site,
  ``page.html`` and ``page.json``, and, unless maintenance closes the usual pools, with a file in
  ``closed`` for each pool that it closes. The directory's name ends in ``~`` and the value of
  ``Retry-After``, which nginx takes from there. It begins with a checksum of all that, so that it
  never changes.
- ``keys`` has a file for the secret link. Only root can list it.
- ``state.json`` says the rest, for the status and the metrics.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.files import (
    link_atomically,
    read_exactly,
    read_mapping,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.layout import HomeLayout
from ansible.module_utils.aroundtheworld.maintenance.state import STATE, read_state, state_text

# How long a request that found the site closed may take until it has its page.
PATIENCE = 0.2


@dataclass(frozen=True)
class Closing:
    """How a site is to be closed.

    Attributes:
        scope: What closes, as the operator named it.
        pools: The names of the pools that close.
        reason: Why, or an empty text.
        until: When it opens by itself, as ISO 8601 in UTC, or an empty text.
        retry_after: The header's value.
        page: The answer for people.
        json: The answer for programs.
        who: Who closes it.
    """

    scope: str
    pools: list[str]
    reason: str
    until: str
    retry_after: str
    page: str
    json: str
    who: str

    @property
    def files(self) -> dict[str, str]:
        """Return the texts of the files that nginx finds through the link, by their paths."""
        listed = [] if self.scope == "public" else self.pools
        closed = {f"closed/{pool}": "" for pool in listed}
        return {"page.html": self.page, "page.json": self.json, **closed}

    @property
    def name(self) -> str:
        """Return the name of the directory with these files."""
        text = json.dumps([self.files, self.retry_after], sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}~{self.retry_after}"


class Switch:
    """Closes and opens a site by its files; the caller sees to the timer that ends it."""

    def __init__(self, home: Path) -> None:
        """Take the site's home."""
        self.layout = HomeLayout(home)
        self.directory = self.layout.switch
        self.link = self.directory / "switch"
        self.keys = self.directory / "keys"

    def token(self) -> str:
        """Return the token of the secret link, or an empty text."""
        return next((path.name for path in self.keys.glob("*")), "")

    def is_closed(self) -> bool:
        """Tell whether the site is closed, by whatever."""
        return bool(self.layout.maintenance.exists())

    def closing(self) -> Closing | None:
        """Return how the site is closed now, or None when it is open."""
        if not self.is_closed():
            return None
        state = read_state(self.layout.home)
        known = self.link.is_symlink()
        name = self.link.readlink().name if known else ""
        return Closing(
            **{key: state[key] for key in ("scope", "pools", "reason", "until", "who")},
            retry_after=name.partition("~")[2],
            page=read_exactly(self.link / "page.html" if known else self.layout.maintenance),
            json=read_exactly(self.link / "page.json") if known else "",
        )

    def expected_state(self, closing: Closing) -> dict[str, Any]:
        """Return the state of the site when it is closed like this."""
        before = read_state(self.layout.home)
        state = {
            "scope": closing.scope,
            "pools": closing.pools,
            "reason": closing.reason,
            "until": closing.until,
        }
        same = all(before.get(name) == value for name, value in state.items())
        since, who = before.get("since") or now(), before["who"] if same else closing.who
        return {**state, "since": since, "who": who}

    def differs(self, closing: Closing) -> bool:
        """Tell whether the site is not closed like this already."""
        return not (
            self.is_closed()
            and self.link.is_symlink()
            and self.link.readlink() == Path("switches", closing.name)
            and all(read_exactly(self.link / name) == text for name, text in closing.files.items())
            and read_exactly(self.layout.maintenance) == closing.page
            and read_mapping(self.directory / STATE) == self.expected_state(closing)
            and bool(self.token())
        )

    def close(self, closing: Closing) -> None:
        """Close the site; what was closed meanwhile stays so."""
        self.directory.mkdir(mode=0o755, exist_ok=True)
        # nginx may look for a name in it, and nobody but root may list it.
        self.keys.mkdir(mode=0o711, exist_ok=True)
        if not self.is_closed():
            self._forget_keys()  # of a switch that somebody took away
        if not self.token():
            (self.keys / secrets.token_hex(16)).touch(mode=0o600)
        switches = self.directory / "switches"
        place = switches / closing.name
        for name, text in closing.files.items():
            (place / name).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_atomically(place / name, text, 0o644)
        former = [path for path in switches.iterdir() if path != place]
        link_atomically(self.link, f"switches/{closing.name}")
        write_atomically(self.layout.maintenance, closing.page, 0o644)
        if former:
            time.sleep(PATIENCE)
        for path in former:
            shutil.rmtree(path)

    def note(self, state: dict[str, Any]) -> None:
        """Write the state down, when all else is done: until then the site counts as different."""
        write_atomically(self.directory / STATE, state_text(state), 0o644)

    def open(self) -> None:
        """Open the site."""
        self.layout.maintenance.unlink(missing_ok=True)
        self._forget_keys()
        if self.directory.exists():
            time.sleep(PATIENCE)
            shutil.rmtree(self.directory)

    def _forget_keys(self) -> None:
        for path in self.keys.glob("*"):
            path.unlink()
