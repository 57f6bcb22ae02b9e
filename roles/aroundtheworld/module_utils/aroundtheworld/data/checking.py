"""Copies of databases of a backup, looked through as the site's user in the workers' sandbox.

This process gets what to do as JSON, and prints what it found as JSON:

- ``problems``: what is damaged, each a sentence.
- ``notes``: what the operator should know, each a sentence.
- ``databases``: of each, ``name``, ``how`` (``restored``, or only ``read``), ``tables``, ``rows``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data import postgresql
from ansible.module_utils.aroundtheworld.data.copying import (
    CopyError,
    Database,
    copy_name,
    credential,
)

ASK = ("psql", "-X", "-A", "-t", "-w", "-c")
MAY_CREATE = "select rolcreatedb or rolsuper from pg_roles where rolname = current_user"
# Text is sorted there as in the database itself, so that its indexes are built as there.
CREATE = """
select format('create database %I template template0 encoding %L lc_collate %L lc_ctype %L',
              '{name}', pg_encoding_to_char(encoding), datcollate, datctype)
  from pg_database where datname = current_database()
"""
TABLES = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n
    on n.oid = c.relnamespace
 where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
COPY = re.compile(rb"COPY (.+?) \(.*\) FROM stdin;$")
# What only an administrator may do in a new database, and who restores in place need not.
NOT_ALLOWED = re.compile(r"permission denied to create extension|must be superuser", re.IGNORECASE)


def check_all(task: Mapping[str, Any]) -> dict[str, Any]:
    """Look through copies of databases.

    Args:
        task: ``databases``, each with ``name``, ``kind`` and ``place``; ``source``, the directory
            with their copies; ``scratch``, whose scratch databases these are; and ``tidy``, whether
            only to remove scratch databases.
    """
    problems, notes, found = [], [], []
    for database in task["databases"]:
        copy = Path(task["source"], copy_name(database))
        scratch = scratch_name(task["scratch"], database)
        try:
            if task.get("tidy"):
                if database["kind"] == "postgresql":
                    drop_scratch(scratch, postgresql.connection(credential(database)))
            elif not copy.is_file():
                raise CopyError("there is none")
            elif database["kind"] == "sqlite":
                tables, more = check_sqlite(copy)
                found.append(_entry(database, "restored", tables))
                notes += [f"{database['name']}: {note}" for note in more]
            else:
                how, tables, note = check_postgresql(database, copy, scratch)
                found.append(_entry(database, how, tables))
                notes += [f"{database['name']}: {note}"] if note else []
        except (CopyError, postgresql.DumpError, OSError, sqlite3.Error) as error:
            problems.append(f"The copy of {database['name']!r} cannot be used: {error}.")
    return {"problems": problems, "notes": notes, "databases": found}


def scratch_name(whose: str, database: Database) -> str:
    """Return the name of the scratch database for a copy: nobody else's, and always the same."""
    digest = hashlib.sha256(f"{whose}/{database['name']}".encode()).hexdigest()
    return f"drill_{digest[:24]}"


def _entry(database: Database, how: str, tables: Mapping[str, int]) -> dict[str, Any]:
    rows = sum(tables.values())
    return {"name": database["name"], "how": how, "tables": len(tables), "rows": rows}


# --- SQLite ---------------------------------------------------------------------------------------


def check_sqlite(path: Path) -> tuple[dict[str, int], list[str]]:
    """Return the rows of each table, and what could not be counted; raises `CopyError`."""
    counts: dict[str, int] = {}
    notes = []
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        wrong = [str(row[0]) for row in database.execute("pragma integrity_check(3)")]
        if wrong != ["ok"]:
            raise CopyError(f"SQLite finds it damaged: {'; '.join(wrong)}")
        tables = "select name from sqlite_master where type = 'table' order by name"
        for (name,) in database.execute(tables).fetchall():
            quoted = str(name).replace('"', '""')
            try:
                (count,) = database.execute(f'select count(*) from "{quoted}"').fetchone()  # noqa: S608 - quoted
            except sqlite3.OperationalError as error:  # of an extension that is not here
                notes.append(f"the rows of {name} could not be counted ({error}).")
            else:
                counts[str(name)] = int(count)
    return counts, notes


# --- PostgreSQL -----------------------------------------------------------------------------------


def check_postgresql(
    database: Database, copy: Path, scratch: str
) -> tuple[str, dict[str, int], str]:
    """Restore a dump into a scratch database if the URL's user may make one, else read it through.

    Returns:
        Which of the two, the rows of each table, and why it was not restored.

    Raises:
        CopyError: The dump is damaged.
        postgresql.DumpError: So it is, or the server could not take it.
    """
    postgresql.run_client(["pg_restore", "--list", str(copy)], {})
    try:
        variables = postgresql.connection(credential(database))
        may_create = _ask(MAY_CREATE, variables) == ["t"]
    except (CopyError, postgresql.DumpError) as error:
        return "read", read_through(copy), f"the dump was only read ({error})."
    if not may_create:
        why = "the dump was only read, because the user of its URL may not create a database."
        return "read", read_through(copy), why
    with _scratch_database(scratch, variables) as there:
        flags = ["--no-password", "--exit-on-error", "--no-owner", "--no-acl"]
        try:
            postgresql.run_client(["pg_restore", *flags, f"--dbname={scratch}", str(copy)], there)
        except postgresql.DumpError as error:
            # What comes after it may have rows in it.
            reason = re.sub(r" (?:DETAIL|CONTEXT|HINT|Command was): .*", "", str(error))
            if NOT_ALLOWED.search(reason):
                return "read", read_through(copy), f"the dump was only read ({reason})."
            raise CopyError(reason) from None
        tables = {
            name: int(_ask(f"select count(*) from {name}", there)[0])  # noqa: S608 - quoted
            for name in _ask(TABLES, there)
        }
        return "restored", tables, ""


@contextmanager
def _scratch_database(name: str, variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Have an empty database for a while; yields what leads to it."""
    drop_scratch(name, variables)  # of a drill that was killed
    (create,) = _ask(CREATE.format(name=name), variables)
    _ask(create, variables)
    try:
        yield {**variables, "PGDATABASE": name}
    finally:
        drop_scratch(name, variables)


def drop_scratch(name: str, variables: Mapping[str, str]) -> None:
    """Remove a scratch database, if it is there; raises `postgresql.DumpError`."""
    _ask(f'drop database if exists "{name}" with (force)', variables)


def read_through(copy: Path) -> dict[str, int]:
    """Return the rows of each table of a dump, all of which is read; raises `CopyError`."""
    counts: dict[str, int] = {}
    table = ""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603 - no shell
            ["/usr/bin/pg_restore", "--data-only", "--file=-", str(copy)],
            env=postgresql.environment_for({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as script,
    ):
        assert script.stdout  # noqa: S101 - for the types
        for line in script.stdout:
            if table and line == b"\\.\n":
                table = ""
            elif table:
                counts[table] += 1
            elif match := COPY.match(line):
                table = match[1].decode(errors="replace")
                counts[table] = 0
        if script.wait():
            errors.seek(0)
            told = errors.read(2000).decode(errors="replace").strip()
            raise CopyError(f"its dump cannot be read: {told or f'status {script.returncode}'}")
    return counts


def _ask(query: str, variables: Mapping[str, str]) -> list[str]:
    """Return the lines of what a statement finds; raises `postgresql.DumpError`."""
    return [line for line in postgresql.run_client([*ASK, query], variables).splitlines() if line]


def main() -> None:
    """Do what the standard input says."""
    print(json.dumps(check_all(json.load(sys.stdin))))
