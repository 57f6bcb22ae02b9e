"""What a deployment or rollback would replace, and the one line that it ends with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aroundtheworld_controller.nginx.origin import origin
from aroundtheworld_controller.output.table import table


def address(claim: Mapping[str, Any], host: str, *, https: bool) -> str:
    """Return where visitors find a site.

    Args:
        claim: What the site has on its host.
        host: What the host is called where the site answers to every name.
        https: Whether nginx has a certificate; a CA may not have given the first yet.
    """
    names = [name for name in claim["server_names"] if name != "_"]
    where = names[0] if names else host
    return f"{origin(where, http=claim['http_port'], https=https and claim['https_port'])}/"


def summary(
    plan: Mapping[str, Any], host: str, seconds: float | None, *, check_mode: bool = False
) -> str:
    """Return which site runs which release, in a line.

    Args:
        plan: What the plan of the run returned.
        host: What the host is called.
        seconds: Since the run began, or None when that is not known.
        check_mode: Whether nothing was changed.
    """
    release, former, count = plan["release"]["id"], plan["current"], len(plan["workers"])
    change = "as before" if former == release else f"before: {former or 'none'}"
    parts = [
        f"release {release} ({change})",
        f"{count} worker{'' if count == 1 else 's'}",
        *([f"{jobs} job{'' if jobs == 1 else 's'}"] if (jobs := len(plan["jobs"])) else []),
        *([] if seconds is None else [f"{seconds:.1f} s"]),
    ]
    if ca := plan["tls"].get("source", {}).get("ca"):
        parts.append(f"with a certificate of {ca}, which browsers do not know")
    verb = "would run" if check_mode else "runs"
    https = plan["tls"]["certificate"] and plan["claim"]["server_names"][0] in plan["redirected"]
    where = address(plan["claim"], host, https=bool(https))
    return f"{plan['claim']['site']} at {where} {verb} {', '.join(parts)}"


def replacements(
    replace: Sequence[Mapping[str, Any]], host: str, release: str, width: int = 0
) -> Iterator[str]:
    """Yield lines about the workers that a run would replace, in their order.

    Args:
        replace: As the module `aroundtheworld_workers` returns them.
        host: The host's name in the inventory.
        release: The id of the release that they would run.
        width: How many characters a line may have; 0 means as many as the terminal has.
    """
    count = f"{len(replace)} worker{'' if len(replace) == 1 else 's'}"
    yield f"{host}: would have {count} run release {release}, in this order:"
    rows = [[worker["worker"], worker["pool"], worker["why"]] for worker in replace]
    yield from table(["worker", "pool", "because"], rows, width)
