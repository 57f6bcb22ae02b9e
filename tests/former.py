"""A former version of the project, from the repository's history.

python -m tests.former DIRECTORY    writes the last released version there, by the file RELEASES
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# What an operator has: the playbook with its configuration, the role and the game.
OPERATORS = ("ansible.cfg", "site.yml", "playbooks", "roles", "app")


class NoHistoryError(Exception):
    """The repository does not have a commit; the message says what to do."""


def last_release(releases: str) -> tuple[str, str]:
    """Return version and commit of the last release, by the text of the file RELEASES."""
    lines = [line.split() for line in releases.splitlines() if line and not line.startswith("#")]
    version, _, commit = lines[-1]
    return version, commit


def write_former(
    commit: str, directory: Path, paths: Iterable[str], checkout: Path = CHECKOUT
) -> None:
    """Write paths into a directory as they were in a commit.

    Raises:
        NoHistoryError: This clone does not have the commit.
    """
    archive = directory / "archive.tar"
    # Without the git settings of the person who runs this: some change what is in files.
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", "archive", f"--output={archive}", commit, "--", *paths]
    made = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise NoHistoryError(
            f"This clone does not have the commit {commit}, so the upgrade from it cannot be "
            f"shown: `git fetch --unshallow` gets it. git printed: {made.stderr.strip()}"
        )
    # Not by tarfile: Debian 12's Python does not have its filters yet, and later ones want one.
    subprocess.run(["tar", "--extract", f"--file={archive}"], cwd=directory, check=True)
    archive.unlink()


def main() -> None:
    """Carry out the command."""
    directory = Path(sys.argv[1])
    version, commit = last_release((CHECKOUT / "RELEASES").read_text())
    directory.mkdir(parents=True, exist_ok=True)
    try:
        write_former(commit, directory, OPERATORS)
    except NoHistoryError as error:
        sys.exit(str(error))
    print(f"Version {version} is in {directory}")


if __name__ == "__main__":
    main()
