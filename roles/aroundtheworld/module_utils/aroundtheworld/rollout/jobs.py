"""Jobs: their timers wait for their times, and a run that is under way is left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles


class Jobs:
    """Sets the timers of a site's jobs, without starting any job.

    A timer makes up for what it missed since the time that its stamp has. Of new times, it has
    missed nothing, so the stamp goes, while the timer does not run. The file is written after that:
    until then the next run, should this one be cut off, finds that the times differ.
    """

    def __init__(self, host: Host, files: UnitFiles) -> None:
        """Take what writes unit files."""
        self._host, self._files = host, files

    def set(self, timers: Sequence[str], texts: Mapping[Path, str]) -> None:
        """Write the files of jobs, and have these timers wait for their times.

        Args:
            timers: Those that do not yet.
            texts: Path to text of the files that are to be written.
        """
        changed = [timer for timer in timers if self._host.site.units / timer in texts]
        self.stop(changed)
        self._files.write(texts)
        self._files.reload()
        self.start(timers)

    def stop(self, timers: Sequence[str]) -> None:
        """Stop timers, and have systemd forget when they last elapsed; no job is stopped."""
        self._call("stop", "--", timers=timers)
        for timer in timers:
            self._host.site.stamp(timer).unlink(missing_ok=True)

    def end(self, timers: Sequence[str]) -> None:
        """Stop timers that there are not to be any more, also at boot."""
        self.stop(timers)
        self._call("disable", "--quiet", "--", timers=timers)

    def _call(self, *arguments: str, timers: Sequence[str]) -> None:
        """Call systemctl for those that there are; it does not know any other."""
        units = self._host.site.units
        if present := [timer for timer in timers if (units / timer).exists()]:
            self._host.systemd.call(*arguments, *present)

    def start(self, timers: Sequence[str]) -> None:
        """Start timers, now and at boot."""
        site = self._host.site
        if timers:
            # systemd makes these.
            belongings.take(site.name, map(site.stamp, timers), root=site.root)
            self._host.systemd.call("enable", "--quiet", "--", *timers)
            self._host.systemd.call("start", "--", *timers)


def releases_in_use(host: Host, pools: Iterable[str]) -> Iterator[str]:
    """Yield the releases of the jobs of these pools that run right now."""
    for pool in pools:
        # As of a command: what was noted at its start, in a directory that goes with its end.
        status = host.sockets.read_status(host.site.private_job(pool) / "control.sock")
        if status.release:
            yield status.release


def pools_with_jobs(site: SiteLayout, own: Iterable[Path]) -> list[str]:
    """Return the pools that have jobs, or had, by the files that the site has."""
    return sorted({pool for path in own if (pool := site.job_of(path.name))})
