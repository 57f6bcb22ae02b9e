"""How a process of the site is run besides the workers: in their sandbox, by systemd-run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

# In check mode a new secret was not written, and systemd starts nothing without it.
UNWRITTEN = "not written yet"


@dataclass(frozen=True)
class Process:
    """How a process of the site is run.

    Attributes:
        lines: Lines of a unit (templates/transient.j2), in which ${...} stands for the release's
            id and place, its virtual environment's place, and the directory of the credentials.
        secrets: The names of its secrets.
    """

    lines: Sequence[str]
    secrets: Sequence[str]

    def properties(self, unit: str, release: Path, environment: Path, name: str) -> list[str]:
        """Return the arguments by which systemd-run runs a unit as such a process.

        Args:
            unit: The unit's name, without a suffix.
            release: Where the release is.
            environment: Where its virtual environment is.
            name: The release's id.
        """
        places = {
            "id": name,
            "release": release,
            "venv": environment,
            "credentials": f"/run/credentials/{unit}.service",
        }
        lines = [Template(line).substitute(places) for line in self.lines]
        lines += [f"SetCredential={secret}:{UNWRITTEN}" for secret in self.secrets]
        return [f"--property={line}" for line in lines]
