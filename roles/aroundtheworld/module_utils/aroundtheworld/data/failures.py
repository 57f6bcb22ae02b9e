"""What errors of restic mean, of the versions in Debian 12 (0.14) and 13 (0.18).

Since 0.17 its exit status says what is wrong; before, only its words do.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable, printable_lines

DAMAGED = ("invalid data returned", "ciphertext verification failed", "does not match hash")
# What a server of S3 says of credentials that are wrong, or may not do that.
REFUSED = (
    *("signature we calculated", "access key id", "access denied", "accessdenied", "forbidden"),
    "no credentials found",
)
# 0.14 asks "is there a repository" after any error; so these come first.
UNREACHABLE = (
    *("dial tcp", "no such host", "i/o timeout", "tls: ", "x509: ", "http response to https"),
    *("connection reset", "no route to host"),
)
MISSING = ("is there a repository", "specified bucket does not exist")
# 0.18 tries for a quarter of an hour what no second try can cure, and 0.14 for most of a minute
# each part that is not there. Of locks, that is no damage: another process may take its own away.
RETRIED = re.compile(r"returned error, retrying after [^:]+: (.*)")
LOST = re.compile(
    r"<data/(\w+)>.* returned error, retrying after .*(?:no such file|key does not exist)"
)


class MissingError(HostError):  # type: ignore[misc]
    """There is no repository where it should be."""


class BusyError(HostError):  # type: ignore[misc]
    """Somebody else has the repository for themselves."""


class RefusedError(HostError):  # type: ignore[misc]
    """The server with the repository does not take the credentials."""


def failure(repository: str, command: str, code: int, output: str) -> HostError:
    """Return what an error of restic means, as an error to raise.

    Args:
        repository: Where it is.
        command: What restic was told to do.
        code: Its exit status.
        output: All that it printed.
    """
    where, words = f"The repository {repository}", _words(output)
    low = words.lower()

    def has(phrases: tuple[str, ...]) -> bool:
        return any(phrase in low for phrase in phrases)

    # 0.18 does not bear a directory that it cannot read, where it only counts sizes.
    if low.startswith("panic: "):
        first = printable(words.splitlines()[0], 500)
        return _damaged(repository, f"restic itself broke off while it read it ({first})")
    if has(REFUSED):
        return RefusedError(
            f"{where} does not take the credentials in aroundtheworld_backup_environment: "
            f"{printable(words.splitlines()[0], 500)}"
        )
    if has(UNREACHABLE):
        return HostError(f"{where} cannot be reached: {printable(words.splitlines()[0], 500)}")
    if code == 10 or has(MISSING):
        return MissingError(f"{where} is not there.")
    if code == 12 or "wrong password" in low:
        return HostError(
            f"{where} was made with another password than this. Give the right one in "
            "aroundtheworld_backup_password, or name another repository."
        )
    if code == 11 or "already locked" in low:
        return BusyError(f"{where} is in use by somebody else: {printable(words, 500)}")
    if "no space left" in low:
        return HostError(f"{where} has no room left. Nothing that was in it is lost.")
    if has(DAMAGED):
        return _damaged(repository, printable(words, 500))
    if "ssh" in low or "permission denied" in low or "connection" in low:
        return HostError(f"{where} cannot be reached: {printable_lines(words, 5)}")
    return HostError(f"restic {command} failed with status {code}: {printable_lines(words, 8)}")


def _damaged(repository: str, words: str) -> HostError:
    return HostError(
        f"The repository {repository} is damaged: {words}. Keep it as it is, name another one, and "
        "look on the host what `restic check` says of it."
    )


def unanswered(repository: str, errors: str, seconds: float) -> HostError:
    """Return what it means that restic still tries, as an error to raise.

    Args:
        repository: Where it is.
        errors: What it printed until then.
        seconds: For how long it has tried.
    """
    last = RETRIED.findall(errors)[-1:]
    told = f": {printable_lines(last[0], 5)}" if last else "."
    return HostError(f"The repository {repository} has not answered for {seconds:.0f} s{told}")


def hopeless(repository: str, errors: str) -> HostError | None:
    """Return why restic need not try any longer, as an error to raise, or None."""
    if lost := LOST.search(errors):
        return _damaged(repository, f"its part {lost[1]} is missing")
    for words in RETRIED.findall(errors)[-1:]:
        found = failure(repository, "", 0, words)
        if isinstance(found, MissingError | RefusedError):
            return found
    return None


def messages(output: str, kind: str) -> list[dict[str, Any]]:
    """Return the messages of a kind that restic printed, each a line of JSON."""
    found = []
    for line in output.splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and message.get("message_type") == kind:
                found.append(message)
    return found


def _words(output: str) -> str:
    """Return what restic said, without the JSON around some of it."""
    said = [str(message.get("message", "")) for message in messages(output, "exit_error")]
    said += [line for line in output.splitlines() if line and not line.startswith("{")]
    return "\n".join(said)
