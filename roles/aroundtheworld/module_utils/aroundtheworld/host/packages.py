"""Debian packages: which are installed, and which of those that an app needs there are.

Also whether an upgrade of Debian was cut off: then some are unpacked and do not work yet.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.commands import Run

NEAR = 3  # characters at the beginning that a misspelt name has right
ENGLISH = ("env", "LC_ALL=C")
# Packages without which no run gets far, as dpkg's patterns.
BASE = (
    *("libc6", "libpython3*", "nginx*", "python3", "python3.*", "python3-minimal"),
    *("python3-pip-whl", "systemd"),
)
UNFINISHED = ("half-configured", "half-installed", "unpacked")
# Which apt holds as long as it is at work, and dpkg without apt.
LOCKS = (Path("/var/lib/dpkg/lock-frontend"), Path("/var/lib/dpkg/lock"))
SHOW = ("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n")
SHOWN = 5  # names in a sentence
FINISH = "`dpkg --configure -a`, `apt-get --fix-broken install` and `apt full-upgrade`"


def states(packages: Sequence[str], run: Run) -> dict[str, str]:
    """Return the state of packages, and of what they and Ansible need, as dpkg calls it."""
    _, output, _ = run([*SHOW, *packages, "python3-apt", *BASE])
    return _states(output)


def installed(states: Mapping[str, str]) -> set[str]:
    """Return the packages that are installed."""
    return {name for name, state in states.items() if state == "installed"}


def unfinished(states: Mapping[str, str]) -> list[str]:
    """Return the packages that an upgrade has unpacked and not set up."""
    return sorted(name for name, state in states.items() if state in UNFINISHED)


def upgrade_problems(run: Run, locks: Sequence[Path] = LOCKS) -> Iterator[str]:
    """Yield that an upgrade of Debian was cut off, unless one is under way."""
    _, output, _ = run([*SHOW])
    names = unfinished(_states(output))
    if names and not any(map(_is_held, locks)):
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield (
            f"an upgrade of Debian was cut off, {', '.join(names[:SHOWN])}{more} are unpacked and "
            f"not set up: {FINISH} finish it"
        )


def _states(output: str) -> dict[str, str]:
    pairs = (line.split() for line in output.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _is_held(lock: Path) -> bool:
    """Tell whether another process has a file locked, without locking it for a moment."""
    question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with lock.open("rb") as handle:
            answer = fcntl.fcntl(handle, fcntl.F_GETLK, question)
    except OSError:
        return False
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)


def provided(run: Run) -> set[str]:
    """Return all names that installed packages have or stand for, such as libmagic1 on Debian 13.

    There it is a name that libmagic1t64 provides.
    """
    about = "${db:Status-Status} ${Package}, ${Provides}\n"
    _, output, _ = run(["dpkg-query", "--show", f"--showformat={about}"])
    names = set()
    for line in output.splitlines():
        status, _, listed = line.partition(" ")
        if status == "installed":
            names |= {name.split()[0] for name in listed.split(",") if name.strip()}
    return names


class Archive:
    """What apt knows about packages that it could install; nothing on the host is changed."""

    def __init__(self, run: Run, options: Sequence[str] = ()) -> None:
        """Take options by which apt reads other lists than its own."""
        self.run, self.options = run, options

    def cache(self, *arguments: str) -> str:
        """Return what apt-cache prints."""
        _, output, _ = self.run([*ENGLISH, "apt-cache", *self.options, *arguments])
        return str(output)

    def unknown(self, packages: Sequence[str]) -> list[str]:
        """Return which packages apt can neither install, nor one other package in their place."""
        found = set()
        for paragraph in re.split(r"\n(?=\S)", self.cache("policy", *packages)):
            name, _, about = paragraph.partition(":\n")
            candidate = re.search(r"^  Candidate: (.+)$", about, re.MULTILINE)
            if candidate and candidate[1] != "(none)":
                found.add(name.partition(":")[0].strip())
        return [name for name in packages if name not in found and len(self.providers(name)) != 1]

    def providers(self, package: str) -> list[str]:
        """Return which packages stand for one that is a name only."""
        listed = self.cache("showpkg", package).partition("\nReverse Provides:")[2]
        return sorted({line.split()[0] for line in listed.splitlines() if line.strip()})

    def near(self, package: str) -> str:
        """Return the name of a package that is much like one that there is not, or nothing."""
        names = self.cache("pkgnames", package[:NEAR]).split()
        return next(iter(difflib.get_close_matches(package, names, n=1)), "")

    def renewed(self, directory: Path) -> Archive | None:
        """Return what apt knows with lists of this moment, or nothing when it cannot have them."""
        options = []
        for setting, name in (("Dir::State::Lists", "lists"), ("Dir::Cache", "cache")):
            (directory / name).mkdir()
            options += ["--option", f"{setting}={directory / name}"]
        directory.chmod(0o755)  # apt fetches as a user of its own
        update = [*ENGLISH, "apt-get", *options, "--quiet=2", "update"]
        return Archive(self.run, options) if not self.run(update)[0] else None


def package_problems(packages: Sequence[str], release: str, run: Run) -> Iterator[str]:
    """Yield what keeps apt from installing packages that are missing, each a sentence.

    Args:
        packages: Their names.
        release: What the host runs, as in ``debian 12``.
        run: Runs a command.
    """
    if not packages:
        return
    archive = Archive(run)
    with tempfile.TemporaryDirectory(prefix="aroundtheworld-") as work:
        unknown = archive.unknown(packages)
        if any(not archive.providers(name) for name in unknown):
            # The lists may be old, or there may be none yet.
            archive = archive.renewed(Path(work)) or archive
            unknown = archive.unknown(packages)
        for name in unknown:
            yield f"aroundtheworld_packages: {name!r} {_why(name, archive, release)}"
        if not unknown:
            yield from _removals(packages, archive)


def _why(name: str, archive: Archive, release: str) -> str:
    if providers := archive.providers(name):
        return f"stands for any of {', '.join(providers)}; name one of them."
    about = "" if archive.options else ", whose lists of packages could not be renewed"
    near = archive.near(name)
    hint = f"did you mean {near}?" if near else "look for it on packages.debian.org."
    return f"is no package that this host's apt ({release}) can install{about}; {hint}"


def _removals(packages: Sequence[str], archive: Archive) -> Iterator[str]:
    """Yield which packages would take others off the host, which are not the site's."""
    command = [*ENGLISH, "apt-get", *archive.options, "--simulate", "--no-install-recommends"]
    _, output, _ = archive.run([*command, "install", *packages])
    if removed := re.findall(r"^Remv (\S+)", output, re.MULTILINE):
        yield (
            f"aroundtheworld_packages: {', '.join(packages)} cannot be on this host beside "
            f"{', '.join(removed)}, which apt would remove; remove that yourself, or do without."
        )
