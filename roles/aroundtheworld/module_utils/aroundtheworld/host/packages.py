"""Debian packages: which are installed, and which of those that an app needs there are."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.commands import Run

NEAR = 3  # characters at the beginning that a misspelt name has right
ENGLISH = ("env", "LC_ALL=C")


def installed(packages: Sequence[str], run: Run) -> set[str]:
    """Return which of the packages, and of what Ansible needs for others, are installed."""
    _, output, _ = run(
        [
            *("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"),
            *(*packages, "python3-apt"),
        ]
    )
    return {line.split()[0] for line in output.splitlines() if line.endswith(" installed")}


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
