"""Where and when a site is backed up: what a type cannot say, and what the host needs to know."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.commands import command_problem, unit_text
from aroundtheworld_controller.data.databases import derive_databases

REPOSITORY = "aroundtheworld_backup_repository"
AT, KEEP = "aroundtheworld_backup_at", "aroundtheworld_backup_keep"
PASSWORD, ON_FAILURE = "aroundtheworld_backup_password", "aroundtheworld_backup_on_failure"
ENVIRONMENT = "aroundtheworld_backup_environment"
DRILL_AT = "aroundtheworld_drill_at"
TIMES = (AT, DRILL_AT)
PERIODS = ("last", "daily", "weekly", "monthly")

DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
# What systemd's calendar takes of it (systemd.time(7)), and nobody can misread.
CALENDAR = re.compile(rf"(?:{DAY}(?:,{DAY})* )?(?:\*|[01]\d|2[0-3]):[0-5]\d")
# As restic writes them, with a user and a port or without: sftp:user@host:/path, sftp://host:22//path.
SFTP = re.compile(
    r"sftp:(?://(?P<host>\w[\w.@-]*|(?:\w[\w.-]*@)?\[[0-9a-f:]+\])(?::(?P<port>\d{1,5}))?/"
    r"|(?P<alias>\w[\w.@-]*):)(?P<path>[^\x00-\x1f\x7f\s'\"\\]+)"
)
S3 = re.compile(
    r"s3:https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
    r"(?:/[^\x00-\x1f\x7f\s'\"\\?#]*)?"
)
# What restic gets for S3, by the names that it knows; the first two it needs.
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
VARIABLES = (*CREDENTIALS, "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
DIRECTORY = re.compile(r"(?:local:)?(?P<path>/[^\x00-\x1f\x7f]+)")


def directory_of(repository: str) -> str:
    """Return the directory on the host that a repository is, or an empty text."""
    match = DIRECTORY.fullmatch(repository)
    return posixpath.normpath(match["path"]) if match else ""


def repository_of(variables: Mapping[str, Any]) -> str:
    """Return where the site's backups are, as restic takes it."""
    return variables[REPOSITORY] or f"/var/backups/{variables['aroundtheworld_site']}"


def backup_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the variables of backups."""
    repository, home = variables[REPOSITORY], variables["aroundtheworld_home"]
    directory = directory_of(repository)
    others = (SFTP, S3)
    if repository and not directory and not any(kind.fullmatch(repository) for kind in others):
        yield (
            f"{REPOSITORY}: {repository!r} is not allowed; it must be a directory of the host, as "
            "in '/mnt/backups/shop', on another machine, as in 'sftp:shop@backup.example.org:"
            "/srv/shop', or in S3, as in 's3:https://s3.example.org/bucket/shop'. A password is "
            f"not part of it: root on the host needs a key for that machine, S3 {ENVIRONMENT}."
        )
    elif home and f"{directory}/".startswith(f"{home}/"):
        yield (
            f"{REPOSITORY}: {repository!r} is not allowed; it is in the site's home {home}, and a "
            "backup would contain itself. It must be a directory elsewhere, best on another disk."
        )
    for name in TIMES:
        at = variables[name]
        if at and not CALENDAR.fullmatch(at):
            hint = " Put it in quotes: YAML makes a number of 23:15." if at.isdecimal() else ""
            yield (
                f"{name}: {at!r} is not allowed; it must be a time of day, of a day of the week if "
                f"you like, as in '03:15', '*:40' (each hour) or 'Mon,Thu 03:15'.{hint}"
            )
    keep = variables[KEEP]
    for period, count in keep.items():
        if not 0 <= count <= 10000:
            yield (
                f"{KEEP}.{period}: {count!r} is not allowed; it must be how many to keep, a whole "
                "number from 0."
            )
    if not any(keep.values()):
        yield (
            f"{KEEP}: {keep!r} is not allowed; no backup would be kept. Say how many, as in "
            "{last: 10, daily: 7, weekly: 4, monthly: 6}."
        )
    password = variables[PASSWORD]
    if password and (len(password) < 16 or re.search(r"[\x00-\x1f\x7f]", password)):
        yield (
            f"{PASSWORD}: this value is not allowed; it must be one line of at least 16 "
            "characters, or empty for the controller to make one."
        )
    yield from _environment_problems(variables)
    yield from command_problem(variables[ON_FAILURE], ON_FAILURE)


def _environment_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the credentials of a server; no value is shown."""
    environment = variables[ENVIRONMENT]
    for name, value in environment.items():
        if name not in VARIABLES:
            yield (
                f"{ENVIRONMENT}.{name}: there is no such variable; allowed are "
                f"{', '.join(VARIABLES)}."
            )
        elif not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
            yield (
                f"{ENVIRONMENT}.{name}: this value is not allowed; it must be a text without "
                "spaces, in quotes if it is a number."
            )
    if S3.fullmatch(variables[REPOSITORY]):
        for name in CREDENTIALS:
            if name not in environment:
                yield (
                    f"{ENVIRONMENT}.{name}: is missing; {REPOSITORY} is in S3, which takes nobody "
                    "without. Give it from a vault."
                )


def server_variables(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return what restic needs in its environment to reach the repository."""
    return dict(variables[ENVIRONMENT]) if S3.fullmatch(variables[REPOSITORY]) else {}


def makes_backups(variables: Mapping[str, Any]) -> bool:
    """Tell whether the host does something for backups by itself."""
    return any(variables[name] for name in TIMES)


def derive_backups(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the host has to know of the site's backups, without password and program."""
    return {
        "repository": repository_of(variables),
        "at": variables[AT],
        "drill_at": variables[DRILL_AT],
        "keep": {period: variables[KEEP].get(period, 0) for period in PERIODS},
        "databases": derive_databases(variables),
        "on_failure": unit_text(variables[ON_FAILURE]),
    }
