"""systemd reads the unit files before they are used."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.systemd import HostError


def verify(host: Host, expected: Expected, write: Mapping[Path, str]) -> None:
    """Refuse unit files with a line that systemd does not understand; it would leave that out.

    Only what it prints about a line of theirs counts: for a directive that it does not know,
    systemd 252 does not fail, and for a program that is missing it does.

    Args:
        host: The host.
        expected: What should be.
        write: Path to text of the files that are to be written.

    Raises:
        HostError: There is such a line.
    """
    if problems := [*_problems(host, expected), *_problems_of_times(host, write)]:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise HostError(f"Nothing was changed, because of this:\n{lines}")


def _any_stand_in(expected: Expected) -> str:
    """Return the name of a stand-in: all are of one template, and one of a port is complete."""
    return next(worker.stand_in for worker in expected.workers if worker.kind != "queue")


def _problems(host: Host, expected: Expected) -> Iterator[str]:
    site = host.site
    texts = {str(path.relative_to(site.units)): text for path, text in expected.files.items()}
    names = {path.partition(".d/")[0] for path in texts if "@." not in path}
    names |= {*expected.sockets, _any_stand_in(expected)}
    # There is room, also when a disk is full.
    with tempfile.TemporaryDirectory(dir=site.root / "run", prefix=f"{site.name}-units-") as work:
        directory = Path(work)
        for path, text in texts.items():
            copy = directory / path
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(text)
        output = host.systemd.verify(directory, sorted(names))
    pools = {worker.drop_in: worker.pool for worker in expected.workers}
    pools |= {path: pool for path in expected.job_files if (pool := site.job_of(path.name))}
    found: dict[tuple[str, str], set[str]] = {}
    lines = re.finditer(rf"^{re.escape(work)}/(.+?):([0-9]+): (.*)$", output, re.MULTILINE)
    for path, number, message in (match.groups() for match in lines):
        pool = pools.get(site.units / path)
        where = f"aroundtheworld_pools: the unit of pool {pool!r}" if pool else path
        line = "".join(texts[path].splitlines()[int(number) - 1 : int(number)])
        found.setdefault((line, message), set()).add(where)
    for (line, message), places in found.items():
        # What tries a release has the directives of its pools.
        of_pools = {where for where in places if where not in texts}
        for where in sorted(of_pools or places):
            yield f"{where} has {line!r}; systemd: {message}"


def _problems_of_times(host: Host, write: Mapping[Path, str]) -> Iterator[str]:
    """Yield the times of jobs that systemd does not understand, or that will never come."""
    for path, text in write.items():
        for time in re.findall(r"^OnCalendar=(.*)$", text, re.MULTILINE):
            if problem := host.systemd.calendar(time):
                pool = host.site.job_of(path.name)
                yield f"aroundtheworld_pools: at of pool {pool!r} has {time!r}; systemd: {problem}"
