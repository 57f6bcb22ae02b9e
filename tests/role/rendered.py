"""What the role's templates come to: units, each by its path, and the site of nginx.

nginx's files are read by crossplane, and not by the role's own reader, which is tested against it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import crossplane
from ansible.module_utils.aroundtheworld.rollout.units import split_units

from tests.render import render, variables_for

SYSTEMD = "/etc/systemd/system"


class Unit:
    """A unit file, section to name to values in their order."""

    def __init__(self, text: str) -> None:
        """Read the text; a line that ends in a backslash goes on in the next."""
        self.sections: dict[str, dict[str, list[str]]] = {}
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            if line.startswith("[") and line.endswith("]"):
                section = self.sections.setdefault(line[1:-1], {})
            elif line and not line.startswith("#"):
                name, equals, value = line.partition("=")
                assert equals, line
                section.setdefault(name, []).append(value)

    def all(self, section: str, name: str) -> list[str]:
        """Return the values of a directive, none where it is missing."""
        return self.sections.get(section, {}).get(name, [])

    def value(self, section: str, name: str) -> str:
        """Return the value of a directive that occurs once."""
        (value,) = self.all(section, name)
        return value

    def environment(self) -> dict[str, str]:
        """Return the variables of the process."""
        return dict(value.split("=", 1) for value in self.all("Service", "Environment"))


def unit_texts(complete: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each unit file by its path below systemd's directory."""
    files = split_units(render("units.j2", complete))
    return {str(path.relative_to(SYSTEMD)): text for path, text in files.items()}


def units_of(variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Unit]]:
    """Return the plan for these variables of an operator, and its units by their paths."""
    complete = variables_for(variables)
    units = {path: Unit(text) for path, text in unit_texts(complete).items()}
    return complete["__aroundtheworld_plan"], units


class Block:
    """The directives of a block of nginx's configuration."""

    def __init__(self, directives: list[dict[str, Any]]) -> None:
        """Take the directives as crossplane has them."""
        self.directives = directives

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Yield name and arguments of each directive that has no block."""
        for directive in self.directives:
            if "block" not in directive:
                yield directive["directive"], directive["args"]

    def all(self, name: str) -> list[list[str]]:
        """Return the arguments of each directive of this name."""
        return [each["args"] for each in self.directives if each["directive"] == name]

    def blocks(self, name: str) -> dict[tuple[str, ...], Block]:
        """Return the blocks of this name by their arguments, no two of which are the same."""
        blocks = [each for each in self.directives if each["directive"] == name and "block" in each]
        found = {tuple(each["args"]): Block(each["block"]) for each in blocks}
        assert len(found) == len(blocks)
        return found

    def servers(self) -> list[Block]:
        """Return the server blocks."""
        return [Block(each["block"]) for each in self.directives if each["directive"] == "server"]

    def location(self, *match: str) -> Block:
        """Return the location of this match."""
        return self.blocks("location")[match]


def parse_nginx(text: str) -> Block:
    """Return the directives of a configuration of nginx."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        # A site is a part of the http block only.
        parsed = crossplane.parse(
            file.name, single=True, catch_errors=False, check_ctx=False, check_args=False
        )
    return Block(parsed["config"][0]["parsed"])


def site_of(variables: Mapping[str, Any], **host: Any) -> tuple[dict[str, Any], Block, Block]:
    """Return the plan for these variables on such a host, its site, and the site's first server."""
    complete = variables_for(variables, **host)
    site = parse_nginx(render("site.conf.j2", complete))
    plan = complete["__aroundtheworld_plan"]
    servers = serving(site)
    assert len(servers) == len(plan["servers"])
    return plan, site, servers[0]


def serving(site: Block) -> list[Block]:
    """Return the servers of a site that have pools.

    Others lead to them, have nothing for unknown names, or have nginx's own numbers.
    """
    return [each for each in site.servers() if ("~", "//") in each.blocks("location")]
