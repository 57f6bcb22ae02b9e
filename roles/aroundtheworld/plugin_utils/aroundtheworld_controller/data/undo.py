"""What a host needs to copy a site's databases before a migration."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aroundtheworld_controller.data.databases import DATABASES, derive_databases
from aroundtheworld_controller.data.program import program

COPY = "aroundtheworld_migrate_copy"


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
