"""Fetch the wheels of a lockfile on the controller, for a host's own Python."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from packaging.utils import parse_wheel_filename

from aroundtheworld_controller.cache import make_once
from aroundtheworld_controller.packages.build_tools import BuildFailure
from aroundtheworld_controller.packages.index import Indexes, IndexFailure, indexes
from aroundtheworld_controller.packages.lockfile import Lockfile
from aroundtheworld_controller.packages.own_packages import BUILD, built_wheel, why
from aroundtheworld_controller.packages.own_wheels import WHEELS, host_tags
from aroundtheworld_controller.packages.pip import (
    NoPipError,
    find_pip,
    last_lines,
    locked_wheels,
    run_pip,
)
from aroundtheworld_controller.packages.python_versions import (
    TO_LOCK,
    fits,
    full_version,
    printed_problem,
    wheel_problems,
)
from aroundtheworld_controller.packages.source_archives import (
    files_of,
    hashes_by_name,
    matches,
    sha256,
    source_archives,
    wheel_tags,
)
from aroundtheworld_controller.variables import refuse

display = Display()

NOWHERE = Lockfile([])  # else than where the operator's settings say

# What pip prints when it does not get as far as looking for wheels.
UNREACHABLE = re.compile(
    r"connection|timed? ?out|name resolution|proxy|certificate|SSL|HTTP error|\b(401|403|5\d\d) ",
    re.IGNORECASE,
)
# What it prints of a wheel that is none of the locked ones.
UNLOCKED = re.compile(r"DO NOT MATCH THE HASHES.*\n\s+(?P<name>[^\s=]+)==(?P<version>\S+) from ")
# What it prints when there is no wheel that it may take.
MISSING = re.compile(r"No matching distribution found")

OTHER_PYTHONS = (
    "aroundtheworld_requirements: these are for other Pythons, and the host has Python {version}: "
    f"{{names}}. {TO_LOCK}"
)
ONLY_SOURCE = (
    "aroundtheworld_requirements: of {names} there is no wheel, only a source archive. "
    f"`{BUILD}: [{{build}}]` has the controller build what it names, which runs that code there; "
    f"or put wheels into a directory and name it in {WHEELS}."
)
OTHER_MACHINES = (
    "aroundtheworld_requirements: of {names} there are wheels, but none for {python}. Build one on "
    f"such a machine with `pip wheel`, put it into a directory, name that in {WHEELS}, and lock "
    "it (`--find-links`). What has no compiled code, the controller can build "
    f"(`{BUILD}: [{{build}}]`)."
)


def platforms(python: Mapping[str, Any]) -> list[str]:
    """Return the platform tags whose wheels run on the host, best first (PEP 600).

    manylinux_2_17 is the oldest that a current Python still gets; its old name is manylinux2014.
    """
    machine = python["machine"]
    newest = int(python["libc_version"].split(".")[1])
    return [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)] + [
        f"manylinux2014_{machine}",
        f"linux_{machine}",
    ]


def download_command(
    pip: Sequence[str], lock: Path, into: Path, python: Mapping[str, Any]
) -> list[str]:
    """Return the command that has `pip` fetch the wheels of `lock` for the host's `python`."""
    tag = python["implementation"] + python["version"].replace(".", "")
    command = [*locked_wheels(pip, lock, into), "--python-version"]
    # To the last digit: some wheels want at least 3.11.1, which "3.11" is not.
    command += [python["markers"]["python_full_version"]]
    command += ["--implementation", python["implementation"]]
    command += [part for abi in (tag, "abi3", "none") for part in ("--abi", abi)]
    command += [part for name in platforms(python) for part in ("--platform", name)]
    return command


def look_in(lockfile: Lockfile, directory: Path) -> list[str]:
    """Return options for pip that say where to look, name after name and value.

    Wheels by their addresses are in a page of links, so that pip still chooses among them.

    Args:
        lockfile: What the app's lockfile says.
        directory: Where to write that page; only this user may read there.
    """
    if not lockfile.links:
        return list(lockfile.options)
    page = directory / "links.html"
    links = "".join(f'<a href="{html.escape(link)}"></a>\n' for link in lockfile.links)
    page.write_text(f"<!DOCTYPE html>\n<html><body>\n{links}</body></html>\n")
    return [*lockfile.options, "--find-links", page.as_uri()]


def write_requirements(lock: str, options: Sequence[str], path: Path) -> None:
    """Write what pip reads on the controller: a host's requirements, and where to look for them."""
    pairs = zip(options[::2], options[1::2], strict=True)
    lines = "".join(f"{name} {value}".strip() + "\n" for name, value in pairs)
    path.write_text(lines + lock)


