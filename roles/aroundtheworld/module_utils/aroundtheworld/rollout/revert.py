"""The way back: unit files and workers as they were before a rollout that failed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.rollout.handover import Handover
from ansible.module_utils.aroundtheworld.rollout.units import stated
from ansible.module_utils.aroundtheworld.rollout.workers import Wanted
from ansible.module_utils.aroundtheworld.systemd import HostError


class Revert(Handover):
    """Keeps what there was, and puts it back."""

    def _keep_before(self) -> None:
        """Keep the unit files as they are, unless a rollout that was cut off kept better ones."""
        before = self.site.before
        if before.exists() or not self.site.current.is_symlink():
            return
        unfinished = before.with_name(f"{before.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        for path in self.files:
            if path.exists():
                copy = unfinished / path.relative_to(self.site.units)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
        if unfinished.exists():
            unfinished.rename(before)

    def _revert(self, touched: Sequence[Wanted]) -> str:
        """Put the unit files and every touched worker back; return what to say about it."""
        before = self.site.before
        if not before.exists():
            return ""
        with self._phase("revert"):
            self.files = {
                self.site.units / copy.relative_to(before): copy.read_text()
                for copy in before.rglob("*")
                if copy.is_file()
            }
            drop_ins = {one: self.site.drop_in(self.site.service(one.port)) for one in touched}
            self._write(path for path in self.files if path not in drop_ins.values())
            self._reload()
            try:
                for one, path in reversed(drop_ins.items()):
                    if path in self.files:
                        self._exchange_back(one, self.files[path])
                    else:  # a worker that there was not before
                        self._remove(one)
                self._stop_stand_ins()
                self._reload()
            except HostError as failure:
                return f"\nGoing back failed as well: {failure}"
        shutil.rmtree(before, ignore_errors=True)
        release = self.site.current_release()
        return f"\nEvery worker that was touched is back on release {release}."

    def _exchange_back(self, one: Wanted, text: str) -> None:
        """Let the worker run what its former drop-in says, unless it never stopped to."""
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
        service = self.site.service(one.port)
        health = self._health(service)
        self._write([self.site.drop_in(service)])
        if health.runs(release, config):
            return
        path = self.site.drop_in(self.site.stand_in(one.port))
        self.files[path] = text
        self._write([path])
        self._reload()
        self._exchange([former])

    def _remove(self, one: Wanted) -> None:
        units = [self.site.socket(one.port), self.site.service(one.port)]
        self.systemd.call("stop", "--", *units)
        self.systemd.call("disable", "--quiet", "--", *units)
        belongings.remove_file(self.site.drop_in(units[1]))
