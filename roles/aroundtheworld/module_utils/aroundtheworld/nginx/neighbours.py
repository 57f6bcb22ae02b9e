"""What about the host's nginx speaks against a site, and what of it the site is subject to.

A neighbour is a server of this nginx that no site of the role has. Some things nginx settles for
an address and a port before it knows a host name, so one server decides them for all others there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.claims import read_claims
from ansible.module_utils.aroundtheworld.layout import ETC
from ansible.module_utils.aroundtheworld.nginx import site
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Configuration,
    Listen,
    Run,
    Server,
    program,
    read_configuration,
)
from ansible.module_utils.aroundtheworld.nginx.service import UNIT, strangers
from ansible.module_utils.aroundtheworld.nginx.site import NGINX, Place
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError, Directive

# What one `listen` has nginx expect of everybody who connects to its address and port.
PROTOCOLS = {
    "ssl": "TLS",
    "proxy_protocol": "the PROXY protocol",
    "http2": "HTTP/2",
}
HTTP2_BESIDE_HTTP1 = (1, 25, 1)  # the first version that tells the two apart on one port

# What is left to the host, because it is about who may visit it, and what no server can take back.
OF_HTTP = (
    "allow", "deny", "auth_basic", "auth_request", "limit_req", "limit_conn", "set_real_ip_from",
    "add_header", "add_trailer", "sub_filter", "add_before_body", "add_after_body",
    "proxy_method", "proxy_set_body", "proxy_pass_header",
)  # fmt: skip

# What the first server of an address decides about requests whose host name is not known yet:
# directive to the smallest value that does as well as nginx's default.
OF_THE_FIRST = {"large_client_header_buffers": 8192, "client_header_timeout": 10}
CONNECTIONS = 512  # nginx's default; a visitor whose request is at a worker takes two


@dataclass(frozen=True)
class Intent:
    """What a site is going to say in nginx."""

    site: str
    port: int
    names: tuple[str, ...]
    ipv6: bool
    remove_default: bool = True

    @property
    def every_name(self) -> bool:
        """Tell whether the site answers whoever comes, and so is the first of its address."""
        return "_" in self.names


class Neighbourhood:
    """The host's nginx without the site, and what would become of it with the site."""

    def __init__(
        self, run: Run, intent: Intent, configuration: Configuration, nginx: Path, etc: Path
    ) -> None:
        """Take what nginx reads now; `run` runs commands."""
        self.run, self.intent, self.nginx = run, intent, nginx
        self.listed = belongings.files(intent.site, root=etc.parent)
        self.place = site.find_place(configuration, intent.site, nginx)
        self.whole = configuration
        roles = {intent.site, *read_claims(etc)}
        own = {name for name in configuration.files if self._site_of(name) in roles}
        own |= {name for name in configuration.files if Path(name) in self.listed}
        default = {str(nginx / "sites-enabled" / "default")} if (
            intent.remove_default and site.default_is_on(run, nginx)
        ) else set()  # fmt: skip
        mine = {
            name for name in own if Path(name) in self.listed or self._site_of(name) == intent.site
        }
        self.deployed = bool(mine)
        # All but the site; and of those, what no site of the role has.
        self.others = configuration.without(mine | default)
        self.neighbours = configuration.without(own | default)

    def _site_of(self, name: str) -> str:
        """Return the site of the role whose file this is, or an empty text."""
        path = Path(name)
        return path.stem if site.is_own(path, path.stem) else ""

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses on which the site listens."""
        if self.dual_stack:
            return ("[::]",)
        return ("*", "[::]") if self.intent.ipv6 else ("*",)

    @cached_property
    def dual_stack(self) -> Listen | None:
        """Return the neighbour's `listen` that has all of IPv4 and IPv6 in one socket, if any."""
        return next((one for _, one in self.on_port() if "ipv6only=off" in one.options), None)

    def on_port(self) -> Iterator[tuple[Server, Listen]]:
        """Yield the servers of others on the site's port, and where they listen."""
        for server in self.neighbours.servers:
            for listen in server.listens:
                if listen.port == self.intent.port:
                    yield server, listen

    # --- What speaks against the site ---

    def problems(self) -> Iterator[str]:
        """Yield why the site cannot be served, or not without harm to others, each a sentence."""
        if self.place is None:
            yield site.no_place(self.whole)
        else:
            yield from self._occupied(self.place)
        for one in self.whole.top:
            if (one.name, one.args) == ("master_process", ("off",)):
                yield f"nginx: {one} ({one.where}) keeps it from being reloaded; take it out."
        yield from self._ports()
        yield from self._names()
        yield from self._first()
        yield from self._namespace()
        yield from self._long_names()

    def _occupied(self, place: Place) -> Iterator[str]:
        for path in filter(None, (place.file, place.link)):
            if path.is_symlink() or not path.exists():
                continue
            if path not in self.listed and not site.is_own(path, self.intent.site):
                yield (
                    f"aroundtheworld_site: {path} is there and no site's of this role; give the "
                    "site another name, or move that file."
                )
                return

    def _ports(self) -> Iterator[str]:
        port = self.intent.port
        for listen in self.others.streams:
            if listen.port == port:
                yield (
                    f"aroundtheworld_http_port: {port} is taken in nginx by {listen.directive} "
                    f"({listen.directive.where}), which is not for HTTP; choose another."
                )
        for _, listen in self.on_port():
            for option, protocol in PROTOCOLS.items():
                if option not in listen.options or listen.address not in self.addresses:
                    continue
                if option == "http2" and self._version() >= HTTP2_BESIDE_HTTP1:
                    continue
                yield (
                    f"aroundtheworld_http_port: on {port}, {listen.directive} "
                    f"({listen.directive.where}) has nginx expect {protocol} from the visitors of "
                    "all sites; choose another port, or take it out there."
                )

    def _version(self) -> tuple[int, ...]:
        _, out, error = self.run([program() or "nginx", "-v"])
        found = re.search(r"/(\d+(?:\.\d+)*)", out + error)
        return tuple(int(part) for part in found[1].split(".")) if found else ()

    def _names(self) -> Iterator[str]:
        mine, seen = spelled_out(self.intent.names), set()
        for server, _ in self.on_port():
            at = server.directive.where
            for name in sorted(mine & spelled_out(server.names)):
                if (name, at) not in seen:
                    seen.add((name, at))
                    yield (
                        f"aroundtheworld_server_names: {name!r} on port {self.intent.port} is "
                        f"answered by the server in {at}; take it out there, or give other names "
                        "or another aroundtheworld_http_port."
                    )
            for name in server.names if self.intent.every_name else ():
                anybody = site.host_name("_", self.intent.site)
                if name.startswith("~") and self.others.server_for(
                    anybody, "*", self.intent.port
                ) == server and (name, at) not in seen:  # fmt: skip
                    seen.add((name, at))
                    yield (
                        f"aroundtheworld_server_names: '_' is for every name, but the server in "
                        f"{at} answers those that fit {name!r}; take it out there, or give names."
                    )

    def _first(self) -> Iterator[str]:
        """Yield what keeps the site from being the first of an address, or others from staying."""
        seen = set()
        for server, listen in self.on_port() if self.intent.every_name else ():
            flagged = bool({"default_server", "default"} & {*listen.options})
            at = server.directive.where
            if not flagged or listen.address not in self.addresses or at in seen:
                continue
            seen.add(at)
            welcome = self.nginx / "sites-enabled" / "default"
            remedy = (
                "; it is Debian's, so aroundtheworld_remove_default_site: true switches it off"
                if server.directive.file == str(welcome)
                and site.default_is_on(self.run, self.nginx)
                else ""
            )
            yield (
                f"aroundtheworld_server_names: '_' makes this the default server of port "
                f"{self.intent.port}, which the server in {at} is, by {listen.directive} "
                f"({listen.directive.where}); give the site's host names, or take "
                f"'default_server' out there{remedy}."
            )
        for address in self.addresses:
            first = self._pushed_out(address)
            if first and first.directive.where not in seen and not any(map(is_name, first.names)):
                seen.add(first.directive.where)
                yield (
                    f"aroundtheworld_server_names: the server in {first.directive.where} has no "
                    f"name that a visitor could ask for, so it is reached as the first on port "
                    f"{self.intent.port} only, which this site would become; "
                    + (
                        "give the site's host names, or give that server a server_name."
                        if self.intent.every_name
                        else "write 'default_server' behind its listen, and reload nginx."
                    )
                )

    def _pushed_out(self, address: str) -> Server | None:
        """Return who is the first of an address until now and would not be beside the site."""
        first = self.others.default_server(address, self.intent.port)
        if first is None or self.place is None:
            return None
        flag = " default_server" if self.intent.every_name else ""
        listens = "".join(f"listen {one}:{self.intent.port}{flag};" for one in self.addresses)
        names = " ".join(self.intent.names)
        text = f"server {{ {listens} server_name {names}; }}"
        after = self.others.having(str(self.place.read), text)
        then = after.default_server(address, self.intent.port)
        return first if then and then.directive.file == str(self.place.read) else None

    def _namespace(self) -> Iterator[str]:
        """Yield names in nginx that the site would have too; some of them nginx mixes up."""
        prefix = f"{self.intent.site}_"
        for one in self.neighbours.http:
            found = [name for name in defined_names(one) if name.startswith(prefix)]
            if (one.name, one.args[:1]) == ("log_format", (self.intent.site,)):
                found.append(self.intent.site)
            for name in found:
                yield (
                    f"aroundtheworld_site: {one.name} {name!r} ({one.where}) begins as the names "
                    "of the site in nginx would; call the site otherwise."
                )

    def _long_names(self) -> Iterator[str]:
        said = [one for one in self.others.http if one.name == "server_names_hash_bucket_size"]
        # Of a server that is alone on its port, nginx does not look the name up.
        shared = any(
            listen.port == self.intent.port
            for server in self.others.servers
            for listen in server.listens
        )
        size = int(said[0].args[0]) if said and said[0].args[0].isdigit() else 64
        for name in self.intent.names:
            plain = name.removeprefix("*.")
            need = 16 + (len(plain) + 2 + 7) // 8 * 8  # ngx_hash_init() on 64 bits
            if plain == name and need > size and shared:
                where = said[0].where if said else "nginx's default"
                yield (
                    f"aroundtheworld_server_names: {name!r} is longer than this nginx can have; "
                    f"set 'server_names_hash_bucket_size {need + 63 & ~63};' in the http block of "
                    f"{self.whole.main} (it is {size}, by {where})."
                )

    # --- What the site is subject to ---

    def warnings(self) -> Iterator[str]:
        """Yield which promise does not hold because of something that others say, one a line."""
        if one := self.dual_stack:
            yield (
                f"nginx: {one.directive} ({one.directive.where}) has IPv4 and IPv6 in one socket, "
                "so this site listens there too. Run again when that line changes or goes."
            )
        foreign = [
            one for one in self.neighbours.http if one.name in OF_HTTP and one.args != ("off",)
        ]
        if foreign:
            places = ", ".join(f"{one.name} ({one.where})" for one in foreign[:6])
            more = f" and {len(foreign) - 6} more" if len(foreign) > 6 else ""
            yield f"nginx: what its http block says holds for this site too: {places}{more}."
        yield from self._too_little()
        yield from self._main()
        private = [
            one.directive
            for _, one in self.on_port()
            if not one.wildcard and not re.match(r"127\.|\[::1\]|localhost", one.address)
        ]
        if private:
            places = ", ".join(f"{one} ({one.where})" for one in private[:4])
            yield f"nginx: visitors of these addresses do not reach this site: {places}."
        if not self.deployed and not self.intent.every_name:
            first = next(filter(None, map(self._pushed_out, self.addresses)), None)
            if first:
                yield (
                    f"nginx: visitors who name no known host got the server in "
                    f"{first.directive.where} until now, and get this site. Write "
                    "'default_server' behind its listen if they should stay there."
                )

    def _too_little(self) -> Iterator[str]:
        if self.intent.every_name:
            return
        seen = set()
        for address in self.addresses:
            first = self.others.default_server(address, self.intent.port)
            if first is None or self._pushed_out(address):
                continue
            for name, least in OF_THE_FIRST.items():
                one = first.say(name) or next(
                    (one for one in self.others.http if one.name == name), None
                )
                if one and one.where not in seen and 0 <= quantity(one.args[-1]) < least:
                    seen.add(one.where)
                    yield (
                        f"nginx: {one} ({one.where}) is the first server's on port "
                        f"{self.intent.port}, so it holds for requests to this site until nginx "
                        f"knows the host name; at least {least} would be usual."
                    )

    def _main(self) -> Iterator[str]:
        for one in self.whole.top:
            if one.name == "worker_shutdown_timeout":
                yield (
                    f"nginx: {one} ({one.where}) cuts requests and WebSockets off that take "
                    "longer, whenever nginx is reloaded."
                )
            for inner in one.block or () if one.name == "events" else ():
                if inner.name == "worker_connections" and int(inner.args[0]) < CONNECTIONS:
                    yield f"nginx: {inner} ({inner.where}) is little; a visitor takes two."


