"""What about a host keeps a site from being deployed, changed, or taken back to another release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aroundtheworld_controller.variables import BadInputError


def host_problems(
    host: Mapping[str, Any], name: str, distributions: Sequence[str]
) -> Iterator[str]:
    """Yield what about the host `name` keeps the site from being deployed there."""
    if host["distribution"] not in distributions:
        yield (
            f"{name} runs {host['distribution']!r}, on which the role is not tested; "
            f"allowed: {', '.join(distributions)}."
        )
    yield from host["unfit"]
    yield from host["nginx"]["problems"]
    for taken in host["taken_ports"]:
        yield (
            f"{taken['variable']}: port {taken['port']} on {name} is already taken by "
            f"{taken['process']} (listening on {taken['address']}); stop it, or choose another "
            "port."
        )


def release_to_go_back_to(release: str, host: Mapping[str, Any], name: str) -> str:
    """Return the id of the release on host `name` that `release` names; raises `BadInputError`."""
    if release == "previous":
        if not host["good_releases"]:
            raise BadInputError(
                f"aroundtheworld_release: there is no release on {name} to go back to; none but "
                f"{host['current'] or 'the first one'} ran well and is still on the host. Deploy a "
                "good release instead."
            )
        return str(host["good_releases"][0])
    if release not in host["releases"]:
        known = ", ".join(sorted(host["releases"])) or "none"
        raise BadInputError(
            f"aroundtheworld_release: {release!r} is not on {name}; there are: {known}."
        )
    return release
