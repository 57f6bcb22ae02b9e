"""One player's data as a file, which another installation reads. Pure.

The file is one object of JSON; app/README.md describes it. It holds no path, no link and nothing
that its other parts say already, so none of that can be wrong. Whoever writes one may be an enemy:
what `read` returns has the types, ranges and lengths that the tables and the pages count on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from aroundtheworld.db import players
from aroundtheworld.passwords import NO_PASSWORD, is_affordable
from aroundtheworld.written import CATEGORIES, shown

FORMAT = "aroundtheworld player"
VERSION = 1
# Some 5000 rounds. To add as many takes SQLite a second or two, for which other writes wait.
LARGEST_FILE = 16 * 1024 * 1024

# What the columns hold; sums of what somebody owns must fit as well.
MOST = 2**31 - 1
MOST_QUESTIONS, MOST_CHOICES = 100, 10
LONGEST_HASH, LONGEST_TEXT, LONGEST_CHOICE = 200, 200, 200
# Clocks differ; but nothing happened tomorrow.
DAY_MS = 24 * 60 * 60 * 1000

Data: TypeAlias = dict[str, Any]
T = TypeVar("T")
Reader: TypeAlias = Callable[[object, str], T]


class FileRefused(Exception):  # noqa: N818 - what happened, and it is the sender's file
    """A file is no player's that can be taken; the text is a sentence that says why."""


