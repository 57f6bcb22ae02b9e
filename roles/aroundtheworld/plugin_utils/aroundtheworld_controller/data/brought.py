"""What the controller brings to a host so that it can make backups."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aroundtheworld_controller.data.backups import (
    ENVIRONMENT,
    PASSWORD,
    derive_backups,
    server_variables,
)
from aroundtheworld_controller.data.password import kept_password, make_password, password_file
from aroundtheworld_controller.data.program import program
from aroundtheworld_controller.variables import BadInputError

# What a backup follows from, by the names of variables.
VARIABLES = (
    *("aroundtheworld_site", "aroundtheworld_home", "aroundtheworld_user"),
    *("aroundtheworld_databases", "aroundtheworld_backup_at", "aroundtheworld_backup_repository"),
    *("aroundtheworld_backup_keep", "aroundtheworld_backup_on_failure"),
    "aroundtheworld_drill_at",
    *(PASSWORD, ENVIRONMENT),
)


def brought(
    variables: Mapping[str, Any], process: Sequence[str], inventory: str | None, *, check_mode: bool
) -> tuple[str, str]:
    """Return what the host gets, as one text that Ansible hides, and what to tell the operator.

    Args:
        variables: Those in `VARIABLES`, as their types.
        process: How a process of the site is run, as lines of a unit.
        inventory: The directory of the inventory.
        check_mode: Whether nothing is to be made on the controller either.

    Raises:
        BadInputError: There is no password, and nowhere to keep one.
    """
    password, news = _password(variables, inventory, check_mode=check_mode)
    derived = derive_backups(variables)
    on_failure = derived.pop("on_failure")
    settings = {
        "site": variables["aroundtheworld_site"],
        "home": variables["aroundtheworld_home"],
        "user": variables["aroundtheworld_user"],
        "process": list(process),
        **derived,
    }
    wanted = {
        "settings": settings,
        "on_failure": on_failure,
        "password": password,
        "environment": server_variables(variables),
        "program": base64.b64encode(program()).decode(),
    }
    return json.dumps(wanted), news


def to_read(variables: Mapping[str, Any], process: Sequence[str], inventory: str | None) -> str:
    """Return what a host needs to read backups and restore them, as one text that Ansible hides.

    Args:
        variables: Those in `VARIABLES`, as their types.
        process: How a process of the site is run, as lines of a unit.
        inventory: The directory of the inventory.

    Raises:
        BadInputError: Nobody knows the password.
    """
    password = variables[PASSWORD]
    if not password:
        path = password_file(inventory)
        if not (password := kept_password(path)):
            raise BadInputError(
                f"{PASSWORD}: is missing, and so is {path}, where the controller keeps the one "
                "that it makes. Nobody can read the backups without it: bring your copy back."
            )
    return brought({**variables, PASSWORD: password}, process, inventory, check_mode=True)[0]


def _password(
    variables: Mapping[str, Any], inventory: str | None, *, check_mode: bool
) -> tuple[str, str]:
    """Return the password, and what to tell about it."""
    if variables[PASSWORD]:
        return variables[PASSWORD], ""
    path = password_file(inventory)
    if password := kept_password(path):
        return password, ""
    if check_mode:
        return "not made yet", f"The password of the backups would be made, in {path}."
    password, made = make_password(path)
    news = (
        f"The password of the backups was made, in {path}. Without it nobody can read them, and "
        "it is nowhere else but on the hosts: keep a copy in another place, and not in git."
    )
    return password, news if made else ""
