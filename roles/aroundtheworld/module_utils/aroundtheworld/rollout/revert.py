"""The way back: unit files and workers as they were before a rollout that failed."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.files import link_atomically, write_atomically
from ansible.module_utils.aroundtheworld.rollout.handover import Handover, stand_in_text
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.rollout.units import stated, text_of
from ansible.module_utils.aroundtheworld.rollout.workers import Wanted
from ansible.module_utils.aroundtheworld.systemd import HostError


def cause(failure: BaseException, phase: str = "") -> str:
    """Return what to say about a failure, whatever it is.

    Args:
        failure: What was raised.
        phase: What was being done.
    """
    if isinstance(failure, HostError):
        return str(failure)
    during = f" during {phase!r}" if phase else ""
    if isinstance(failure, InterruptedRun):
        return f"The rollout was stopped{during}: {failure}."
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"Unexpected{during}: {type(failure).__name__}: {failure}{where}"


def put_back(path: Path, copy: Path) -> None:
    """Make `path` the file that was kept as `copy`, also on a disk that is full."""
    if path.exists() and path.read_bytes() == copy.read_bytes():
        return
    path.parent.mkdir(mode=0o755, exist_ok=True)
    fresh = path.with_name(f".{path.name}.former")
    try:
        fresh.unlink(missing_ok=True)
        os.link(copy, fresh)
        fresh.replace(path)
    except OSError:
        try:
            copy.replace(path)
        except OSError:  # kept on another file system, by a former version of the role
            write_atomically(path, text_of(copy), 0o644)


class Revert(Handover):
    """Keeps what there was, and puts it back."""

    def _keep_before(self) -> None:
        """Keep the unit files as they are, unless a rollout that was cut off kept better ones."""
        before = self.site.before
        if self.site.kept or not self.site.current.is_symlink():
            return
        unfinished = before.with_name(f"{before.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        for path in self.files:
            if path.exists():
                copy = unfinished / path.relative_to(self.site.units)
                copy.parent.mkdir(parents=True, exist_ok=True)
                try:  # files are replaced and never changed, so this stays as it is
                    os.link(path, copy)
                except OSError:
                    shutil.copy2(path, copy)
        if unfinished.exists():
            unfinished.rename(before)

    def _forget_before(self) -> None:
        """Remove what was kept: there is nothing to go back to any more."""
        while kept := self.site.kept:
            shutil.rmtree(kept)

    def _revert(self, touched: Sequence[Wanted], was: str) -> str:
        """Put everything back, as far as that is possible; return what to say about it.

        Args:
            touched: The workers that may run something else than before.
            was: The release that `current` pointed at, or an empty text.
        """
        kept = self.site.kept
        if not kept and not (touched or self.enabled):
            self.outcome = "reverted"
            return ""
        problems: list[str] = []

        def attempt(step: Callable[..., object], *arguments: object) -> None:
            try:
                step(*arguments)
            except Exception as failure:
                problems.append(cause(failure))

        with self._phase("revert"):
            if kept:
                self._put_everything_back(kept, touched, attempt)
            elif not was:
                self._stop_everything(touched, attempt)
            attempt(self._stop_stand_ins)
            attempt(self._reload)
            if was and self.site.current_release() != was:
                attempt(link_atomically, self.site.current, f"releases/{was}")
        self.outcome = "failed" if problems else "reverted"
        if problems:
            return f"\nGoing back failed as well: {'; '.join(problems)}"
        attempt(self._forget_before)
        if was:
            return f"\nEvery worker that was touched is back on release {was}."
        return (
            "\nNothing was deployed here before, so everything that was started is stopped again."
        )

    def _put_everything_back(
        self, kept: Path, touched: Sequence[Wanted], attempt: Callable[..., None]
    ) -> None:
        copies = {
            self.site.units / copy.relative_to(kept): copy
            for copy in kept.rglob("*")
            if copy.is_file()
        }
        fresh = [path for path in self.outdated if path not in copies]
        self.files = {path: text_of(copy) for path, copy in copies.items()}
        drop_ins = {one: self.site.drop_in(self.site.service(one.port)) for one in touched}
        for path, copy in copies.items():
            if path not in drop_ins.values():
                attempt(self._put_back, path, copy)
        for path in fresh:
            if path not in drop_ins.values() and path.exists():
                attempt(belongings.remove_file, path)
                self.unread.append(path.name)
        attempt(self._reload)
        if self.enabled:
            attempt(self.systemd.call, "disable", "--quiet", "--", *self.enabled)
        if self.restart_metrics:
            attempt(self._restart_metrics)
        for one, path in reversed(drop_ins.items()):
            if path in copies:
                attempt(self._exchange_back, one, copies)
            else:  # a worker that there was not before
                attempt(self._remove, one)

    def _put_back(self, path: Path, copy: Path) -> None:
        if text_of(path) != self.files[path]:
            self.unread.append(path.name)
        put_back(path, copy)

    def _exchange_back(self, one: Wanted, copies: Mapping[Path, Path]) -> None:
        """Let the worker run what its former drop-in says, unless it never stopped to."""
        service = self.site.service(one.port)
        path = self.site.drop_in(service)
        text = self.files[path]
        release, config, kind = (
            stated(text, f"AROUNDTHEWORLD_{name}") for name in ("RELEASE", "CONFIG", "KIND")
        )
        # It served before, by whichever answer: what it has to do now is to answer.
        former = replace(
            one,
            release=release,
            config=config,
            kind=kind or "runner",
            health=replace(one.health, statuses=("2xx", "3xx", "4xx")),
        )
        health = self._health(service)
        self._put_back(path, copies[path])
        # systemd may be at it still when the module was interrupted, with what it has read before.
        if service not in self.restarted and health.runs(release, config):
            return
        stand_in = self.site.drop_in(self.site.stand_in(one.port))
        self.files[stand_in] = stand_in_text(text)
        try:
            self._write([stand_in])
        except (OSError, HostError):  # the disk is full; its socket queues meanwhile
            self._reload()
            self.systemd.call("restart", "--", service)
            self._gate(former, service, "it was restarted")
            return
        self._reload()
        self._exchange([former])

    def _stop_everything(self, touched: Sequence[Wanted], attempt: Callable[..., None]) -> None:
        """Leave nothing running of a first deployment, and nothing that the next boot starts."""
        sockets = [self.site.socket(one.port) for one in touched if one.kind != "binds"]
        services = [self.site.service(one.port) for one in touched]
        metrics = [self.site.metrics(kind) for kind in ("socket", "service")]
        units = [*sockets, *services, *(metrics if self.restart_metrics else [])]
        if units:
            attempt(self.systemd.call, "stop", "--", *units)
            self.systemd.call("reset-failed", "--", *units, check=False)
        if self.enabled:
            attempt(self.systemd.call, "disable", "--quiet", "--", *self.enabled)

    def _remove(self, one: Wanted) -> None:
        units = [self.site.socket(one.port), self.site.service(one.port)]
        self.systemd.call("stop", "--", *units)
        self.systemd.call("disable", "--quiet", "--", *units)
        self.systemd.call("reset-failed", "--", *units, check=False)
        belongings.remove_file(self.site.drop_in(units[1]))
