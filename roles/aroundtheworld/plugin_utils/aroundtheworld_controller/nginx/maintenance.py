"""What the variables of a closed site mean: which pools close, until when, and who may come in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aroundtheworld_controller.variables import BadInputError

SCOPE, UNTIL = "aroundtheworld_maintenance", "aroundtheworld_maintenance_until"
REASON = "aroundtheworld_maintenance_reason"
TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
LONGEST_REASON = 500
LAST_YEAR = 2199  # of systemd's calendar

Pools = Sequence[Mapping[str, Any]]


# --- What is closed -------------------------------------------------------------------------------


def closed_pools(scope: str, pools: Pools) -> list[str]:
    """Return the names of the pools that a scope closes."""
    if scope == "public":
        return [pool["name"] for pool in pools if not pool["open_in_maintenance"]]
    return [pool["name"] for pool in pools if scope in ("all", pool["name"])]


def scope_problems(scope: str, pools: Pools) -> Iterator[str]:
    """Yield what keeps maintenance from closing anything."""
    names = [pool["name"] for pool in pools]
    if scope not in ("public", "all", *names):
        yield (
            f"{SCOPE}: {scope!r} is not allowed; it must be 'public', 'all' or the name of a pool: "
            f"{', '.join(names)}."
        )


def reason_problems(reason: str) -> Iterator[str]:
    """Yield what keeps a reason from standing on a page and in a line of the status."""
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        yield (
            f"{REASON}: {reason[:40]!r}… is not allowed; it must be one line of at most "
            f"{LONGEST_REASON} printable characters."
        )


# --- Until when -----------------------------------------------------------------------------------


def end_of(text: str, now: datetime) -> datetime | None:
    """Return when a site opens by itself, in the zone of this machine, or None for an empty text.

    Args:
        text: A time of day, of which the next is meant, or a time as ISO 8601 writes it.
        now: The time.

    Raises:
        BadInputError: It is no time, a time in the past, or no single time.
    """
    if not text:
        return None
    end = _next(text, now) if TIME_OF_DAY.fullmatch(text) else _iso(text)
    if end <= now:
        raise BadInputError(
            f"{UNTIL}: {text!r} is not allowed; it is {now.astimezone():%Y-%m-%d %H:%M %Z} now, so "
            "that is in the past."
        )
    return end


def _next(text: str, now: datetime) -> datetime:
    hour, minute = map(int, text.split(":"))
    today = now.astimezone().replace(tzinfo=None)
    time = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if time <= today:
        time += timedelta(days=1)
    return _only(text, time)


def _iso(text: str) -> datetime:
    if text.isdecimal():
        minutes = divmod(int(text), 60)
        guess = "{:d}:{:02d}".format(*minutes) if minutes[0] < 24 else "18:30"
        raise BadInputError(
            f"{UNTIL}: {text} is not allowed; YAML reads a time without quotes as a number. Write "
            f"it in quotes, as in '\"{guess}\"'."
        )
    try:
        time = datetime.fromisoformat(text)
        if not re.search(r"\d[T ]\d", text):
            raise ValueError
    except ValueError:
        raise BadInputError(
            f"{UNTIL}: {text!r} is not allowed; it must be a time of day, as in '18:30', or a time "
            "as ISO 8601 writes it, as in '2026-12-24T18:30' or '2026-12-24T18:30+01:00'."
        ) from None
    if not 1970 <= time.year <= LAST_YEAR:
        raise BadInputError(
            f"{UNTIL}: {text!r} is not allowed; the year must be between 1970 and {LAST_YEAR}. "
            "For a site that does not open by itself, leave the variable out."
        )
    return time if time.tzinfo else _only(text, time)


def _only(text: str, time: datetime) -> datetime:
    """Return the moment at which clocks here show a time, unless none or two of them do."""
    first, second = (time.replace(fold=fold).astimezone() for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    # Where clocks go forward, neither is the time that was asked for.
    if first.replace(tzinfo=None) == time:
        why = "there are two of it, because clocks go back"
    else:
        why = "there is no such time, because clocks go forward"
    choice = sorted((first, second))
    raise BadInputError(
        f"{UNTIL}: {text!r} is not allowed; on {time:%Y-%m-%d} {why}. Say which you mean: "
        f"{' or '.join(repr(moment.isoformat(timespec='minutes')) for moment in choice)}."
    )


# --- What visitors see ----------------------------------------------------------------------------


def until_text(end: datetime | None, now: datetime) -> str:
    """Return the end for visitors, who may be in any zone: the day only if it is not today's."""
    if end is None:
        return ""
    end, today = end.astimezone(UTC), now.astimezone(UTC).date()
    day = "" if end.date() == today else f" on {end:%Y-%m-%d}"
    return f"{end:%H:%M} UTC{day}"


def retry_after(end: datetime | None, seconds: int) -> str:
    """Return the header: a date when the end is known."""
    return str(seconds) if end is None else format_datetime(end.astimezone(UTC), usegmt=True)


def json_body(reason: str, end: datetime | None) -> str:
    """Return the answer for programs, in the form of nginx's other errors."""
    error = {
        "status": 503,
        "title": "Closed for maintenance",
        "detail": reason or "The site is closed for maintenance. Nothing was changed.",
        "until": end and end.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps({"error": error}) + "\n"


def way_in(site: str, health: Mapping[str, Any], address: str, token: str) -> str:
    """Return the secret link.

    Args:
        site: The site's name.
        health: How the site is visited: `host` and `scheme`.
        address: The host's, for a site without a name.
        token: What makes it secret.
    """
    host = re.sub(r"^localhost\b", address, health["host"])
    return f"{health['scheme']}://{host}/.{site}/enter/{token}"
