"""Facts about countries from an outside service that speaks as restcountries.com does.

Nothing depends on it: its answers are kept in the database and shown however old they are, a page
waits for the first answer only for a moment, and a service that is slow, down or sends nonsense
costs no visitor more than that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.exc import OperationalError
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httputil import HTTPInputError
from tornado.log import app_log

from aroundtheworld.clock import now_ms
from aroundtheworld.db import facts
from aroundtheworld.db.engine import Database
from aroundtheworld.world import Country

# A page that has no facts yet waits so long for them.
PATIENCE_SECONDS = 0.5
CONNECT_SECONDS = 2.0
REQUEST_SECONDS = 4.0
LARGEST_ANSWER = 64 * 1024
FRESH_MS = 7 * 24 * 60 * 60 * 1000
PAUSE_MS = 60 * 1000

FIELDS = "languages,currencies,timezones,tld,idd,car"
LONGEST_TEXT = 60
MOST_TEXTS = 12


@dataclass(frozen=True, slots=True)
class CountryFacts:
    """What the service knows about a country; empty where it knows nothing."""

    languages: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    time_zones: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    calling_code: str = ""
    drives_on: str = ""

    @classmethod
    def from_service(cls, answer: object) -> CountryFacts:
        """Take from an answer what can be shown.

        Args:
            answer: of the service, parsed; nothing is assumed about it.

        Raises:
            ValueError: there is nothing in it.
        """
        if isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if not isinstance(answer, dict):
            raise ValueError("no country in the answer")
        found = cls(
            languages=_texts(_values(answer.get("languages"))),
            currencies=_texts(map(_currency, _values(answer.get("currencies")))),
            time_zones=_texts(answer.get("timezones")),
            domains=_texts(answer.get("tld")),
            calling_code=_calling_code(answer.get("idd")),
            drives_on=_side(answer.get("car")),
        )
        if found == cls():
            raise ValueError("no fact in the answer")
        return found

    @classmethod
    def from_database(cls, content: object) -> CountryFacts | None:
        """Return what `asdict` made a row of, or None if another release kept something else."""
        if not isinstance(content, dict):
            return None
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        try:
            return cls(**values)
        except TypeError:
            return None

    def labelled(self) -> list[tuple[str, str]]:
        """Return what is known as labels and texts, for a page."""
        lists = [
            ("Language", "Languages", self.languages),
            ("Currency", "Currencies", self.currencies),
            ("Time zone", "Time zones", self.time_zones),
            ("Internet domain", "Internet domains", self.domains),
        ]
        labelled = [(label if len(t) == 1 else labels, ", ".join(t)) for label, labels, t in lists]
        labelled += [("Calling code", self.calling_code), ("Drives on the", self.drives_on)]
        return [(label, text) for label, text in labelled if text]


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []


def _texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - whatever the service sent
    found: Iterator[object] = iter(value) if isinstance(value, (list, map)) else iter(())
    return tuple(text for text in map(_text, found) if text)[:MOST_TEXTS]


def _text(value: object) -> str:
    fit = isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()
    return str(value).strip() if fit else ""


def _currency(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    name, symbol = _text(value.get("name")), _text(value.get("symbol"))
    return f"{name} ({symbol})" if name and symbol else name


def _calling_code(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    root, suffixes = _text(value.get("root")), _texts(value.get("suffixes"))
    # Where there are several, each is the code of an area.
    return root + suffixes[0] if len(suffixes) == 1 else root


def _side(value: object) -> str:
    side = value.get("side") if isinstance(value, dict) else None
    return side if side in ("left", "right") else ""


@dataclass(frozen=True, slots=True)
class DatedFacts:
    """Facts, and when they came from the service, in milliseconds since the epoch."""

    facts: CountryFacts
    fetched_at: int

    @property
    def date(self) -> str:
        """The day of it, in words."""
        return f"{datetime.fromtimestamp(self.fetched_at / 1000, UTC):%-d %B %Y}"


class FactsService:
    """Facts, from the database or the service."""

    def __init__(self, database: Database, url: str | None) -> None:
        """Prepare; the service gets no request before a page needs facts.

        Args:
            database: keeps the answers.
            url: of the service, such as `https://restcountries.com/v3.1`; None for no facts at all.
        """
        self._database = database
        self._url = url
        self._fetches: dict[str, asyncio.Task[DatedFacts | None]] = {}

    @property
    def source(self) -> str:
        """The service's host name."""
        return urlsplit(self._url or "").hostname or ""

    async def about(self, country: Country) -> DatedFacts | None:
        """Return what is known, asking the service where that is nothing or old."""
        if self._url is None:
            return None
        try:
            row = await self._database.read_async(facts.about, country.code)
        except OperationalError as error:
            app_log.warning("facts: database: %s", error.orig)
            return None
        known = None
        if row is not None and (content := CountryFacts.from_database(row.content)):
            known = DatedFacts(content, row.fetched_at)
        now = now_ms()
        is_fresh = known is not None and known.fetched_at > now - FRESH_MS
        if is_fresh or (row is not None and row.tried_at > now - PAUSE_MS):
            return known
        fetch = self._fetches.get(country.code)
        if fetch is None:
            fetch = asyncio.get_running_loop().create_task(self._fetch(country))
            self._fetches[country.code] = fetch
            fetch.add_done_callback(lambda _: self._fetches.pop(country.code))
        if known is None:
            await asyncio.wait([fetch], timeout=PATIENCE_SECONDS)
            known = fetch.result() if fetch.done() else None
        return known

    async def _fetch(self, country: Country) -> DatedFacts | None:
        """Ask the service, if no other worker does, and keep its answer; never raises."""
        try:
            if not await self._database.write_async(facts.begin_fetch, country.code, PAUSE_MS):
                return None
            found = CountryFacts.from_service(await self._ask(country.code))
            await self._database.write_async(facts.keep, country.code, asdict(found))
        except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
            app_log.warning("facts: %s about %s: %s", self.source, country.code, error)
        except OperationalError as error:
            app_log.warning("facts: database: %s", error.orig)
        else:
            return DatedFacts(found, now_ms())
        return None

    async def _ask(self, code: str) -> object:
        """Return the service's answer, parsed.

        A request has the configured host, this path and the code of a country of ours, and nothing
        else; a redirect to anywhere else counts as no answer.
        """
        client = AsyncHTTPClient(force_instance=True, max_body_size=LARGEST_ANSWER)
        try:
            response = await client.fetch(
                f"{self._url}/alpha/{code}?fields={FIELDS}",
                headers={"Accept": "application/json"},
                connect_timeout=CONNECT_SECONDS,
                request_timeout=REQUEST_SECONDS,
                follow_redirects=False,
                # What is packed may be any size once it is unpacked.
                decompress_response=False,
            )
        finally:
            client.close()
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind != "application/json":
            raise ValueError(f"an answer of type {kind or 'nothing'}")
        answer: object = json.loads(response.body)
        return answer
