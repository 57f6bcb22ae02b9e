"""What the tests of backups share."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from testinfra.host import Host

from tests.waiting import until

HOME = "/var/lib/tornado/aroundtheworld"
SHARED = f"{HOME}/shared"
STAGING = f"{HOME}/backup/staging"
REPOSITORY = "/var/backups/aroundtheworld"
SERVICE = "aroundtheworld-backup.service"


class Site:
    """A site with its backups."""

    def __init__(self, host: Host, http: str) -> None:
        """Take the host, and where the site is from here."""
        self.host, self.http = host, http

    def restic(self, *words: str) -> str:
        """Return what restic says of the repository."""
        options = ["--no-cache", "-r", REPOSITORY, "--password-file"]
        path = "/etc/aroundtheworld/backup/password"
        return str(self.host.check_output(shlex.join(["restic", *options, path, *words])))

    def back_up(self) -> None:
        """Make a backup as the timer does."""
        self.host.check_output(f"systemctl start {SERVICE}")

    def have_one(self) -> None:
        """Have a backup, if there is none."""
        if self.host.run(f"test -e {REPOSITORY}/config").rc or not self.snapshots():
            self.back_up()

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the site's snapshots."""
        found: list[dict[str, Any]] = json.loads(self.restic("snapshots", "--json"))
        return found

    def files(self) -> set[str]:
        """Return the paths in the last snapshot."""
        return set(self.restic("ls", "latest").splitlines())

    def state(self) -> dict[str, Any]:
        """Return how the last backup went."""
        text = self.host.check_output(f"cat {HOME}/backup/state.json")
        state: dict[str, Any] = json.loads(text)
        return state

    def restored(self, query: str, kind: str = "game.sqlite") -> list[str]:
        """Return what a query finds in the copy of the game's database."""
        dump = f"restic --no-cache -r {REPOSITORY} dump latest {STAGING}/databases/{kind}"
        password = "RESTIC_PASSWORD_FILE=/etc/aroundtheworld/backup/password"
        read = f"{password} {dump} >/root/copy && sqlite3 /root/copy {shlex.quote(query)}"
        return str(self.host.check_output(f"{read}; rm -f /root/copy*")).split()

    def write(self) -> str:
        """Have the game write a row, as a visitor does, and return its id."""
        response = httpx.post(f"{self.http}/api/rounds", json={}, timeout=60)
        response.raise_for_status()
        return str(response.json()["id"])

    @contextmanager
    def in_the_middle(self) -> Iterator[None]:
        """Have a backup wait for PostgreSQL, with the copy of the game's database made."""
        as_owner = "runuser -u postgres -- psql --quiet --dbname=stock --command"
        self.host.check_output(f"{as_owner} 'create table if not exists held (x int)'")
        self.host.check_output(f"{as_owner} 'alter table held owner to stock'")
        hold = "begin; lock table held in access exclusive mode; select pg_sleep(50)"
        self.host.check_output(
            f"systemd-run --quiet --collect --unit=holder --property=User=postgres "
            f"psql --dbname=stock --command={shlex.quote(hold)}"
        )
        until(
            lambda: "holder" in self.host.run("pgrep -af pg_sleep || echo holder").stdout, bool, 5
        )
        try:
            self.host.check_output(f"systemctl start --no-block {SERVICE}")
            waiting = f"test -s {STAGING}/databases/game.sqlite && pgrep -x pg_dump"
            until(lambda: self.host.run(waiting).rc == 0, bool, 30)
            yield
        finally:
            end = "select pg_terminate_backend(pid) from pg_stat_activity where query ~ 'pg_sleep'"
            self.host.run(f"{as_owner} {shlex.quote(end + ' and pid <> pg_backend_pid()')}")
            self.host.run("systemctl stop holder.service")
            until(lambda: self.host.run(f"systemctl is-active {SERVICE}").stdout.strip(),
                  lambda state: state != "activating", 60)  # fmt: skip
            self.host.run(f"{as_owner} 'drop table held'")


@pytest.fixture(scope="module")
def site(host: Host, http: str) -> Site:
    """Return the site on the host under test."""
    return Site(host, http)


@pytest.fixture
def back_up(ansible_playbook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that backs the site up as an operator does."""
    return lambda *words: ansible_playbook("--tags", "backup", *words)
