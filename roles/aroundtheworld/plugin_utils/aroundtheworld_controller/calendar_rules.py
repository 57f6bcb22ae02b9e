"""What keeps a text from being a time in systemd's calendar, as far as the controller can tell.

The host has systemd itself read it, before anything is changed, and say when it comes next.
"""

from __future__ import annotations

import re

SHORTHANDS = (
    *("minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly"),
    *("semi-annually", "biannually", "bi-annually", "annually"),
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY = "|".join(f"{day[:3]}(?:{day[3:]})?" for day in DAYS)
WEEKDAYS = rf"(?:{DAY})(?:(?:\.\.|-|,)(?:{DAY}))*,?"
VALUE = r"\d+(?:\.\d+)?"
PART = rf"(?:\*|{VALUE}(?:\.\.{VALUE})?)(?:/{VALUE})?"
FIELD = rf"{PART}(?:,{PART})*"
DATE = rf"(?:(?P<year>{FIELD})-)?(?P<month>{FIELD})[-~](?P<day>{FIELD})"
TIME = rf"(?P<hour>{FIELD}):(?P<minute>{FIELD})(?::(?P<second>{FIELD}))?"
ZONE = r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*"
TEXT = re.compile(
    rf"(?=\S)(?:{WEEKDAYS})?(?:(?:^| ){DATE})?(?:(?:^|[ T]){TIME})?(?P<zone> {ZONE})?",
    re.IGNORECASE,
)
# What each field may be; of the year any.
RANGES = {"month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
AS_IN = (
    "it must be a time in systemd's calendar (systemd.time(7)), as in '03:00' for every night, "
    "'Mon..Fri 08:00', '*:00/15' or 'weekly'"
)


def calendar_problem(text: str) -> str:
    """Return what is wrong with a time, for after "… is not allowed; ", or an empty text."""
    text = re.sub(" +", " ", text)
    if text.isdigit():  # YAML reads 12:30 as 750
        return f"{AS_IN}. Put quotes around a time of day"
    word, _, zone = text.partition(" ")
    if word.lower() in SHORTHANDS:
        return "" if not zone or re.fullmatch(ZONE, zone) else AS_IN
    found = TEXT.fullmatch(text)
    if not found or text == (found["zone"] or "").strip():
        return AS_IN
    for name, (low, high) in RANGES.items():
        # A step may be any, and so may a day that is counted from the end of the month.
        numbers = re.findall(r"(?<![/\d.])\d+|(?<=\.\.)\d+", found[name] or "")
        for number in map(int, numbers):
            if not low <= number <= high:
                return f"its {name} must be from {low} to {high}"
    return ""
