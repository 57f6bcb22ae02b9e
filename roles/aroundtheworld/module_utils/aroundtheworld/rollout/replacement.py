"""Workers are replaced: by handover where a stand-in can serve, or by a plain start or restart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ansible.module_utils.aroundtheworld.rollout.gate import Gate
from ansible.module_utils.aroundtheworld.rollout.handover import Handover, stand_in_text
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.phases import Phases
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.systemd import HostError


class Replacement:
    """Gives workers the release and settings that they should have.

    Attributes:
        restarted: The services that were started or restarted, each noted before it was.
    """

    def __init__(
        self, host: Host, files: UnitFiles, gate: Gate, addresses: Collection[str]
    ) -> None:
        """Take where the host listened at first, each as ``address:port``."""
        self._host, self._files, self._gate = host, files, gate
        self._addresses = addresses
        self.restarted: set[str] = set()

    def start(self, drop_ins: Mapping[Worker, str]) -> None:
        """Start all workers that do not run at the same time, since none waits for another."""
        workers, call = list(drop_ins), self._host.systemd.call
        self._files.write({worker.drop_in: text for worker, text in drop_ins.items()})
        self._files.reload()
        # A socket on the right address keeps the connections that wait in it; any other is renewed.
        for verb, is_right in (("start", True), ("restart", False)):
            sockets = [
                worker.socket
                for worker in workers
                if worker.has_socket and (worker.listen in self._addresses) is is_right
            ]
            if sockets:
                call(verb, "--", *sockets)
        if unused := [worker.socket for worker in workers if worker.kind == "binds"]:
            call("stop", "--", *unused)
        services = [worker.service for worker in workers]
        self.restarted.update(services)
        context = "it was started"
        try:
            call("start", "--", *services)
        except HostError as problem:
            context = str(problem)
        for worker in workers:
            if worker.kind != "queue":
                self._gate.check(worker, worker.service, context)
        if of_queues := [worker for worker in workers if worker.kind == "queue"]:
            self._gate.check_queue(of_queues)

    def write_stand_ins(self, drop_ins: Mapping[Worker, str]) -> None:
        """Give the stand-ins what their workers should have; nothing stands in without a port."""
        self._files.write(
            {
                worker.stand_in_drop_in: stand_in_text(text)
                for worker, text in drop_ins.items()
                if worker.kind != "queue"
            }
        )

    def replace(self, drop_ins: Mapping[Worker, str]) -> None:
        """Replace workers that serve, all at the same time.

        Args:
            drop_ins: The workers as they should be, each with the text of its drop-in.
        """
        of_queues = {worker: text for worker, text in drop_ins.items() if worker.kind == "queue"}
        if of_queues:
            self._exchange(of_queues)
        serving = {worker: text for worker, text in drop_ins.items() if worker.kind != "queue"}
        sockets = self._host.systemd.show([worker.socket for worker in serving])
        sheltered = {}
        for worker, text in serving.items():
            listens = sockets[worker.socket].get("ActiveState") == "active"
            if worker.kind == "binds" or worker.listen not in self._addresses or not listens:
                self._restart(worker, text, sockets=[worker.socket])
            elif (
                worker.sticky and worker.kind == "takes"
            ):  # its stand-in could not hold itself back
                self._restart(worker, text)
            else:
                sheltered[worker] = text
        if sheltered:
            Handover(self._host, self._files, self._gate, sheltered, self.restarted).run()

    def _exchange(self, drop_ins: Mapping[Worker, str]) -> None:
        """Have workers of a queue finish what they have in hand; then start them anew.

        There are never more of them than the pool should have, and never two releases in one.
        """
        services = [worker.service for worker in drop_ins]
        self.restarted.update(services)
        self._host.systemd.call("stop", "--", *services)
        self._files.write({worker.drop_in: text for worker, text in drop_ins.items()})
        self._files.reload()
        self._host.systemd.call("start", "--", *services)
        self._gate.check_queue(drop_ins)

    def _restart(self, worker: Worker, text: str, sockets: Sequence[str] = ()) -> None:
        """Restart a worker for which nothing can stand in.

        Args:
            worker: The worker.
            text: The text of its drop-in.
            sockets: Its socket, where it has none any more, or another than it had; otherwise that
                stays, and connections wait in it.
        """
        self.restarted.add(worker.service)
        self._host.systemd.call("stop", "--", worker.service, *sockets)
        if worker.kind == "binds":
            sockets = ()
        self._files.write({worker.drop_in: text})
        self._files.reload()
        context = "it was restarted"
        try:
            self._host.systemd.call("start", "--", *sockets, worker.service)
        except HostError as problem:
            context = str(problem)
        self._gate.check(worker, worker.service, context)

    def finish(self, instances: Iterable[str], phases: Phases) -> None:
        """Wait until the stand-ins have finished what they have, and remove all traces of them."""
        if names := self._host.loaded_stand_ins(instances):
            with phases.phase("let stand-ins finish"):
                self._host.systemd.call("stop", "--", *names)
            self._host.systemd.call("reset-failed", "--", *names, check=False)
        for instance in sorted(instances):
            drop_in = self._host.site.drop_in(self._host.site.stand_in(instance))
            if drop_in.exists():
                self._files.remove(drop_in)
