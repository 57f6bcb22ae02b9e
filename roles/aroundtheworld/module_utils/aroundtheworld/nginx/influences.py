"""What of the host's nginx a site is subject to: promises that do not hold because of a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible.module_utils.aroundtheworld.nginx.neighbours import Neighbourhood

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


def warnings(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield which promise does not hold because of a line of others, each a sentence."""
    if listen := neighbourhood.dual_stack:
        yield (
            f"nginx: {listen.directive} ({listen.directive.where}) has IPv4 and IPv6 in one "
            "socket, so this site listens there too. Run again when that line changes or goes."
        )
    yield from _http(neighbourhood)
    yield from _too_little(neighbourhood)
    yield from _main(neighbourhood)
    yield from _addresses(neighbourhood)
    if not neighbourhood.deployed and not neighbourhood.intent.every_name:
        pushed_out = map(neighbourhood.pushed_out, neighbourhood.addresses)
        if first := next(filter(None, pushed_out), None):
            yield (
                f"nginx: visitors who name no known host got the server in "
                f"{first.directive.where} until now, and get this site. Write "
                "'default_server' behind its listen if they should stay there."
            )


def _http(neighbourhood: Neighbourhood) -> Iterator[str]:
    foreign = [
        directive
        for directive in neighbourhood.neighbours.http
        if directive.name in OF_HTTP and directive.args != ("off",)
    ]
    if foreign:
        places = ", ".join(f"{directive.name} ({directive.where})" for directive in foreign[:6])
        more = f" and {len(foreign) - 6} more" if len(foreign) > 6 else ""
        yield f"nginx: what its http block says holds for this site too: {places}{more}."


def _too_little(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield what the first server of an address allows less of than a site needs."""
    intent, others = neighbourhood.intent, neighbourhood.others
    if intent.every_name:
        return
    seen = set()
    for address in neighbourhood.addresses:
        first = neighbourhood.first(address)
        if first is None or neighbourhood.pushed_out(address):
            continue
        for name, least in OF_THE_FIRST.items():
            everywhere = (directive for directive in others.http if directive.name == name)
            directive = first.directive_named(name) or next(everywhere, None)
            if directive is None or directive.where in seen:
                continue
            if 0 <= quantity(directive.args[-1]) < least:
                seen.add(directive.where)
                yield (
                    f"nginx: {directive} ({directive.where}) is the first server's on port "
                    f"{intent.port}, so it holds for requests to this site until nginx "
                    f"knows the host name; at least {least} would be usual."
                )


def _main(neighbourhood: Neighbourhood) -> Iterator[str]:
    for directive in neighbourhood.whole.top:
        if directive.name == "worker_shutdown_timeout":
            yield (
                f"nginx: {directive} ({directive.where}) cuts requests and WebSockets off that "
                "take longer, whenever nginx is reloaded."
            )
        for inner in directive.block or () if directive.name == "events" else ():
            if inner.name == "worker_connections" and int(inner.args[0]) < CONNECTIONS:
                yield f"nginx: {inner} ({inner.where}) is little; a visitor takes two."


def _addresses(neighbourhood: Neighbourhood) -> Iterator[str]:
    """Yield addresses of the host that neighbours have for themselves."""
    private = [
        listen.directive
        for _, listen in neighbourhood.on_port()
        if not listen.wildcard and not re.match(r"127\.|\[::1\]|localhost", listen.address)
    ]
    if private:
        places = ", ".join(f"{directive} ({directive.where})" for directive in private[:4])
        yield f"nginx: visitors of these addresses do not reach this site: {places}."


def quantity(text: str) -> float:
    """Return bytes or seconds, as nginx writes them; -1 if it is neither."""
    found = re.fullmatch(r"(\d+)(ms|[kmgs])?", text.lower())
    if not found:
        return -1
    factors = {"k": 1024, "m": 1024**2, "g": 1024**3, "ms": 0.001}
    return int(found[1]) * factors.get(found[2] or "", 1)
