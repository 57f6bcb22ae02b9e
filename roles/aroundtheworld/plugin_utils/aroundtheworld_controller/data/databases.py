"""A site's databases: what a type cannot say of them, and what follows for its host."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

DATABASES = "aroundtheworld_databases"
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


def database_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the list of databases."""
    names: set[str] = set()
    places: dict[str, str] = {}
    for index, database in enumerate(variables[DATABASES]):
        where, name = f"{DATABASES}[{index}]", database["name"]
        if not NAME.fullmatch(name):
            yield (
                f"{where}.name: {name!r} is not allowed; it begins with a lower-case letter and "
                "goes on with at most 30 lower-case letters, digits and '_'."
            )
        elif name in names:
            yield f"{where}.name: {name!r} is not allowed; it is there twice."
        names.add(name)
        key = "path" if database["kind"] == "sqlite" else "secret"
        problems = list(_place_problems(database, key, where, variables))
        yield from problems
        if problems:
            continue
        place = f"{key} {_absolute(database[key], variables) if key == 'path' else database[key]}"
        if place in places:
            yield (
                f"{where}.{key}: {database[key]!r} is not allowed; it is that of the database "
                f"{places[place]!r} as well."
            )
        places[place] = name


def _place_problems(
    database: Mapping[str, Any], key: str, where: str, variables: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what is wrong with where a database is."""
    kind, other = database["kind"], {"path": "secret", "secret": "path"}[key]
    if database.get(other):
        yield (
            f"{where}.{other}: {database[other]!r} is not allowed for the kind {kind}; it has a "
            f"{key}."
        )
    elif not database.get(key):
        yield f"{where}.{key}: is missing; a database of the kind {kind} has one."
    elif key == "path":
        path = database["path"]
        shared = f"{variables['aroundtheworld_home']}/shared"
        inside = _absolute(path, variables).startswith(f"{shared}/")
        if not inside or path.endswith("/") or re.search(r"[\x00-\x1f\x7f]", path):
            yield (
                f"{where}.path: {path!r} is not allowed; it must be a file below {shared}, where "
                "the app keeps its data, as in 'shop.db'."
            )
    elif database["secret"] not in variables["aroundtheworld_secrets"]:
        secrets = ", ".join(map(str, variables["aroundtheworld_secrets"])) or "none"
        yield (
            f"{where}.secret: {database['secret']!r} is not allowed; it must be the name of a "
            f"secret in aroundtheworld_secrets that holds the database's URL. There: {secrets}."
        )
    elif variables["aroundtheworld_secrets"][database["secret"]] == "generate":
        yield (
            f"{where}.secret: {database['secret']!r} is not allowed; that secret is generated, so "
            "it is no URL of a database."
        )


def _absolute(path: str, variables: Mapping[str, Any]) -> str:
    return posixpath.normpath(posixpath.join(variables["aroundtheworld_home"], "shared", path))


def derive_databases(variables: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the databases as the host knows them: C(name), C(kind), and C(place).

    The place is the absolute path of a file, or the name of the secret with the URL.
    """
    return [
        {
            "name": database["name"],
            "kind": database["kind"],
            "place": _absolute(database["path"], variables)
            if database["kind"] == "sqlite"
            else database["secret"],
        }
        for database in variables[DATABASES]
    ]
