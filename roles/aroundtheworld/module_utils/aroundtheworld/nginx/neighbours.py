"""The host's nginx beside a site: its neighbours, and what nginx settles for all of them.

A neighbour is a server of this nginx that no site of the role has. Some things nginx settles for
an address and a port before it knows a host name, so one server decides them for all others there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.claims import HTTP_PORT, read_claims
from ansible.module_utils.aroundtheworld.nginx import site
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Configuration,
    Listen,
    Run,
    Server,
)


@dataclass(frozen=True)
class Intent:
    """What a site will have in nginx."""

    site: str
    port: int
    names: tuple[str, ...]
    ipv6: bool
    remove_default: bool = True
    decided: tuple[str, ...] = ()  # what of `influences.REPLACED` it decides about itself
    tls: bool = False
    proxy_protocol: bool = False
    variable: str = HTTP_PORT  # the port's

    @property
    def every_name(self) -> bool:
        """Tell whether the site answers to every name, and so is the first of its address."""
        return "_" in self.names


class Neighbourhood:
    """The host's nginx without the site, and what it would be with the site."""

    def __init__(
        self, run: Run, intent: Intent, configuration: Configuration, nginx: Path, etc: Path
    ) -> None:
        """Part what nginx reads now by whose it is; `run` runs commands."""
        self.intent, self.nginx, self.whole = intent, nginx, configuration
        self.listed = belongings.files(intent.site, root=etc.parent)
        self.place = site.find_place(configuration, intent.site, nginx)
        self.default_is_on = site.default_is_on(run, nginx)
        sites = {intent.site, *read_claims(etc)}
        listed = {name for name in configuration.files if Path(name) in self.listed}
        of_the_role = listed | {name for name in configuration.files if _site_of(name) in sites}
        of_the_site = listed | {
            name for name in configuration.files if _site_of(name) == intent.site
        }
        default: set[str] = set()
        if intent.remove_default and self.default_is_on:
            default = {str(nginx / "sites-enabled" / "default")}
        self.deployed = bool(of_the_site)
        # All but the site; and of those, what no site of the role has.
        self.others = configuration.without(of_the_site | default)
        self.neighbours = configuration.without(of_the_role | default)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses on which the site listens."""
        if self.dual_stack:
            return ("[::]",)
        return ("*", "[::]") if self.intent.ipv6 else ("*",)

    @cached_property
    def dual_stack(self) -> Listen | None:
        """Return the neighbour's `listen` that has all of IPv4 and IPv6 in one socket, if any."""
        return next(
            (listen for _, listen in self.on_port() if "ipv6only=off" in listen.options), None
        )

    def on_port(self) -> Iterator[tuple[Server, Listen]]:
        """Yield the neighbours on the site's port, and where they listen."""
        for server in self.neighbours.servers:
            for listen in server.listens:
                if listen.port == self.intent.port:
                    yield server, listen

    def is_free(self, address: str) -> bool:
        """Tell whether nobody serves unknown names on an address of the site's port.

        Other sites of the role that listen there serve their own names.
        """
        flagged = self.others.default_server(address, self.intent.port)
        has_default = flagged is not None and any(
            {"default_server", "default"} & {*listen.options}
            for listen in flagged.listens
            if (listen.address, listen.port) == (address, self.intent.port)
        )
        return not has_default and all(listen.address != address for _, listen in self.on_port())

    def first(self, address: str) -> Server | None:
        """Return the first server of an address on the site's port, as long as the site is not."""
        return self.others.default_server(address, self.intent.port)

    def pushed_out(self, address: str) -> Server | None:
        """Return the first server of an address if it would not be the first beside the site."""
        first = self.first(address)
        if first is None or self.place is None or self.is_free(address):
            return None
        flag = " default_server" if self.intent.every_name else ""
        listens = "".join(f"listen {each}:{self.intent.port}{flag};" for each in self.addresses)
        names = " ".join(self.intent.names)
        text = f"server {{ {listens} server_name {names}; }}"
        with_site = self.others.having(str(self.place.read), text)
        then = with_site.default_server(address, self.intent.port)
        return first if then and then.directive.file == str(self.place.read) else None


def _site_of(name: str) -> str:
    """Return the site of the role whose file this is, or an empty text."""
    path = Path(name)
    return path.stem if site.is_own(path, path.stem) else ""