def to_text(data: Mapping[str, Any]) -> str:
    """Return a player's data as a file; raises `FileRefused` if `read` would not take it back."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **data}, separators=(",", ":"))
    if len(text) >= LARGEST_FILE:
        raise FileRefused(f"The player's data have {_mib(len(text))}; {_mib(LARGEST_FILE)} can be")
    return text + "\n"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def read(content: bytes, now: int) -> Data:
    """Return the data of a player's file.

    Args:
        content: the file.
        now: the time, in milliseconds since the epoch.

    Raises:
        FileRefused: it is no such file, or something in it cannot be.
    """
    if len(content) > LARGEST_FILE:
        raise FileRefused(f"The file is larger than {_mib(LARGEST_FILE)}")
    if not content.strip():
        raise FileRefused("The file is empty; perhaps its export failed")
    try:
        whole = json.loads(
            content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number
        )
    except UnicodeDecodeError:
        raise FileRefused("The file is not UTF-8") from None
    except RecursionError:
        raise FileRefused("The file is nested too deeply") from None
    except ValueError as error:
        raise FileRefused(f"The file is no JSON: {error}") from None
    if not isinstance(whole, dict) or whole.pop("format", None) != FORMAT:
        raise FileRefused(f"The file is no player's: its format is not {FORMAT!r}")
    version = whole.pop("version", None)
    if version != VERSION or type(version) is not int:
        raise FileRefused(
            f"The file has the version {shown(str(version))}; this release reads {VERSION}"
        )
    return _Readers(now).file(whole, "")


def _once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} is there twice in an object")
        found[name] = value
    return found


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number")


# --- What each value may be -----------------------------------------------------------------------


def _refuse(where: str, allowed: str, value: object) -> FileRefused:
    return FileRefused(f"{where or 'The file'} must be {allowed}, not {shown(str(value))}")


def _whole(least: int, most: int) -> Reader[int]:
    def check(value: object, where: str) -> int:
        # JSON's true is no number, though Python's is.
        if type(value) is not int or not least <= value <= most:
            raise _refuse(where, f"a whole number from {least} to {most}", value)
        return value

    return check


def _text(longest: int) -> Reader[str]:
    def check(value: object, where: str) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
            raise _refuse(where, f"a text of 1 to {longest} characters that can be shown", value)
        return value

    return check


def _chosen(allowed: Sequence[str]) -> Reader[str]:
    def check(value: object, where: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _refuse(where, f"one of {', '.join(allowed)}", value)
        return value

    return check


def _perhaps(read: Reader[T]) -> Reader[T | None]:
    return lambda value, where: None if value is None else read(value, where)


def _list(read: Reader[T], least: int, most: int) -> Reader[list[T]]:
    def check(value: object, where: str) -> list[T]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise _refuse(where, f"a list of {least} to {most}", value)
        return [read(each, f"{where}[{index}]") for index, each in enumerate(value)]

    return check


def _object(**readers: Reader[Any]) -> Reader[Data]:
    def check(value: object, where: str) -> Data:
        if not isinstance(value, dict):
            raise _refuse(where, f"an object with {', '.join(readers)}", value)
        if unknown := value.keys() - readers.keys():
            raise FileRefused(f"{where or 'The file'} has an unknown part {shown(min(unknown))}")
        within = f"{where}." if where else ""
        for name in readers:
            if name not in value:
                raise FileRefused(f"{within}{name} is missing")
        return {name: read(value[name], f"{within}{name}") for name, read in readers.items()}

    return check


def _bool(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _refuse(where, "true or false", value)
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or players.normalised_name(value) != value:
        raise _refuse(where, players.NAME_RULE, value)
    return value


def _hash(value: object, where: str) -> str:
    text = _text(LONGEST_HASH)(value, where)
    if text != NO_PASSWORD and not is_affordable(text):
        # Not shown: it is nearly a password.
        raise FileRefused(f"{where} must be a hash of argon2id that a login can afford")
    return text


class _Readers:
    """Reads the parts of a file.

    Attributes:
        file: all of it, but for format and version.
    """

    def __init__(self, now: int) -> None:
        """Prepare; `now` is in milliseconds since the epoch."""
        time, amount, city = _whole(0, now + DAY_MS), _whole(0, MOST), _whole(1, MOST)
        country = _text(2)
        self._question = _object(
            kind=_chosen([*CATEGORIES]),
            country=country,
            prompt=_text(LONGEST_TEXT),
            choices=_list(_text(LONGEST_CHOICE), 2, MOST_CHOICES),
            answer=_whole(0, MOST_CHOICES - 1),
            fact=_text(LONGEST_TEXT),
            written=_bool,
            asked_at=_perhaps(time),
            answered_at=_perhaps(time),
            chosen=_perhaps(_whole(0, MOST_CHOICES - 1)),
        )
        self._round = _object(started_at=time, questions=_list(self.question, 1, MOST_QUESTIONS))
        self.file = _object(
            player=_object(name=_name, password_hash=_hash, created_at=time),
            journey=_perhaps(self._journey(city, amount)),
            rounds=_list(self.round, 0, MOST),
            flights=_list(
                _object(from_city=city, to_city=city, km=amount, fare=amount, flown_at=time),
                0,
                MOST,
            ),
        )

    def _journey(self, city: Reader[int], amount: Reader[int]) -> Reader[Data]:
        read = _object(city=city, coins=amount, earned=amount, km=amount)

        def check(value: object, where: str) -> Data:
            journey = read(value, where)
            if journey["coins"] > journey["earned"]:
                raise FileRefused(f"{where}.coins must not be more than were earned")
            return journey

        return check

    def question(self, value: object, where: str) -> Data:
        """Return a question, of which all that the pages count on is true."""
        question = self._question(value, where)
        count = len(question["choices"])
        for name in ("answer", "chosen"):
            if question[name] is not None and question[name] >= count:
                raise FileRefused(f"{where}.{name} must be one of the {count} choices")
        if (question["chosen"] is None) != (question["answered_at"] is None):
            raise FileRefused(f"{where} must have both chosen and answered_at, or neither")
        if question["answered_at"] is not None and question["asked_at"] is None:
            raise FileRefused(f"{where}.asked_at is missing, and the question was answered")
        return question

    def round(self, value: object, where: str) -> Data:
        """Return a round, of which the questions were answered in their order."""
        found = self._round(value, where)
        answered = [question["chosen"] is not None for question in found["questions"]]
        count = sum(answered)
        if not all(answered[:count]):
            raise FileRefused(f"{where}.questions were not answered in their order")
        if count < len(answered) and found["questions"][count]["asked_at"] is None:
            raise FileRefused(f"{where}.questions[{count}].asked_at is missing; it was to be asked")
        return found
