"""Put a dump of a PostgreSQL database in the place of what is in it, in one transaction.

``pg_restore --clean`` removes what the dump has and nothing else, so a table of a later migration
that refers to one of these would be in its way. Here everything goes first that the user of the URL
owns, in the same transaction: either all of that happens, or nothing.

What an administrator has made stays: schemas and extensions that are there, and what belongs to
these. Everything that is put back belongs to the user of the URL.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from ansible.module_utils.aroundtheworld.data.postgresql import (
    DumpError,
    environment_for,
    run_client,
)

PSQL = ("psql", "-X", "-q", "-w")
REFUSED = 3
LOCK_SECONDS = 60  # nobody should have the database open by now
MINE = "pg_has_role(current_user, {owner}, 'USAGE')"
OURS = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
# All that a schema has and no extension brought, each by class and number.
INSIDE = f"""
  select d.classid, d.objid from pg_depend d join pg_namespace n on n.oid = d.refobjid
   where d.refclassid = 'pg_namespace'::regclass and d.deptype = 'n' and {OURS}
     and d.classid <> 'pg_extension'::regclass
     and not exists (select from pg_depend e where e.deptype = 'e'
                      and (e.classid, e.objid) = (d.classid, d.objid))
"""  # noqa: S608 - no value from outside
OWNERS = """
  case o.classid
    when 'pg_class'::regclass then (select relowner from pg_class where oid = o.objid)
    when 'pg_proc'::regclass then (select proowner from pg_proc where oid = o.objid)
    when 'pg_type'::regclass then (select typowner from pg_type where oid = o.objid)
  end
"""
OWNED = f"select o.classid, o.objid, {OWNERS} as owner from ({INSIDE}) o"  # noqa: S608
STRANGERS = f"""
  select format('%s %s of %s', i.type, i.identity, pg_get_userbyid(o.owner))
    from ({OWNED}) o, pg_identify_object(o.classid, o.objid, 0) i
   where o.owner is not null and not {MINE.format(owner="o.owner")} limit 1
"""  # noqa: S608
SCHEMAS = f"""
  select n.nspname, has_schema_privilege(n.oid, 'CREATE')
    from pg_namespace n where {OURS}
"""  # noqa: S608
# What its user may remove of what is not in a schema, each with the word for it.
LATER = f"""
  select 'extension', extname from pg_extension
   where oid >= 16384 and {MINE.format(owner="extowner")}
  union all
  select 'schema', nspname from pg_namespace n
   where {OURS} and nspname <> 'public' and {MINE.format(owner="nspowner")}
"""  # noqa: S608
EMPTY = f"""
do $$
declare
  thing record;
begin
  -- One may have gone with another, so each is looked at again. Whoever owns a schema might remove
  -- what is another's in it.
  for thing in select * from ({OWNED}) o where owner is null or {MINE.format(owner="owner")} loop
    declare
      what record := pg_identify_object(thing.classid, thing.objid, 0);
    begin
      if what.type = 'composite type' then
        what.type := 'type';
      end if;
      if what.identity is not null then
        execute format('drop %s if exists %s cascade', what.type, what.identity);
      end if;
    end;
  end loop;
  for thing in select oid from pg_largeobject_metadata where {MINE.format(owner="lomowner")} loop
    perform lo_unlink(thing.oid);
  end loop;
