"""Headers that nginx adds to every response of a site, unless the app sent them itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.nginx.nginx_text import quoted

VARIABLE = "aroundtheworld_headers"
DEFAULTS = {
    # A browser does not guess a type.
    "X-Content-Type-Options": "nosniff",
    # Not `frame-ancestors`: an app that sends a Content-Security-Policy without it would have
    # neither. Where an app's policy has it, browsers ignore this header.
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    # The site's own pages may ask a visitor for these, as before; what they embed may not.
    "Permissions-Policy": ", ".join(
        f"{feature}=(self)"
        for feature in (
            *("camera", "display-capture", "geolocation", "hid"),
            *("microphone", "midi", "serial", "usb"),
        )
    ),
}
# RFC 9110, 16.3.2.1; nginx has no variable for a name with other characters.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
# RFC 9110, 5.5, in ASCII.
VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
LONGEST = 2000  # nginx reads at most 4096 bytes for it, and a quotation mark takes two
# Names that each response has its own values for.
OF_A_RESPONSE = re.compile(
    "accept-ranges|age|allow|cache-control|connection|content-(encoding|language|length|location|"
    "range|type)|date|etag|expires|keep-alive|last-modified|location|proxy-authenticate|"
    "retry-after|server|set-cookie|trailer|transfer-encoding|upgrade|vary|via|www-authenticate",
    re.IGNORECASE,
)


def header_problems(headers: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what keeps `aroundtheworld_headers` from being headers of every response."""
    defaults = {name.lower() for name in DEFAULTS}
    seen: dict[str, str] = {}
    for name, value in headers.items():
        where = f"{VARIABLE}: the name {name!r} is not allowed;"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield (
                f"{where} it begins with a letter and goes on with letters, digits and '-', as in "
                "'X-Frame-Options'."
            )
            continue
        if OF_A_RESPONSE.fullmatch(name):
            yield f"{where} the app or nginx sets it for each response."
        if name.lower() == "strict-transport-security":
            yield f"{where} set aroundtheworld_hsts_seconds."
        if other := seen.get(name.lower()):
            yield f"{where} {other!r} is the same header."
        seen[name.lower()] = name
        if value not in (None, ""):
            yield from _value_problems(f"{VARIABLE}.{name}", value)
        elif name.lower() not in defaults:
            near = difflib.get_close_matches(name, DEFAULTS, n=1)
            yield (
                f"{VARIABLE}.{name}: an empty value removes a default, and this is none; "
                + (f"did you mean {near[0]}?" if near else f"these are: {', '.join(DEFAULTS)}.")
            )


def _value_problems(where: str, value: object) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        yield (
            f"{where}: a value of type {type(value).__name__} is not allowed; it must be a text. "
            "Put quotes around words like 'true'."
        )
    elif not VALUE.fullmatch(str(value)):
        yield (
            f"{where}: {value!r} is not allowed; it must be one line of ASCII characters without "
            "a space at an end. In YAML, '>-' makes one line of several."
        )
    elif "$" in str(value):
        yield f"{where}: {value!r} is not allowed; nginx would read a variable where a '$' is."
    elif len(str(value)) > LONGEST:
        yield f"{where}: {len(str(value))} characters are not allowed; at most {LONGEST} are."


def derive_headers(variables: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the headers: `name`, `value` for nginx, and nginx's variable for the `app`'s own."""
    headers = {name.lower(): (name, value) for name, value in DEFAULTS.items()}
    headers |= {name.lower(): (name, value) for name, value in variables[VARIABLE].items()}
    return [
        {
            "name": name,
            "value": quoted(str(value)),
            "app": f"$sent_http_{key.replace('-', '_')}",
        }
        for key, (name, value) in headers.items()
        if value not in (None, "")
    ]


def decided_headers(variables: Mapping[str, Any]) -> list[str]:
    """Return the headers that the site sends or expressly does not send, as nginx adds them."""
    names = {*DEFAULTS, *variables[VARIABLE], "Strict-Transport-Security"}
    return sorted(f"add_header {name.lower()}" for name in names)