def spelled_out(names: tuple[str, ...]) -> set[str]:
    """Return the names that a visitor can ask for; ``.x`` is short for ``x`` and ``*.x``."""
    found: set[str] = set()
    for name in names:
        found |= {name[1:], f"*{name}"} if name.startswith(".") else {name}
    return {name.lower() for name in found if is_name(name)}


def is_name(name: str) -> bool:
    """Tell whether a server's name is one that a visitor's request can have."""
    return name.startswith("~") or bool(re.search(r"[A-Za-z0-9]", name))


def defined_names(directive: Directive) -> list[str]:
    """Return the names by which other directives would know this one, without their ``$``."""
    if directive.name in ("upstream", "log_format"):
        return list(directive.args[:1])
    if directive.name in ("map", "geo", "split_clients"):
        return [name.removeprefix("$") for name in directive.args[-1:]]
    if directive.name in ("limit_conn_zone", "limit_req_zone"):
        return [one[5:].split(":")[0] for one in directive.args if one.startswith("zone=")]
    return []


def quantity(text: str) -> float:
    """Return bytes or seconds, as nginx writes them; -1 if it is neither."""
    found = re.fullmatch(r"(\d+)(ms|[kmgs])?", text.lower())
    if not found:
        return -1
    factors = {"k": 1024, "m": 1024**2, "g": 1024**3, "ms": 0.001}
    return int(found[1]) * factors.get(found[2] or "", 1)


