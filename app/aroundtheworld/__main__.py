"""Commands of the application, for an operator and for development."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import BinaryIO

import sqlalchemy as sa

from aroundtheworld import findings, player_file, world
from aroundtheworld.app import make_app
from aroundtheworld.clock import now_ms
from aroundtheworld.config import Config, ConfigError, database_url
from aroundtheworld.db import player_data, players
from aroundtheworld.db.engine import Database
from aroundtheworld.db.fit import misfits
from aroundtheworld.db.migrate import migrate, what_to_migrate
from aroundtheworld.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH, Passwords
from aroundtheworld.simulate import Simulation, simulate


class CommandError(Exception):
    """A command fails; its text says why."""


@contextmanager
def database_to_write() -> Iterator[Database]:
    """Have the database open; raises `CommandError` when it cannot be used."""
    database = Database(database_url())
    try:
        yield database
    except sa.exc.OperationalError as error:
        raise CommandError(
            f"The database cannot be used: {error.orig}. Was it migrated?"
        ) from error
    finally:
        database.close()


def check() -> list[str]:
    """Check the configuration, the database's schema, and what is in it; return the findings."""
    app = make_app()
    try:
        return app.database.read(misfits) or findings.of_data(app.database, app.config.photos)
    except sa.exc.DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error.orig}") from error
    finally:
        app.database.close()


def schema() -> list[str]:
    """Return what keeps this release from running on the database as it is."""
    database = Database(database_url())
    try:
        return database.read(misfits)
    except sa.exc.DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error.orig}") from error
    finally:
        database.close()


def tell(found: list[str], fine: str) -> None:
    """Print what was found, one a line, and end with status 1; or that all is well."""
    print("\n".join(found) or fine)
    if found:
        sys.exit(1)


def export_player(entered: str) -> str:
    """Return the data of the player of that name as a file."""
    name = valid_name(entered)
    database = Database(database_url())
    try:
        data = database.snapshot(player_data.collect, name)
    except sa.exc.OperationalError as error:
        raise CommandError(f"The database cannot be read: {error.orig}") from error
    finally:
        database.close()
    if data is None:
        raise CommandError(f"There is no player {name}; a guest has no name yet")
    return player_file.to_text(data)


def import_player(file: BinaryIO, entered: str) -> str:
    """Add the player of a file, all of it or nothing, under a name of its own if one is entered."""
    if file.isatty():
        raise CommandError(
            "A terminal is no file: give it on the standard input, as in `import <ada.json`"
        )
    data = player_file.read(file.read(player_file.LARGEST_FILE + 1), now_ms())
    if entered:
        data["player"]["name"] = valid_name(entered)
    with database_to_write() as database:
        try:
            played = database.write(player_data.add, data)
        except player_data.CannotAddError as error:
            raise CommandError(str(error)) from error
        except sa.exc.IntegrityError as error:
            raise CommandError(
                "Another import came first; nothing was imported. Try again"
            ) from error
    return f"The player {data['player']['name']} was added, with {played:,} rounds."


def write_out(text: str) -> None:
    """Write a file to the standard output."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise CommandError(f"The file could not be written: {error.strerror}") from error


def valid_name(entered: str) -> str:
    """Return a player's name as it is stored."""
    name = players.normalised_name(entered)
    if name is None:
        raise CommandError(f"{entered!r} cannot be a name; allowed are {players.NAME_RULE}")
    return name


def create_admin(entered: str) -> str:
    """Make an administrator of that name, with a password from the terminal or stdin."""
    name = valid_name(entered)
    with database_to_write() as database:
        password_hash = Passwords().hashed(read_password())
        existing = database.read(players.by_name, name)
        if existing is not None:
            database.write(players.make_admin, existing.id, password_hash)
            return f"{name} is an administrator, with a new password."
        database.write(players.add_admin, name, password_hash)
    return f"The administrator {name} was added."


