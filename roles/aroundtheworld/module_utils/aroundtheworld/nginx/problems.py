"""Why a site cannot be served by the host's nginx, or not without harm to its neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible.module_utils.aroundtheworld.nginx import site
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    HTTP2_DIRECTIVE,
    Run,
    versions,
)
from ansible.module_utils.aroundtheworld.nginx.neighbours import Neighbourhood
from ansible.module_utils.aroundtheworld.nginx.site import Place
from ansible.module_utils.aroundtheworld.nginx.syntax import Directive

# What an option of `listen` has nginx expect from all who connect to that address and port.
PROTOCOLS = {
    "ssl": "TLS",
    "proxy_protocol": "the PROXY protocol",
    "http2": "HTTP/2",
}
TLS_PROTOCOLS = ("ssl", "http2")  # those that visitors of HTTPS speak


def problems(run: Run, neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield what has to change before the site can be served, each a sentence."""
    if neighbourhood.place is None:
        yield site.no_place(neighbourhood.whole)
    else:
        yield from _occupied(neighbourhood, neighbourhood.place)
    for directive in neighbourhood.whole.top:
        if (directive.name, directive.args) == ("master_process", ("off",)):
            yield (
                f"nginx: it cannot be reloaded with {directive} ({directive.where}); remove that "
                "line."
            )
    yield from _port(run, neighbourhood)
    yield from _names(neighbourhood)
    yield from _first(neighbourhood)
    yield from _namespace(neighbourhood)
    yield from _long_names(neighbourhood)


def _occupied(neighbourhood: Neighbourhood, place: Place) -> Iterator[str]:
    for path in filter(None, (place.file, place.link)):
        if path.is_symlink() or not path.exists():
            continue
        if path not in neighbourhood.listed and not site.is_own(path, neighbourhood.intent.site):
            yield (
                f"aroundtheworld_site: {path} exists and is not from this role; choose another "
                "name for the site, or move that file."
            )
            return


def _port(run: Run, neighbourhood: Neighbourhood) -> Iterator[str]:
    intent = neighbourhood.intent
    port, variable = intent.port, intent.variable
    for listen in neighbourhood.others.streams:
        if listen.port == port:
            yield (
                f"{variable}: {port} is taken in nginx by {listen.directive} "
                f"({listen.directive.where}), which is not HTTP; choose another port."
            )
    for _, listen in neighbourhood.on_port():
        if listen.address not in neighbourhood.addresses:
            continue
        if intent.proxy_protocol:
            yield (
                f"{variable}: port {port} is in nginx already, because of {listen.directive} "
                f"({listen.directive.where}), and the PROXY protocol would be expected there too; "
                "choose another port."
            )
            continue
        if intent.tls and "ssl" not in listen.options:
            yield (
                f"{variable}: with this site on port {port}, nginx would expect TLS from the "
                f"visitors of {listen.directive} ({listen.directive.where}) too; choose another "
                "port, or add 'ssl' there."
            )
        for option, protocol in PROTOCOLS.items():
            if option not in listen.options or (intent.tls and option in TLS_PROTOCOLS):
                continue
            if option == "http2" and versions(run)[0] >= HTTP2_DIRECTIVE:
                continue
            yield (
                f"{variable}: on port {port}, nginx expects {protocol} from the "
                f"visitors of all sites, because of {listen.directive} ({listen.directive.where}); "
                "choose another port, or remove that option."
            )


def _names(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield names of the site that a neighbour answers to."""
    intent = neighbourhood.intent
    names, seen = spelled_out(intent.names), set()
    anybody = site.host_name("_", intent.site)
    for server, _ in neighbourhood.on_port():
        where = server.directive.where
        for name in sorted(names & spelled_out(server.names)):
            if (name, where) not in seen:
                seen.add((name, where))
                yield (
                    f"aroundtheworld_server_names: the server in {where} already answers to "
                    f"{name!r} on port {intent.port}; remove the name there, or choose other "
                    f"names or another {intent.variable}."
                )
        for name in server.names if intent.every_name else ():
            if not name.startswith("~") or (name, where) in seen:
                continue
            if neighbourhood.others.server_for(anybody, "*", intent.port) == server:
                seen.add((name, where))
                yield (
                    f"aroundtheworld_server_names: '_' is every name, but the server in {where} "
                    f"already answers to names that match {name!r}; remove that name there, or set "
                    "the site's host names."
                )


def _first(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield what keeps the site from being the first of an address, or others from staying."""
    intent = neighbourhood.intent
    seen = set()
    for server, listen in neighbourhood.on_port() if intent.every_name else ():
        flagged = bool({"default_server", "default"} & {*listen.options})
        where = server.directive.where
        if not flagged or listen.address not in neighbourhood.addresses or where in seen:
            continue
        seen.add(where)
        welcome = neighbourhood.nginx / "sites-enabled" / "default"
        remedy = (
            "; it is Debian's, so aroundtheworld_remove_default_site: true switches it off"
            if server.directive.file == str(welcome) and neighbourhood.default_is_on
            else ""
        )
        yield (
            f"aroundtheworld_server_names: '_' makes this the default server of port "
            f"{intent.port}, but that is the server in {where}, because of {listen.directive} "
            f"({listen.directive.where}); set the site's host names, or remove "
            f"'default_server' there{remedy}."
        )
    for address in neighbourhood.addresses:
        first = neighbourhood.pushed_out(address)
        if first and first.directive.where not in seen and not any(map(is_name, first.names)):
            seen.add(first.directive.where)
            yield (
                f"aroundtheworld_server_names: the server in {first.directive.where} has no name, "
                f"so visitors reach it only while it is the first on port {intent.port}, and this "
                "site would come before it; "
                + (
                    "set the site's host names, or give that server a server_name."
                    if intent.every_name
                    else "add 'default_server' to its listen, and reload nginx."
                )
            )


def _namespace(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield names in nginx that the site would have too; nginx accepts some of them twice."""
    name_of_site = neighbourhood.intent.site
    for directive in neighbourhood.neighbours.http:
        names = [name for name in defined_names(directive) if name.startswith(f"{name_of_site}_")]
        if (directive.name, directive.args[:1]) == ("log_format", (name_of_site,)):
            names.append(name_of_site)
        for name in names:
            yield (
                f"aroundtheworld_site: {directive.name} {name!r} ({directive.where}) starts like "
                "the names that the site would have in nginx; choose another name for the site."
            )


def _long_names(neighbourhood: Neighbourhood) -> Iterator[str]:
    port = neighbourhood.intent.port
    sizes = [
        directive
        for directive in neighbourhood.others.http
        if directive.name == "server_names_hash_bucket_size"
    ]
    # Of a server that is alone on its port, nginx does not look the name up.
    shared = any(
        listen.port == port for server in neighbourhood.others.servers for listen in server.listens
    )
    size = int(sizes[0].args[0]) if sizes and sizes[0].args[0].isdigit() else 64
    for name in neighbourhood.intent.names:
        plain = name.removeprefix("*.")
        need = 16 + (len(plain) + 2 + 7) // 8 * 8  # ngx_hash_init() on 64 bits
        if plain == name and need > size and shared:
            where = sizes[0].where if sizes else "nginx's default"
            yield (
                f"aroundtheworld_server_names: {name!r} is too long for this nginx; "
                f"set 'server_names_hash_bucket_size {need + 63 & ~63};' in the http block of "
                f"{neighbourhood.whole.main} (it is {size}, from {where})."
            )


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
        return [
            argument[5:].split(":")[0]
            for argument in directive.args
            if argument.startswith("zone=")
        ]
    return []
