"""What of the host's nginx a site is subject to: promises that do not hold because of a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible.module_utils.aroundtheworld.nginx.neighbours import Neighbourhood
from ansible.module_utils.aroundtheworld.nginx.syntax import Directive

# What the role leaves to the host: who may visit it, and what no server block can undo.
OF_HTTP = (
    "allow", "deny", "auth_basic", "auth_request", "limit_req", "limit_conn",
    "add_trailer", "sub_filter", "add_before_body", "add_after_body",
    "proxy_method", "proxy_set_body",
)  # fmt: skip

# What a site has in place of the http block's, and the variable for that.
REPLACED = {
    "add_header": "aroundtheworld_headers",
    "set_real_ip_from": "aroundtheworld_trusted_proxies",
}

# What the first server of an address decides about requests whose host name is not known yet:
# directive to the smallest value that does as well as nginx's default.
OF_THE_FIRST = {"large_client_header_buffers": 8192, "client_header_timeout": 10}
CONNECTIONS = 512  # nginx's default; a visitor whose request is at a worker takes two


def warnings(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield which promise does not hold because of a line of others, each a sentence."""
    if listen := neighbourhood.dual_stack:
        yield (
            f"nginx: {listen.directive} ({listen.directive.where}) has IPv4 and IPv6 on one "
            "socket, so this site listens there too. Run again after that line has changed."
        )
    yield from _http(neighbourhood)
    yield from _too_little(neighbourhood)
    yield from _main(neighbourhood)
    yield from _addresses(neighbourhood)
    if not neighbourhood.deployed and not neighbourhood.intent.every_name:
        pushed_out = map(neighbourhood.pushed_out, neighbourhood.addresses)
        if first := next(filter(None, pushed_out), None):
            yield (
                f"nginx: visitors without a known host name will get this site. Until now they got "
                f"the server in {first.directive.where}; add 'default_server' to its listen to "
                "keep that."
            )


def _http(neighbourhood: Neighbourhood) -> Iterator[str]:
    http = neighbourhood.neighbours.http
    for name, variable in REPLACED.items():
        replaced = [
            directive
            for directive in http
            if directive.name == name
            and not {name, f"{name} {directive.args[0].lower()}"} & {*neighbourhood.intent.decided}
        ]
        if replaced:
            yield (
                f"nginx: {_listed(replaced)} of its http block does not apply to this site; set "
                f"{variable} instead."
            )
    foreign = [
        directive for directive in http if directive.name in OF_HTTP and directive.args != ("off",)
    ]
    if foreign:
        yield f"nginx: these lines of its http block affect this site too: {_listed(foreign)}."


def _listed(directives: list[Directive]) -> str:
    places = ", ".join(f"{directive.name} ({directive.where})" for directive in directives[:6])
    return places + (f" and {len(directives) - 6} more" if len(directives) > 6 else "")


def _too_little(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield what the first server of an address allows less of than a site needs."""
    intent, others = neighbourhood.intent, neighbourhood.others
    if intent.every_name:
        return
    seen = set()
    for address in neighbourhood.addresses:
        first = neighbourhood.first(address)
        if first is None or neighbourhood.is_free(address) or neighbourhood.pushed_out(address):
            continue
        for name, least in OF_THE_FIRST.items():
            everywhere = (directive for directive in others.http if directive.name == name)
            directive = first.directive_named(name) or next(everywhere, None)
            if directive is None or directive.where in seen:
                continue
            if 0 <= quantity(directive.args[-1]) < least:
                seen.add(directive.where)
                yield (
                    f"nginx: {directive} ({directive.where}) is in the first server of port "
                    f"{intent.port}, so it applies to requests for this site until nginx knows "
                    f"their host name; set at least {least}."
                )


def _main(neighbourhood: Neighbourhood) -> Iterator[str]:
    for directive in neighbourhood.whole.top:
        if directive.name == "worker_shutdown_timeout":
            yield (
                f"nginx: with {directive} ({directive.where}), each reload of nginx ends requests "
                "and WebSockets that take longer."
            )
        for inner in directive.block or () if directive.name == "events" else ():
            if inner.name == "worker_connections" and int(inner.args[0]) < CONNECTIONS:
                yield f"nginx: {inner} ({inner.where}) is low; each visitor takes two."


def _addresses(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield addresses of the host that neighbours have for themselves."""
    private = [
        listen.directive
        for _, listen in neighbourhood.on_port()
        if not listen.wildcard and not re.match(r"127\.|\[::1\]|localhost", listen.address)
    ]
    if private:
        places = ", ".join(f"{directive} ({directive.where})" for directive in private[:4])
        yield f"nginx: visitors of these addresses do not get this site: {places}."


def quantity(text: str) -> float:
    """Return bytes or seconds, as nginx writes them; -1 if it is neither."""
    found = re.fullmatch(r"(\d+)(ms|[kmgs])?", text.lower())
    if not found:
        return -1
    factors = {"k": 1024, "m": 1024**2, "g": 1024**3, "ms": 0.001}
    return int(found[1]) * factors.get(found[2] or "", 1)
