"""Handover: running workers are replaced behind stand-ins, and no request is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible.module_utils.aroundtheworld.rollout.gate import Gate
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.systemd import HostError


def stand_in_text(text: str) -> str:
    """Return the drop-in of a stand-in, from that of its worker.

    It is in a slice of its own, with the limits of the worker's: were it in the same one, two
    processes of a pool would have to do with the memory of one.
    """
    return re.sub(r"^Slice=(.*)\.slice$", r"Slice=\1.handover.slice", text, flags=re.M)


class Handover:
    """Replaces one worker, or several that do the same at the same time.

    Several at once, because most of a handover is waiting for processes.

    The stand-in of a sticky worker proves itself and takes no connection: sessions that began in it
    would end with it, soon after they had ended with the worker before. So visitors wait in the
    socket until the worker is back.
    """

    def __init__(
        self,
        host: Host,
        files: UnitFiles,
        gate: Gate,
        drop_ins: Mapping[Worker, str],
        restarted: set[str],
    ) -> None:
        """Prepare it; nothing happens yet.

        Args:
            host: The host.
            files: What writes unit files.
            gate: What both processes of a worker have to pass.
            drop_ins: The workers as they should be, each with the text of its drop-in. Those of
                their stand-ins are written already.
            restarted: Where the services are noted before they are restarted.
        """
        self._host, self._files, self._gate = host, files, gate
        self._drop_ins = drop_ins
        self._workers = list(drop_ins)
        self._restarted = restarted

    def run(self) -> None:
        """Let stand-ins prove themselves and take over; then restart the workers behind them."""
        self._start_stand_ins()
        self._let_stand_ins_accept()
        self._restart_workers()
        # They finish what they have, while the next workers are already on their way.
        stand_ins = [worker.stand_in for worker in self._workers]
        self._host.systemd.call("stop", "--no-block", "--", *stand_ins)

    def _start_stand_ins(self) -> None:
        """Start the stand-ins; one that a failed run left may run something else."""
        systemd = self._host.systemd
        names = [worker.stand_in for worker in self._workers]
        systemd.call("stop", "--", *names)
        try:
            systemd.call("start", "--", *names)
        except HostError as problem:
            units = systemd.show(names)
            failed = next(
                (name for name in names if units[name].get("ActiveState") != "active"), names[0]
            )
            raise HostError(
                f"{failed} did not become ready, so the worker it would stand in for was not "
                f"touched: {problem}. {self._gate.journal(failed)}"
            ) from None

    def _let_stand_ins_accept(self) -> None:
        """Let the stand-ins take connections, when all have passed the gate."""
        runners = [worker for worker in self._workers if worker.kind == "runner"]
        for worker in self._workers:
            if worker.kind != "runner":
                self._gate.settle(worker, worker.stand_in)
        try:
            for worker in runners:
                self._gate.check(worker, worker.stand_in, "it was started", state="held")
        except HostError:
            # They have no visitors to finish with, and one that is blocked would take its time.
            stand_ins = [worker.stand_in for worker in runners]
            self._host.systemd.call("kill", "--signal=KILL", "--", *stand_ins, check=False)
            raise
        for worker in runners:
            if worker.sticky:
                continue
            control = self._host.site.private(worker.stand_in, "control")
            if problem := self._host.sockets.accept(control):
                raise self._gate.failure(worker, worker.stand_in, problem)

    def _restart_workers(self) -> None:
        """Restart the workers with their new drop-ins, through the same gate."""
        self._files.write({worker.drop_in: text for worker, text in self._drop_ins.items()})
        self._files.reload()
        services = [worker.service for worker in self._workers]
        context = "it was restarted"
        self._restarted.update(services)
        try:
            self._host.systemd.call("restart", "--", *services)
        except HostError as problem:
            context = str(problem)
        for worker in self._workers:
            if worker.kind == "takes":
                self._gate.settle(worker, worker.service)
            self._gate.check(worker, worker.service, context)
