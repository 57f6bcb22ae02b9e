"""Commands to restic, of the versions in Debian 12 (0.14) and 13 (0.18)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible.module_utils.aroundtheworld.data.failures import (
    BusyError,
    failure,
    hopeless,
    messages,
    unanswered,
)
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable_lines

MARK = "aroundtheworld"
# Until a repository that does not answer counts as gone.
ANSWER_SECONDS = 45.0
# How long to wait for somebody else who has the repository for themselves, to clean it up.
LOCKED_SECONDS, PAUSE_SECONDS = 600.0, 5.0
INCOMPLETE = 3  # the exit status of a backup that could not read some files
VANISHED = re.compile(r"no such file or directory", re.IGNORECASE)
SFTP = re.compile(
    r"sftp:(?://(?P<host>\[[^\]]+\]|(?:[^@/]+@)?\[[^\]]+\]|[^:/]+)(?::(?P<port>\d+))?/"
    r"|(?P<alias>[^:/]+):)"
)
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15"


@dataclass(frozen=True)
class Summary:
    """What a backup was.

    Attributes:
        id: The snapshot's, as restic knows it.
        bytes: What is in it.
        added: What of that was new to the repository.
        vanished: Paths that were there at first, and then no longer.
    """

    id: str
    bytes: int
    added: int
    vanished: Sequence[str]


class Restic:
    """A repository of backups."""

    def __init__(
        self,
        repository: str,
        password: Path,
        cache: Path,
        program: str = "restic",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Name the repository, as restic does; nothing is asked yet.

        Args:
            repository: A directory or another notation of restic's.
            password: The file with its password.
            cache: A directory for what is read often of a repository elsewhere.
            program: Which restic.
            variables: What restic alone gets in its environment: credentials of a server.
        """
        self.repository, self.program = repository, program
        self.variables = dict(variables or {})
        self.directory = directory_of(repository)
        place = ["--no-cache"] if self.directory else ["--cache-dir", str(cache)]
        self.options = ["--repo", repository, "--password-file", str(password), *place]
        if match := SFTP.match(repository):
            port = f" -p {match['port']}" if match["port"] else ""
            host = (match["host"] or match["alias"]).replace("[", "").replace("]", "")
            self.options += ["-o", f"sftp.command={SSH}{port} {host} -s sftp"]

    # --- The repository

    def check(self) -> str:
        """Return the repository's id.

        Raises:
            MissingError: There is none.
            HostError: It cannot be opened.
        """
        found = json.loads(self._output("cat", "config", seconds=ANSWER_SECONDS))
        return str(found["id"])

    def make(self) -> str:
        """Make the repository, and return its id; raises `HostError`."""
        if self.directory:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._output("init", seconds=2 * ANSWER_SECONDS)
        return self.check()

    def unlock(self) -> None:
        """Remove locks of processes that are gone; restic itself knows which of them are."""
        self._output("unlock", seconds=2 * ANSWER_SECONDS)

    # --- Snapshots

    def snapshots(self, site: str = "", host: str = "") -> list[dict[str, Any]]:
        """Return the snapshots of a site, oldest first, of one host or of all; or all there are."""
        only = [*(["--tag", tags(site)] if site else []), *(["--host", host] if host else [])]
        found = json.loads(self._output("snapshots", "--json", *only) or "null")
        return sorted(found or [], key=lambda snapshot: str(snapshot["time"]))

    def restore_bytes(self, snapshot: str) -> int:
        """Return what the files of a snapshot take."""
        out = self._output("stats", "--json", "--mode", "restore-size", snapshot)
        return int(json.loads(out)["total_size"])

    def file_text(self, snapshot: str, path: Path) -> str:
        """Return the content of a small file of a snapshot."""
        return self._output("dump", snapshot, str(path), seconds=ANSWER_SECONDS)

    def restore(
        self,
        snapshot: str,
        target: Path,
        paths: Sequence[Path],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Write what a snapshot has below a directory, and check it.

        Args:
            snapshot: Its id.
            target: The directory.
            paths: What of it, or nothing for all.
            watch: Called now and then; raises `HostError` to end it.

        Raises:
            HostError: Some of it could not be written, or is not what it should be.
        """
        includes = [f"--include={_literally(path)}" for path in paths]
        command = ["restore", snapshot, "--verify", "--target", str(target), *includes]
        code, out, error = self._until_unlocked(command, watch)
        if code:
            raise failure(self.repository, "restore", code, out + error)

    def read(self, snapshot: str) -> None:
        """Read all of a snapshot, by which restic compares each piece with its hash.

        Raises:
            HostError: Some of it is not what it should be.
        """
        with Path(os.devnull).open("w") as nowhere:
            code, _, error = self._run(["dump", "--archive", "tar", snapshot, "/"], out=nowhere)
        if code:
            raise failure(self.repository, "dump", code, error)

    def backup(
        self,
        site: str,
        host: str,
        paths: Sequence[Path],
        left_out: Sequence[Path],
        watch: Callable[[], None],
    ) -> Summary:
        """Make a snapshot, or none at all.

        Args:
            site: The site.
            host: The host's name.
            paths: What is to be in it; all of that has to be there.
            left_out: What below these is not.
            watch: Called now and then; raises `HostError` to end it.

        Raises:
            HostError: There is no snapshot; the message says why.
        """
        parent = [
            argument
            for snapshot in self.snapshots(site, host)[-1:]
            for argument in ("--parent", str(snapshot["id"]))
        ]
        excludes = [f"--exclude={_literally(path)}" for path in left_out]
        arguments = ["--json", "--quiet", "--host", host, "--tag", tags(site), *parent, *excludes]
        command = ["backup", *arguments, "--", *map(str, paths)]
        code, out, error = self._until_unlocked(command, watch)
        summary = messages(out, "summary")
        if code not in (0, INCOMPLETE) or not summary:
            raise failure(self.repository, "backup", code, out + error)
        vanished, others = _unread(out + "\n" + error)
        found = summary[-1]
        result = Summary(
            found["snapshot_id"], found["total_bytes_processed"], found["data_added"], vanished
        )
        if others or (code and not vanished):
            self._output("forget", result.id)
            told = printable_lines("\n".join(others or [error.strip()]))
            raise HostError(f"Some files could not be read, so there is no backup:\n{told}")
        return result

    def forget(self, site: str, host: str, keep: Mapping[str, int]) -> None:
        """Remove the snapshots of a site and host that are not to be kept, and what only they had.

        Raises:
            BusyError: Somebody else works on the repository; the next backup will do it.
            HostError: Another failure.
        """
        kept = [
            argument
            for period, count in keep.items()
            if count
            for argument in (f"--keep-{period}", str(count))
        ]
        # All of them are one series, whatever their paths: each release has another one.
        which = ["--host", host, "--tag", tags(site), "--group-by", "host"]
        self._output("forget", "--quiet", "--prune", *which, *kept)

    # --- restic

    def _output(self, *arguments: str, seconds: float | None = None) -> str:
        code, out, error = self._run(arguments, seconds=seconds)
        if code:
            raise failure(self.repository, arguments[0], code, out + error)
        return out

    def _until_unlocked(
        self, command: Sequence[str], watch: Callable[[], None]
    ) -> tuple[int, str, str]:
        """Run a command, again for as long as somebody else has the repository for themselves."""
        deadline = time.monotonic() + LOCKED_SECONDS
        while True:
            code, out, error = self._run(command, watch)
            busy = bool(code) and isinstance(
                failure(self.repository, "", code, out + error), BusyError
            )
            if not busy or time.monotonic() > deadline:
                return code, out, error
            time.sleep(PAUSE_SECONDS)

    def _run(
        self,
        arguments: Sequence[str],
        watch: Callable[[], None] = lambda: None,
        seconds: float | None = None,
        out: int | IO[str] = subprocess.PIPE,
    ) -> tuple[int, str, str]:
        """Run restic; whatever ends this ends it too."""
        # Nothing of ours decides which repository, password or credentials it takes.
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("RESTIC_", "AWS_"))
        }
        command = [self.program, *self.options, *arguments]
        begun = time.monotonic()
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell
                command,
                env={"HOME": "/root", **environment, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise HostError(
                "restic is not on this host. Run with --tags backup, which installs it."
            ) from None
        try:
            while True:
                try:
                    printed, error = process.communicate(timeout=1.0)
                    return process.returncode, printed or "", error
                except subprocess.TimeoutExpired as still:
                    errors = (still.stderr or b"").decode(errors="replace")  # bytes, also of text
                if reason := hopeless(self.repository, errors):
                    raise reason
                watch()
                if seconds and time.monotonic() - begun > seconds:
                    raise unanswered(self.repository, errors, seconds)
        except BaseException:
            process.terminate()  # it takes its lock away
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5.0)
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
            raise


def tags(site: str) -> str:
    """Return the tags that all snapshots of a site have, and no others."""
    return f"{MARK},site={site}"


def directory_of(repository: str) -> Path | None:
    """Return the directory of this host that a repository is, if it is one."""
    is_local = repository.startswith(("/", "local:"))
    return Path(repository.removeprefix("local:")) if is_local else None


def _literally(path: Path) -> str:
    """Return a path as a pattern that fits nothing else."""
    return re.sub(r"([\[\]*?\\])", r"\\\1", str(path))


def _unread(output: str) -> tuple[list[str], list[str]]:
    """Return the paths of files that vanished, and what else could not be read, each a sentence.

    0.14 does not always say why; then a file that is no longer there has vanished.
    """
    vanished, others = {}, {}
    for message in messages(output, "error"):
        error, item = message.get("error", {}), str(message.get("item", ""))
        why = (
            error.get("message") or os.strerror(error.get("Err", 0)) if error else "no reason told"
        )
        if VANISHED.search(why) or not os.path.lexists(item):
            vanished[item] = ""
        else:
            others[item] = f"{item}: {why}"
    return list(vanished), list(others.values())
