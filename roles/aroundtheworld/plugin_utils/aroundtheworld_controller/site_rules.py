"""What a type cannot say of a site itself: its names and times, its app and what that needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aroundtheworld_controller.environment_rules import VARIABLE
from aroundtheworld_controller.pool_rules import NAME, PATH

HOST_NAME = re.compile(
    r"(?=.{1,253}$)(\*\.)?([A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
# What useradd and systemd both accept.
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
# nginx has names of its own that are these, or begin so and end as a site's variables do.
NGINX_NAMES = (
    *("combined", "http", "limit_conn", "limit_req", "nginx", "proxy", "proxy_protocol"),
    *("realip_remote", "remote", "secure", "sent_http", "server", "upstream", "upstream_cache"),
)
# Without a '-' at the end, by which apt would remove it.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]*[a-z0-9.+]")
MAKE_APP = re.compile(rf"{VARIABLE.pattern}(\.{VARIABLE.pattern})*:{VARIABLE.pattern}")
# The least number of seconds of each.
SECONDS = {
    "aroundtheworld_maintenance_retry_after": 0,
    "aroundtheworld_block_warn": 0,
    "aroundtheworld_lock_wait": 0,
    "aroundtheworld_migrate_timeout": 1,
    "aroundtheworld_migrate_lock_timeout": 0,
    "aroundtheworld_import_timeout": 1,
    "aroundtheworld_header_timeout": 1,
}


def identity_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps a site from being called so, as such a user, at such a place."""
    site, user, home = (variables[f"aroundtheworld_{name}"] for name in ("site", "user", "home"))
    if not NAME.fullmatch(site):
        yield (
            f"aroundtheworld_site: {site!r} is not allowed; it begins with a lower-case letter and "
            "goes on with at most 30 lower-case letters, digits and '_'."
        )
    if not USER_NAME.fullmatch(user):
        yield (
            f"aroundtheworld_user: {user!r} is not allowed; it begins with a lower-case letter or "
            "'_' and goes on with at most 30 lower-case letters, digits, '_' and '-'."
        )
    if site in NGINX_NAMES:
        yield (
            f"aroundtheworld_site: {site!r} is not allowed; nginx has names of its own that begin "
            "with it."
        )
    if not PATH.fullmatch(home) or len(Path(home).parts) < 3 or ".." in Path(home).parts:
        yield (
            f"aroundtheworld_home: {home!r} is not allowed; it must be an absolute path of "
            "letters, digits, '-', '.', '_' and '~', at least two directories deep, as in "
            "'/srv/site'."
        )


def app_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with where the app is made, and with the packages that it needs."""
    make_app = variables["aroundtheworld_make_app"]
    runs = [pool["name"] for pool in variables["aroundtheworld_pools"] if not pool["command"]]
    if not make_app and runs:
        yield (
            "aroundtheworld_make_app: is missing; it says where the app of the pools without a "
            f"command is made ({', '.join(runs)}), as in 'shop.web:make_app'."
        )
    if make_app and not MAKE_APP.fullmatch(make_app):
        yield (
            f"aroundtheworld_make_app: {make_app!r} is not allowed; it "
            "names a module and a callable in it, as in 'shop.web:make_app'."
        )
    for index, name in enumerate(variables["aroundtheworld_packages"]):
        if not PACKAGE.fullmatch(name):
            yield (
                f"aroundtheworld_packages[{index}]: {name!r} is not allowed; it must be the name "
                "of a Debian package alone, as in 'libmagic1'."
            )


def name_problems(names: Sequence[str]) -> Iterator[str]:
    """Yield what keeps `aroundtheworld_server_names` from being names in nginx."""
    if not names:
        yield (
            "aroundtheworld_server_names: [] is not allowed; give host names, or '_' for every "
            "name."
        )
    for index, name in enumerate(names):
        if name != "_" and not HOST_NAME.fullmatch(name):
            yield (
                f"aroundtheworld_server_names[{index}]: {name!r} is not allowed; it must be one "
                "host name of letters, digits, '-' and '.', as in 'www.example.org', or '_' for "
                "every name."
            )
        elif name.lower() in {each.lower() for each in names[:index]}:
            where = f"aroundtheworld_server_names[{index}]"
            yield f"{where}: {name!r} is not allowed; it is there twice."


def time_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield which times are too short, or endless."""
    for key, least in SECONDS.items():
        if not least <= variables[key] < float("inf"):
            yield (
                f"{key}: {variables[key]} is not allowed; it must be a number of seconds from "
                f"{least}."
            )
    if not 1 <= variables["aroundtheworld_log_days"] <= 3660:
        yield (
            f"aroundtheworld_log_days: {variables['aroundtheworld_log_days']} is not allowed; it "
            "must be a number of days from 1 to 3660."
        )
