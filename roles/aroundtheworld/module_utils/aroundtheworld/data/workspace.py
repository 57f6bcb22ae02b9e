"""What a run brings along to read backups, and the host is not to keep: a password."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.layout import RUN


@contextmanager
def workspace(site: str, run: Path = RUN) -> Iterator[Path]:
    """Have an empty directory in memory for root alone, until the block ends.

    What a run that was killed has left there goes first. Whoever calls this has the site.

    Args:
        site: The site.
        run: The host's directory in memory.
    """
    path = run / f"{site}.restore"
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def restic_in(work: Path, brought: Mapping[str, Any]) -> Restic:
    """Return the repository that a run names, with its password in a file of a workspace.

    Args:
        work: The workspace.
        brought: What the controller brought: ``settings``, ``password`` and ``environment``.
    """
    password = work / "password"
    password.touch(0o600)
    password.write_text(brought["password"] + "\n")
    repository, variables = brought["settings"]["repository"], brought["environment"]
    return Restic(repository, password, work / "cache", variables=variables)
