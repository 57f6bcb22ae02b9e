"""Directories that nginx serves itself: of the app in its releases, and of data in ``shared/``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from aroundtheworld_controller.pool_rules import path_problems

STATIC = "aroundtheworld_static"
MEDIA = "aroundtheworld_media"
# As a part of nginx's configuration, without quotes.
DIRECTORY = re.compile(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?")


def url_problems(variable: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps the URL of each directory in a variable from being nginx's alone."""
    paths = {
        path.rstrip("/"): pool["name"]
        for pool in variables["aroundtheworld_pools"]
        for path in pool["paths"]
    }
    urls: dict[str, str] = {}
    for name in (STATIC, MEDIA):
        for index, entry in enumerate(variables[name]):
            where, url = f"{name}[{index}]", entry["url"]
            if name == variable:
                problems = list(path_problems(url, f"{where}.url"))
                yield from problems
                if not problems and (not url.endswith("/") or url == "/"):
                    yield (
                        f"{where}.url: {url!r} is not allowed; it must have a slash at both ends "
                        f"and something between them, as in '/{name.rpartition('_')[2]}/'."
                    )
                if (pool := paths.get(url.rstrip("/"))) is not None and url != "/":
                    yield (
                        f"{where}.url: {url!r} is already a path of the pool {pool!r}; either "
                        "nginx serves it or that pool does."
                    )
                for other, its_name in urls.items():
                    if url.startswith(other) or other.startswith(url):
                        yield (
                            f"{where}.url: {url!r} overlaps {other!r} of {its_name}; no two may be "
                            "equal, and none lie within another."
                        )
            urls[url] = where


def static_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps directories of the app from being served by nginx."""
    yield from url_problems(STATIC, variables)
    module = PurePosixPath(variables["aroundtheworld_make_app"].partition(":")[0].replace(".", "/"))
    for index, entry in enumerate(variables[STATIC]):
        where, directory = f"{STATIC}[{index}]", PurePosixPath(entry["directory"])
        if directory.is_absolute() or ".." in directory.parts or not directory.parts:
            yield (
                f"{where}.directory: {entry['directory']!r} is not allowed; it must be a "
                "directory below the app's, and relative to it, as in 'shop/static'."
            )
        elif module.parts and module.is_relative_to(directory):
            yield (
                f"{where}.directory: {entry['directory']!r} is not allowed; it holds the app's "
                "code, which nginx would show to everybody."
            )


def media_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps directories in ``shared/`` from being served by nginx."""
    yield from url_problems(MEDIA, variables)
    for index, entry in enumerate(variables[MEDIA]):
        directory = entry["directory"]
        parts = {*directory.split("/")}
        if not DIRECTORY.fullmatch(directory) or parts & {".", ".."}:
            yield (
                f"{MEDIA}[{index}].directory: {directory!r} is not allowed; it must be a directory "
                "in shared/, of letters, digits, '-', '.', '_' and '~', as in 'uploads'."
            )


def derive_static(
    variables: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the directories of the app, each with the `pool` that answers what it lacks."""
    return [{**entry, "pool": _pool_of(entry["url"], pools)} for entry in variables[STATIC]]


def derive_media(
    variables: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the directories in ``shared/``, each with the `pool` whose visitors may have them."""
    return [
        {
            "internal": False,
            **entry,
            "directory": entry["directory"].rstrip("/"),
            "pool": _pool_of(entry["url"], pools),
        }
        for entry in variables[MEDIA]
    ]


def _pool_of(url: str, pools: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the pool that would serve a URL."""
    return str(
        max(
            (len(path), pool["name"])
            for pool in pools
            for path in pool["paths"]
            if url.startswith(path.rstrip("/") + "/")
        )[1]
    )