def read_password() -> str:
    """Return a new password, entered twice on a terminal, or else the first line of stdin."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if getpass.getpass("The same again: ") != password:
            raise CommandError("The two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not MINIMUM_LENGTH <= len(password) <= MAXIMUM_LENGTH:
        raise CommandError(
            f"The password has {len(password)} characters;"
            f" {MINIMUM_LENGTH} to {MAXIMUM_LENGTH} are allowed"
        )
    return password


def fill(count: int, seed: int) -> str:
    """Add `count` simulated players, with a progress bar on a terminal."""

    def show(done: int) -> None:
        if sys.stderr.isatty():
            bar = "#" * (30 * done // count)
            end = "\n" if done == count else ""
            print(
                f"\r[{bar:30}] {done:,} of {count:,} players", end=end, file=sys.stderr, flush=True
            )

    with database_to_write() as database:
        simulation = Simulation(world.load(), Random(seed), now_ms())  # noqa: S311
        played = simulate(database, simulation, count, show)
    return f"{count:,} players and {played:,} rounds were added."


def positive(text: str) -> int:
    """Return the whole number from 1 that `text` says."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def prepare_for_development(directory: Path) -> None:
    """Keep a database and a secret in `directory`, and let the environment say so."""
    directory.mkdir(parents=True, exist_ok=True)
    secret_file = directory / "cookie_secret"
    if not secret_file.exists():
        secret_file.touch(mode=0o600)
        secret_file.write_text(secrets.token_urlsafe(48))
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{directory.resolve()}/aroundtheworld.db")
    os.environ.setdefault("COOKIE_SECRET_FILE", str(secret_file))
    print(migrate(database_url()))


async def serve_for_development(port: int) -> None:
    """Serve on 127.0.0.1 until interrupted."""
    make_app(Config.from_environment()).listen(port, address="127.0.0.1")
    print(f"Serving on http://127.0.0.1:{port}/ with DATABASE_URL={database_url()}")
    await asyncio.Event().wait()


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m aroundtheworld", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    bring = commands.add_parser(
        "migrate", help="bring the database to this release's schema and world"
    )
    bring.add_argument("--check", action="store_true", help="only say what that would change")
    commands.add_parser("check", help="say what is wrong with configuration, database and photos")
    commands.add_parser("schema", help="say whether this release can run on the database as it is")
    out = commands.add_parser("export", help="write one player's data to the standard output")
    out.add_argument("name", metavar="NAME", help=players.NAME_RULE)
    into = commands.add_parser("import", help="add a player that `export` wrote, from stdin")
    into.add_argument("--name", default="", help="in place of the name in the file")
    add = commands.add_parser("create-admin", help="add an administrator, or set the password")
    add.add_argument("name", metavar="NAME", help=players.NAME_RULE)
    fill_up = commands.add_parser("simulate", help="add players with an invented history")
    fill_up.add_argument("--players", type=positive, required=True, metavar="N")
    fill_up.add_argument("--seed", type=int, default=1, help="of chance (default: %(default)s)")
    dev = commands.add_parser("dev", help="serve on 127.0.0.1 with a database of its own")
    dev.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    dev.add_argument(
        "--directory",
        type=Path,
        default=Path("~/.local/state/aroundtheworld-dev").expanduser(),
        help="where database and secret are kept (default: %(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    """Run the command line; end with a sentence if that fails."""
    arguments = parse_arguments()
    try:
        match arguments.command:
            case "migrate":
                print((what_to_migrate if arguments.check else migrate)(database_url()))
            case "check":
                tell(check(), "The configuration is complete, and the data fit together.")
            case "schema":
                tell(schema(), "This release can run on the database.")
            case "export":
                write_out(export_player(arguments.name))
            case "import":
                print(import_player(sys.stdin.buffer, arguments.name))
            case "create-admin":
                print(create_admin(arguments.name))
            case "simulate":
                print(fill(arguments.players, arguments.seed))
            case "dev":
                prepare_for_development(arguments.directory)
                asyncio.run(serve_for_development(arguments.port))
    except (CommandError, ConfigError, player_file.FileRefused) as error:
        sys.exit(f"{error}.")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
