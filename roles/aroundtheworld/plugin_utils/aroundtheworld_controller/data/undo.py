"""Copies of a site's databases: what a host needs to make them, and which to go back to."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aroundtheworld_controller.data.databases import DATABASES, derive_databases
from aroundtheworld_controller.data.program import program
from aroundtheworld_controller.variables import BadInputError

COPY, WITH_DATA = "aroundtheworld_migrate_copy", "aroundtheworld_with_data"


def derive_data(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the plan says of a site's databases; nothing of a site that has none.

    That is C(settings), as the host's program takes them but for how a process is run, and
    C(copied), the names of the databases to copy before a migration.
    """
    if not variables[DATABASES]:
        return {}
    databases = derive_databases(variables)
    return {
        "settings": {
            "site": variables["aroundtheworld_site"],
            "home": variables["aroundtheworld_home"],
            "user": variables["aroundtheworld_user"],
            "databases": databases,
            # Of backups, which this has nothing to do with.
            **{"repository": "", "at": "", "keep": {}},
        },
        "copied": [
            database["name"]
            for database in databases
            if database["kind"] == "sqlite" or variables[COPY]
        ],
    }


def to_copy(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option ``data`` of the module that replaces workers.

    Args:
        data: What `derive_data` returned, and ``process``, how a process of the site is run, as
            lines of a unit; or nothing.
    """
    if not data:
        return {}
    return {
        "settings": {**data["settings"], "process": data["process"]},
        "program": base64.b64encode(program()).decode(),
        "copied": data["copied"],
    }


def copy_to_go_back_to(release: str, host: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the newest copy of the databases from when a release ran.

    Args:
        release: The id of the release.
        host: What the module ``aroundtheworld_host`` observed.
        name: The host's name.

    Raises:
        BadInputError: There is none.
    """
    own = [copy for copy in host["copies"] if copy["release"] == release]
    if own:
        return dict(own[-1])
    known = ", ".join(f"{each['release']} ({each['time']})" for each in host["copies"]) or "none"
    raise BadInputError(
        f"{WITH_DATA}: there is no copy of the databases from when {release} ran on {name}, so "
        f"nobody can go back to its data. Releases that have one: {known}. A backup may have it: "
        "docs/data.md."
    )


def about_copy(copy: Mapping[str, Any], databases: list[str], name: str) -> str:
    """Return what going back to a copy means, before it is done.

    Args:
        copy: What `copy_to_go_back_to` returned.
        databases: The names of all databases of the site.
        name: The host's name.
    """
    kept = sorted({*databases} - {*copy["databases"]})
    without = f" There is no copy of {', '.join(kept)}: that stays as it is." if kept else ""
    return (
        f"{name}: goes back to release {copy['release']} and the data of {copy['time']}. The site "
        f"is closed meanwhile, and loses the changes of {minutes(copy['age'])}.{without}"
    )


def minutes(seconds: float) -> str:
    """Return a time in minutes, rounded up."""
    count = int(-(-seconds // 60))
    return f"{count} minute{'' if count == 1 else 's'}"
