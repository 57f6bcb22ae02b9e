"""For which Python a virtual environment was made, and which one it starts.

A new Debian brings another Python. Each version looks for packages in a directory of its own, so
those of an environment from before are not found; and when the last package of the old version
goes, its interpreter goes with it. Nothing of an environment is run to find that out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld.files import read_exactly
from ansible.module_utils.aroundtheworld.layout import ROOT, HomeLayout

# What the module `venv` writes into `pyvenv.cfg`, as in ``version = 3.11.2``.
VERSION = re.compile(r"^version\s*=\s*(\d+\.\d+)", re.MULTILINE)
PROGRAM = re.compile(r"python(\d+\.\d+)")
MEND = "run `ansible-playbook site.yml`, which installs them for {own} and exchanges the workers"


@dataclass(frozen=True)
class Interpreter:
    """The Python of a virtual environment.

    Attributes:
        needed: The version for which its packages were installed, as in ``3.11``.
        started: The version of its interpreter, or an empty text when that is gone.
    """

    needed: str
    started: str

    @property
    def works(self) -> bool:
        """Whether a process finds the packages."""
        return self.started == self.needed

    @property
    def why_not(self) -> str:
        """Why a process does not find them."""
        here = f"which starts {self.started} now" if self.started else "which this host lost"
        return f"its packages are for Python {self.needed}, {here}"


def version_of(program: Path) -> str | None:
    """Return the version in the name of the program that a path leads to.

    It is empty when the path leads nowhere, and there is none when that name has none.
    """
    try:
        found = PROGRAM.fullmatch(program.resolve(strict=True).name)
    except (OSError, RuntimeError):
        return ""
    return found and found[1]


def interpreter_of(environment: Path) -> Interpreter | None:
    """Return the Python of an environment, or nothing where its files do not say it."""
    try:
        settings = (environment / "pyvenv.cfg").read_text(errors="replace")
    except OSError:
        return None
    needed, started = VERSION.search(settings), version_of(environment / "bin" / "python")
    return None if needed is None or started is None else Interpreter(needed[1], started)


def broken_environments(layout: HomeLayout) -> dict[str, str]:
    """Return the id of each environment of a release with which no process starts, to why."""
    found = {}
    for name in sorted(set(layout.environments_by_release().values())):
        python = interpreter_of(layout.environment(name))
        if python and not python.works:
            found[name] = python.why_not
    return found


def python_problems(layout: HomeLayout, units: Iterable[Path], root: Path = ROOT) -> Iterator[str]:
    """Yield what is wrong with the Python of a site after an upgrade of Debian.

    Args:
        layout: Where everything in the site's home is.
        units: The files that say what workers and jobs are started with.
        root: Where the host's files are.
    """
    place = re.compile(rf"{re.escape(str(layout.environments))}/([^/\s:]+)/bin")
    names = {name for text in map(read_exactly, units) for name in place.findall(text)}
    pythons = {interpreter_of(layout.environment(name)) for name in names}
    own = version_of(root / "usr" / "bin" / "python3")
    mend = MEND.format(own=f"Python {own}" if own else "Debian's Python")
    for python in sorted(filter(None, pythons), key=str):
        if not python.works:
            yield (
                f"no worker can start any more: {python.why_not}; those that run go on until they "
                f"end, so before you restart anything or reboot, {mend}"
            )
        elif own and own != python.needed:
            yield (
                f"the workers run on Python {python.needed}, and this Debian's own is {own}; "
                f"before `apt autoremove` takes the old one away, {mend}"
            )