end
$$;
"""  # noqa: S608


class UnchangedError(DumpError):  # type: ignore[misc]
    """A dump was not put in the place of a database, which is as it was for certain."""


# Line of a table of contents: number, class, number of the object, what it is, schema, name, owner.
ENTRY = re.compile(r"(\d+); (\d+) (\d+) (.*)")


def problem_with(variables: Mapping[str, str], dump: Path) -> str:
    """Return why a dump cannot be put in the place of a database, or an empty text.

    Nothing is changed.

    Args:
        variables: What leads to the database.
        dump: The dump.

    Raises:
        DumpError: The database, or the dump, cannot be read.
    """
    contents = run_client(["pg_restore", "--list", str(dump)], {})
    server = int(_ask(variables, "show server_version_num")[0]) // 10000
    client = _major(run_client(["psql", "--version"], {}))
    if client < server:
        return (
            f"this host's PostgreSQL programs are of version {client} and the server is {server}; "
            f"install postgresql-client-{server} on the host"
        )
    made = re.search(r"^;\s+Dumped from database version: (\d+)", contents, re.MULTILINE)
    if made and int(made[1]) > server:
        return f"the copy is of PostgreSQL {made[1]}, and the server is {server}, which is older"
    if _ask(variables, "show transaction_read_only")[0] == "on":
        return "the server takes no changes; it may be a stand-by of another one"
    if strangers := _ask(variables, STRANGERS):
        return (
            f"its user owns not all of it ({strangers[0]}), so it cannot be put back as a whole; "
            "on the server, give that to the user of the URL (alter … owner to), or that role "
            "(grant … to)"
        )
    schemas = dict(line.split("|", 1) for line in _ask(variables, SCHEMAS))
    for schema in sorted(_schemas(contents)):
        if schemas.get(schema, "t") != "t":
            return f"its user may not create anything in the schema {schema}"
    if _schemas(contents) - schemas.keys() and not _may_create_schemas(variables):
        return "its user may not make the schemas of the copy"
    return ""


def put(variables: Mapping[str, str], dump: Path) -> list[str]:
    """Put a dump in the place of what is in a database, whole or not at all.

    Returns:
        What the operator should know, each a sentence.

    Raises:
        UnchangedError: The database is as it was.
        DumpError: It is not known whether it is.
    """
    contents = run_client(["pg_restore", "--list", str(dump)], {})
    extensions = set(_ask(variables, "select extname from pg_extension"))
    schemas = {line.split("|", 1)[0] for line in _ask(variables, SCHEMAS)}
    with tempfile.TemporaryDirectory() as work:
        things, grants = Path(work, "things"), Path(work, "grants")
        things.write_text("\n".join(_things(contents, extensions, schemas)))
        grants.write_text("\n".join(_grants(contents)))
        _replace(variables, dump, things, _remove(contents, _ask(variables, LATER)))
        try:
            notes = list(_put_grants(variables, dump, grants)) if grants.stat().st_size else []
        except DumpError as error:
            notes = [f"The rights of other roles could not be given back: {error}."]
    # Without it, the server would plan its first queries without knowing anything.
    with contextlib.suppress(DumpError):
        run_client([*PSQL, "-c", "analyze"], variables)
    return notes


def _remove(contents: str, later: Sequence[str]) -> str:
    """Return statements that remove what there is, but for what an administrator made.

    Args:
        contents: The dump's table of contents.
        later: What its user owns that is not in a schema, as `LATER` finds it.
    """
    there = {
        (match[1].lower(), match[2])
        for _, what in _entries(contents)
        if (match := re.match(r"(EXTENSION|SCHEMA) - (\S+)", what))
    }
    found = (line.split("|", 1) for line in later)
    gone = [(kind, name.replace('"', '""')) for kind, name in found if (kind, name) not in there]
    extensions, schemas = (
        [name for its_kind, name in gone if its_kind == kind] for kind in ("extension", "schema")
    )
    statements = [EMPTY]
    statements += [f'drop extension if exists "{name}" cascade;' for name in extensions]
    # Something of an administrator's may be in one.
    statements += [
        f'savepoint schema;\n\\set ON_ERROR_STOP 0\ndrop schema if exists "{name}";\n'
        "\\if :ERROR\nrollback to schema;\n\\endif\n\\set ON_ERROR_STOP 1\n"
        for name in schemas
    ]
    return "\n".join(statements)


def _replace(variables: Mapping[str, str], dump: Path, things: Path, remove: str) -> None:
    """Remove what there is, and make what the dump has, in one transaction."""
    command = ["pg_restore", "--no-owner", "--no-privileges", f"--use-list={things}", "--file=-"]
    pipe, told, is_sent = subprocess.PIPE, b"", False
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603 - no shell
            [*command, str(dump)], env=environment_for({}), stdout=pipe, stderr=errors
        ) as script,
        subprocess.Popen(  # noqa: S603 - no shell
            [*PSQL, "--set=ON_ERROR_STOP=1", "--file=-"],
            env=environment_for({**variables, "PGOPTIONS": _quiet(variables)}),
            stdin=pipe,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        ) as server,
    ):
        assert script.stdout and server.stdin  # noqa: S101,PT018 - for the types
        # Only the last line makes it count: whatever ends one of these processes, or this one,
        # leaves the database as it was.
        with contextlib.suppress(BrokenPipeError):  # the server has refused something
            begin = f"begin; set local lock_timeout = '{LOCK_SECONDS}s';\n{remove}\n"
            server.stdin.write(begin.encode())
            _pass_on(script.stdout, server.stdin)
            if script.wait() == 0:
                is_sent = True
                server.stdin.write(b"\ncommit;\n")
        with contextlib.suppress(BrokenPipeError):
            server.stdin.close()
        script.stdout.close()
        if server.wait() or script.wait():
            errors.seek(0)
            told = errors.read(4000) or b"no reason told"
    if told:
        lines = told.decode(errors="replace").strip().splitlines()[:5]
        # Whoever loses the server at that moment does not know what came of it; psql ends with 3
        # when the server has refused something.
        is_known = not is_sent or server.returncode == REFUSED
        problem = f"it could not be put back: {' '.join(lines)}"
        raise UnchangedError(problem) if is_known else DumpError(problem)


def _pass_on(script: IO[bytes], to: IO[bytes]) -> None:
    """Write a script to another process, without what the server may be too old for.

    pg_restore begins with settings of its own version.
    """
    for line in script:
        if not line.startswith(b"SET transaction_timeout "):
            to.write(line)
        if line.strip() and not line.startswith((b"SET ", b"--", b"SELECT ", b"\\restrict")):
            break
    while block := script.read(1 << 20):
        to.write(block)


def _put_grants(variables: Mapping[str, str], dump: Path, grants: Path) -> Iterator[str]:
    """Give others the rights that they had; some of these roles may not be there."""
    command = ["pg_restore", "--no-owner", f"--use-list={grants}", "--file=-", str(dump)]
    script = run_client(command, {})
    done = subprocess.run(  # noqa: S603 - no shell
        [*PSQL, "--file=-"],
        env=environment_for({**variables, "PGOPTIONS": _quiet(variables)}),
        input=script,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    failed = re.findall(r"ERROR: +(.*)", done.stderr)
    if failed or done.returncode:
        yield (
            f"Some rights of other roles could not be given back: "
            f"{'; '.join(dict.fromkeys(failed[:5])) or 'psql failed'}."
        )


def _things(contents: str, extensions: set[str], schemas: set[str]) -> Iterator[str]:
    """Yield the lines of a table of contents that make something which is not there."""
    for line, what in _entries(contents):
        kind, _, rest = what.partition(" ")
        about = re.match(r"COMMENT - (EXTENSION|SCHEMA) ", what)
        name = rest.split(" ")[1] if rest.startswith("- ") else ""
        if kind == "ACL" or what.startswith("DEFAULT ACL ") or about:
            continue
        if (kind == "EXTENSION" and name in extensions) or (kind == "SCHEMA" and name in schemas):
            continue
        yield line


def _grants(contents: str) -> Iterator[str]:
    for line, what in _entries(contents):
        if what.startswith(("ACL ", "DEFAULT ACL ")) and not what.startswith("ACL - SCHEMA public"):
            yield line


def _schemas(contents: str) -> set[str]:
    """Return the schemas that a dump has something in."""
    found = (re.match(r"(?:TABLE|VIEW|FUNCTION|SEQUENCE|TYPE) (\S+) ", what)
             for _, what in _entries(contents))  # fmt: skip
    return {match[1] for match in found if match and match[1] not in ("DATA", "ATTACH")}


def _entries(contents: str) -> Iterator[tuple[str, str]]:
    for line in contents.splitlines():
        if match := ENTRY.fullmatch(line):
            yield line, match[4]


def _may_create_schemas(variables: Mapping[str, str]) -> bool:
    return _ask(variables, "select has_database_privilege(current_database(), 'CREATE')") == ["t"]


def _ask(variables: Mapping[str, str], query: str) -> list[str]:
    """Return the lines of what a query finds."""
    command = [*PSQL, "-A", "-t", "-c", query]
    return [line for line in run_client(command, variables).splitlines() if line]


def _quiet(variables: Mapping[str, str]) -> str:
    """Return the options of a URL, with one more that keeps notices to the server."""
    return f"{variables.get('PGOPTIONS', '')} -c client_min_messages=warning".strip()


def _major(text: str) -> int:
    """Return the first number of a program's version."""
    match = re.search(r"(\d+)", text)
    return int(match[1]) if match else 0
