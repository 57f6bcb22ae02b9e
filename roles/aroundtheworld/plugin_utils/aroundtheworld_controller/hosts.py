"""What about a host keeps a site from being deployed, changed, or taken back to another release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aroundtheworld_controller.variables import BadInputError

REMOVE_DATA = "aroundtheworld_remove_data"


def host_problems(
    host: Mapping[str, Any], name: str, distributions: Sequence[str]
) -> Iterator[str]:
    """Yield what about the host `name` keeps the site from being deployed there."""
    if host["distribution"] not in distributions:
        yield (
            f"{name} runs {host['distribution']!r}, on which the role is not tested; "
            f"allowed: {', '.join(distributions)}."
        )
    yield from filter(None, [host.get("restore_cut_off")])
    yield from host["unfit"]
    yield from host["nginx"]["problems"]
    for taken in host["taken_ports"]:
        yield (
            f"{taken['variable']}: port {taken['port']} on {name} is already taken by "
            f"{taken['process']} (listening on {taken['address']}); stop it, or choose another "
            "port."
        )


def data_problems(host: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield why the data on the host `name` is not where it is to stay when its site is removed."""
    then = f"Then remove the site; with its data it goes at once, by -e {REMOVE_DATA}=true."
    for problem in filter(None, (host.get("restore_cut_off"), host.get("undo_cut_off"))):
        yield f"{name}: {problem} {then}"


def unfinished_problems(host: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield that Debian itself is not whole on the host `name`, on which a run would fail."""
    if names := host["packages_unfinished"]:
        yield (
            f"{name}: {', '.join(names)} are unpacked and not set up. When apt or dpkg is at work "
            "there, wait until it has finished. When an upgrade of Debian was cut off, finish it: "
            "`dpkg --configure -a`, `apt-get --fix-broken install`, `apt full-upgrade`."
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
        release = str(host["good_releases"][0])
    if release not in host["releases"]:
        known = ", ".join(sorted(host["releases"])) or "none"
        raise BadInputError(
            f"aroundtheworld_release: {release!r} is not on {name}; there are: {known}."
        )
    if why := host["broken_environments"].get(host["releases"][release]):
        raise BadInputError(
            f"aroundtheworld_release: {release} cannot run on {name}: {why}. {_instead(host)}"
        )
    return release


def _instead(host: Mapping[str, Any]) -> str:
    """Return what to do when the virtual environment of a release is for another Python."""
    fit = [
        release
        for release in host["good_releases"]
        if host["releases"].get(release)
        and host["releases"][release] not in host["broken_environments"]
    ]
    other = f"; -e aroundtheworld_release={fit[0]} goes to one that starts" if fit else ""
    return (
        "Deploy the revision of the app that it was made from, by `ansible-playbook site.yml`: "
        f"that installs its packages for Python {host['python']['version']}{other}."
    )
