"""The exchange of a worker that serves, behind a stand-in, without losing a request."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.rollout.observed import Observed
from ansible.module_utils.aroundtheworld.rollout.units import text_of
from ansible.module_utils.aroundtheworld.rollout.workers import Wanted
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth

POLL_SECONDS = 0.05
# systemd returned from starting a worker, so it was ready or has failed; a restart takes a moment.
READY_SECONDS = 5.0
# Nobody can ask a command whether it takes connections yet, so it gets this long before the process
# beside it, which does, is stopped. Connections that come too early wait in the socket.
SETTLE_SECONDS = 2.0


def stand_in_text(text: str) -> str:
    """Return the drop-in of a stand-in, from that of its worker.

    It is in a slice of its own, with the limits of the worker's: were it in the same one, two
    processes of a pool would have to do with the memory of one.
    """
    return re.sub(r"^Slice=(.*)\.slice$", r"Slice=\1.handover.slice", text, flags=re.M)


class Handover(Observed):
    """Exchanges workers, several at once if need be."""

    unread: list[str]
    failed_in: str

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Tell that it begins, and note how long the block takes, also when it fails."""
        with contextlib.suppress(OSError):  # it is for readers only; a disk may be full
            self.tell(name)
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            self.failed_in = self.failed_in or name
            raise
        finally:
            self.phases.append({"name": name, "seconds": round(time.monotonic() - begun, 2)})

    def _write(self, paths: Iterable[Path]) -> None:
        changed = [path for path in paths if text_of(path) != self.files[path]]
        belongings.take(self.site.name, changed, root=self.site.root)
        for path in changed:
            if text_of(path) != self.files[path]:
                path.parent.mkdir(mode=0o755, exist_ok=True)
                try:
                    write_atomically(path, self.files[path], 0o644)
                except OSError as error:
                    raise HostError(f"{path} cannot be written: {error.strerror}") from None
                self.unread.append(path.name)

    def _reload(self) -> None:
        """Have systemd read what it has not read yet."""
        if self.unread:
            self.systemd.call("daemon-reload")
            self.unread = []

    def _restart_metrics(self) -> None:
        """Have the metrics' endpoint listen as its unit files say; it runs when somebody asks."""
        listening, service = (self.site.metrics(kind) for kind in ("socket", "service"))
        self.systemd.call("stop", "--", service, listening)
        self.systemd.call("start", "--", listening)

    def _health(self, unit: str) -> WorkerHealth:
        return self.talk.health(self.site.private(unit, "control"))

    def _exchange(self, batch: Sequence[Wanted]) -> None:
        """Let stand-ins prove themselves and take over; then restart the workers in their shelter.

        All of the batch do the same at once, because most of it is waiting for processes.
        """
        sockets = {one: self.site.socket(one.port) for one in batch}
        listening = self.systemd.show([*sockets.values()])
        sheltered = []
        for one, name in sockets.items():
            held = listening[name].get("ActiveState") == "active"
            if one.kind == "binds" or one.listen not in self.addresses or not held:
                self._move(one)
            else:
                sheltered.append(one)
        if not sheltered:
            return
        stand_ins = {one: self.site.stand_in(one.port) for one in sheltered}
        services = {one: self.site.service(one.port) for one in sheltered}
        self._begin([*stand_ins.values()])
        self._take_over(stand_ins)
        self._write(self.site.drop_in(service) for service in services.values())
        self._reload()
        failure_text = "it was restarted"
        self.restarted.update(services.values())
        try:
            self.systemd.call("restart", "--", *services.values())
        except HostError as problem:
            failure_text = str(problem)
        for one, service in services.items():
            if one.kind == "takes":
                self._settle(one, service)
            self._gate(one, service, failure_text)
        # They finish what they have, while the next workers are already on their way.
        self.systemd.call("stop", "--no-block", "--", *stand_ins.values())

    def _take_over(self, stand_ins: Mapping[Wanted, str]) -> None:
        """Have the stand-ins take connections, when all have proved themselves."""
        asked = {one: unit for one, unit in stand_ins.items() if one.kind == "runner"}
        for one, stand_in in stand_ins.items():
            if one not in asked:
                self._settle(one, stand_in)
        try:
            for one, stand_in in asked.items():
                self._gate(one, stand_in, "it was started", state="held")
        except HostError:
            # They have no visitors to finish with, and one that is blocked would take its time.
            self.systemd.call("kill", "--signal=KILL", "--", *asked.values(), check=False)
            raise
        for one, stand_in in asked.items():
            if problem := self.talk.accept(self.site.private(stand_in, "control")):
                raise self._not_ready(one, stand_in, problem)

    def _settle(self, one: Wanted, unit: str) -> None:
        """Give a command the time in which it usually comes to take connections."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self._still_runs(one, unit)
            time.sleep(POLL_SECONDS)

    def _still_runs(self, one: Wanted, unit: str) -> None:
        """Raise `HostError` when a command has ended, or was started with something else."""
        if self.systemd.show([unit])[unit].get("ActiveState") != "active":
            raise self._not_ready(one, unit, "its command has ended")
        health = self._health(unit)
        if not health.runs(one.release, one.config):
            raise self._not_ready(
                one, unit, f"it runs release {health.release or 'unknown'}, not {one.release}"
            )

    def _begin(self, stand_ins: Sequence[str]) -> None:
        """Start stand-ins anew; one from a run that failed may run something else."""
        self.systemd.call("stop", "--", *stand_ins)
        try:
            self.systemd.call("start", "--", *stand_ins)
        except HostError as problem:
            state = self.systemd.show(stand_ins)
            failed = next(
                (name for name in stand_ins if state[name].get("ActiveState") != "active"),
                stand_ins[0],
            )
            raise HostError(
                f"{failed} did not become ready, so the worker it would stand in for was not "
                f"touched: {problem}. It said:\n{self.systemd.journal(failed, since=self.begun)}"
            ) from None

    def _move(self, one: Wanted) -> None:
        """Restart a worker for which nobody can stand in: no socket, or another than it had."""
        service, listening = self.site.service(one.port), self.site.socket(one.port)
        sockets = [] if one.kind == "binds" else [listening]
        self.restarted.add(service)
        self.systemd.call("stop", "--", service, listening)
        self._write([self.site.drop_in(service)])
        self._reload()
        failure = "it was restarted"
        try:
            self.systemd.call("start", "--", *sockets, service)
        except HostError as problem:
            failure = str(problem)
        self._gate(one, service, failure)

    def _not_ready(self, one: Wanted, unit: str, why: str) -> HostError:
        return HostError(
            f"{unit} of pool {one.pool} is not ready for visitors: {why}. "
            f"It said:\n{self.systemd.journal(unit, since=self.begun)}"
        )

    def _gate(self, one: Wanted, unit: str, context: str, state: str = "ready") -> None:
        """Return when the process says that it is in `state` with what is wanted, and answers."""
        if one.kind != "runner":
            self._gate_command(one, unit)
            return
        deadline = time.monotonic() + READY_SECONDS
        while True:
            health = self._health(unit)
            if health.state == state:
                if health.runs(one.release, one.config):
                    break
                context = f"it runs release {health.release}, not {one.release}"
            if time.monotonic() > deadline:
                raise self._not_ready(one, unit, context)
            time.sleep(POLL_SECONDS)
        app = self.site.private(unit, "app")
        if problem := self.talk.problem(one.health, app):
            busy = self._health(unit).busy_in
            raise self._not_ready(one, unit, f"{problem}{f', busy in {busy}' if busy else ''}")

    def _gate_command(self, one: Wanted, unit: str) -> None:
        """Return when a command answers where it listens, with what is wanted."""
        deadline = time.monotonic() + one.start_timeout
        while True:
            self._still_runs(one, unit)
            problem = self.talk.problem(one.health, one.listen)
            if not problem:
                return
            if "with status" in problem or time.monotonic() > deadline:
                raise self._not_ready(one, unit, problem)
            time.sleep(POLL_SECONDS)

    def _stop_stand_ins(self) -> None:
        """Wait for the stand-ins to finish what they have, and leave nothing of them behind."""
        names = self._loaded_stand_ins()
        if names:
            with self._phase("let stand-ins finish"):
                self.systemd.call("stop", "--", *names)
            self.systemd.call("reset-failed", "--", *names, check=False)
        for port in sorted(self._ports()):
            drop_in = self.site.drop_in(self.site.stand_in(port))
            if drop_in.exists():
                belongings.remove_file(drop_in)
                self.unread.append(drop_in.parent.name)