def fetch_wheels(
    virtual_environment: Mapping[str, Any],
    python: Mapping[str, Any],
    cache: Path,
    lockfile: Lockfile = NOWHERE,
) -> Path:
    """Return a directory with just the environment's wheels, fetched unless they are cached.

    Args:
        virtual_environment: Its ``id`` and ``lock``.
        python: The host's own.
        cache: The controller's.
        lockfile: What says where wheels are, besides the operator's own settings of pip and uv.

    Raises:
        AnsibleActionFail: A wheel cannot be had, or its hash is not in the lockfile.
        BadInputError: A wheel is not for that Python.
    """

    def fetch(into: Path) -> None:
        try:
            pip = find_pip()
        except NoPipError as missing:
            raise AnsibleActionFail(str(missing)) from None
        own, built = virtual_environment.get("own", {}), virtual_environment.get("built", [])
        lock = without(virtual_environment["lock"], {*own, *built})
        options = look_in(lockfile, into.parent)
        if lock:
            _download(lock, options, pip, into, python)
        _bring(own, into)
        locked = hashes_by_name(virtual_environment["lock"])
        where = indexes(pip, options) if built else Indexes()
        tags = set(host_tags(python, platforms(python)))
        for name in built:
            try:
                wheel = built_wheel(name, locked[name], where, cache)
                if not tags & parse_wheel_filename(wheel.name)[3]:
                    raise BuildFailure(
                        f"what came out is {wheel.name}, which is not for Python "
                        f"{python['version']}"
                    )
            except BuildFailure as failure:
                raise AnsibleActionFail(why(name, failure)) from None
            shutil.copy(wheel, into)
        refuse(wheel_problems(into, python))

    return make_once(cache / "wheels" / virtual_environment["id"], fetch)


def _download(
    lock: str, options: Sequence[str], pip: Sequence[str], into: Path, python: Mapping[str, Any]
) -> None:
    requirements = into.with_name("requirements.txt")
    write_requirements(lock, options, requirements)
    count = lock.count("\n")
    display.display(f"Fetching {count} wheels for Python {python['version']} on the controller")
    done = run_pip(download_command(pip, requirements, into, python))
    if done.returncode:
        problem = printed_problem(done.stderr, python)
        if not problem and MISSING.search(done.stderr):
            problem = unfit(lock, indexes(pip, options), python)
        raise AnsibleActionFail(
            problem
            or "aroundtheworld_requirements: the locked wheels could not be fetched on the "
            f"controller for Python {python['version']} on {python['platform']}. "
            + explain(done.stderr, pip, options[1::2])
        )


def _bring(own: Mapping[str, Sequence[str]], into: Path) -> None:
    """Copy the operator's own wheels, which must still be what the id stands for."""
    for path, digest in own.values():
        copy = into / Path(path).name
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            raise AnsibleActionFail(f"{WHEELS}: {path} cannot be read: {error.strerror}.") from None
        if not matches(copy, [digest]):
            raise AnsibleActionFail(f"{WHEELS}: {path} was changed while the run went on.")


def without(lock: str, names: Collection[str]) -> str:
    """Return a lock's text without the lines of some packages, by their normalized names."""
    lines = lock.splitlines(keepends=True)
    return "".join(line for line in lines if not set(hashes_by_name(line)) & set(names))


def host_lock(virtual_environment: Mapping[str, Any], wheels: Path) -> str:
    """Return the lock by which a host installs: with the hashes of what was built or brought."""
    lock: str = virtual_environment["lock"]
    ours = {*virtual_environment.get("own", {}), *virtual_environment.get("built", [])}
    lines = [without(lock, ours)]
    for wheel in sorted(wheels.iterdir()) if ours else []:
        if (name := parse_wheel_filename(wheel.name)[0]) in ours:
            lines.append(f"{name}=={hashes_by_name(lock)[name][0]} --hash={sha256(wheel)}\n")
    return "".join(lines)


def unfit(lock: str, where: Indexes, python: Mapping[str, Any]) -> str:
    """Return which packages of a lock have no wheel for a host, and what to do; or nothing."""
    tags = set(host_tags(python, platforms(python)))

    def look(package: tuple[str, tuple[str, list[str]]]) -> tuple[str, str]:
        name, (version, _) = package
        try:
            files = list(where.files(name))
        except IndexFailure:
            return "", ""
        wanted = {file.python for file in files_of(files, name, version)}
        if wanted and not any(fits(specifier, python) for specifier in wanted):
            return "python", f"{name} {version} (Python {' or '.join(sorted(wanted))})"
        there = list(wheel_tags(files, name, version))
        if any(tags & fits for fits in there):
            return "", ""
        kind = "other" if there else "source"
        return (kind if source_archives(files, name, version) else "", f"{name} {version}")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look, hashes_by_name(lock).items()))
    sentences = []
    kinds = (("python", OTHER_PYTHONS), ("source", ONLY_SOURCE), ("other", OTHER_MACHINES))
    for kind, say in kinds:
        if names := [name for what, name in found if what == kind]:
            sentences.append(
                say.format(
                    names=", ".join(names),
                    build=", ".join(name.split()[0] for name in names),
                    python=f"Python {python['version']} on {python['platform']}",
                    version=full_version(python),
                    minor=python["version"],
                )
            )
    return "\n".join(sentences)


def explain(printed: str, pip: Sequence[str], addresses: Sequence[str] = ()) -> str:
    """Return why pip may have failed, and its last lines, without passwords.

    Args:
        printed: What it printed.
        pip: Its command.
        addresses: Where it looked besides where the operator's settings say.
    """
    cause = (
        "The package index did not give them."
        if UNREACHABLE.search(printed)
        else "Every requirement needs a wheel for it, with the hash in the lockfile."
    )
    if found := UNLOCKED.search(printed):
        cause = (
            f"The index has {found['name']} {found['version']} for it, but no hash of that is in "
            "the lockfile. If it was made for another Python or machine, as `pip lock` does, make "
            "it for all: `uv pip compile --universal --generate-hashes …`."
        )
    return f"{cause} {last_lines(printed, pip, addresses)}"
