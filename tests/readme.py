"""What the README says that the role makes on a host."""

from __future__ import annotations

import re

from tests.role_files import CHECKOUT


def promised() -> dict[str, str]:
    """Return the patterns of paths in its table, each with its description."""
    text = (CHECKOUT / "README.md").read_text()
    _, heading, section = text.partition("What it makes on the host\n")
    assert heading, "the README does not say what the role makes on the host"
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section.partition("\n#")[0], re.MULTILINE)
    return {path: text for cell, text in rows for path in re.findall(r"`(/[^`]+)`", cell)}


def always() -> set[str]:
    """Return those of the patterns whose paths every site has."""
    return {pattern for pattern, text in promised().items() if ", if " not in text}


def is_covered(path: str, pattern: str, site: str) -> bool:
    """Tell whether a path is what a pattern promises, or below it.

    Args:
        path: A path on the host of the site.
        pattern: One in which `<port>` and `*` stand for any name.
        site: The site's name.
    """
    parts = re.split(r"<\w+>|\*", pattern.replace("<site>", site).rstrip("/"))
    return bool(re.fullmatch("[^/]+".join(map(re.escape, parts)) + "(/.*)?", path))