def _stranger(process: int) -> str:
    return (
        f"aroundtheworld_http_port: it is taken by an nginx that nginx.service did not start "
        f"(process {process}); stop that one, or choose another port."
    )


def examine(run: Run, intent: Intent, nginx: Path = NGINX, etc: Path = ETC) -> dict[str, Any]:
    """Return what a plan has to know about the host's nginx.

    That is `there`, whether it is, `problems` and `warnings`, each sentences, and `dual_stack`,
    whether the site has to share one socket for IPv4 and IPv6.
    """
    result: dict[str, Any] = {
        "there": bool(program()),
        "problems": [],
        "warnings": [],
        "dual_stack": False,
    }
    if not program():
        return result
    loaded = run(["systemctl", "show", UNIT, "--property=LoadState", "--value"])[1].strip()
    if loaded in ("not-found", "masked"):
        result["problems"] = [
            f"nginx: {program()} is there, but systemd has {UNIT} as {loaded!r}, by which it is "
            "started and reloaded; mend that, or remove that nginx to have Debian's installed."
        ]
        return result
    try:
        configuration = read_configuration(run)
    except ConfigurationError as broken:
        # A site whose run was cut off is for this run to mend.
        if f"/{intent.site}.conf:" not in str(broken):
            result["problems"] = [
                f"nginx: what is configured now is broken already: {broken}. Mend that first; "
                "'nginx -t' says when it is."
            ]
        return result
    neighbourhood = Neighbourhood(run, intent, configuration, nginx, etc)
    result["problems"] = [*neighbourhood.problems(), *map(_stranger, strangers(intent.port))]
    result["warnings"] = list(neighbourhood.warnings())
    result["dual_stack"] = neighbourhood.dual_stack is not None
    return result
