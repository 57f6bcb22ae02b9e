#!/usr/bin/python
"""Ansible module: every worker of a site runs the wanted release with the wanted settings.

What is done follows from the state that is found, not from what changed in this run: unit files are
compared with the wanted ones, and each running worker is asked on its private socket which release
and settings it runs. So a run that was cut off anywhere is completed by the next one.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_workers
short_description: Run a site's workers as systemd services
description:
  - Writes the unit files, and starts or restarts, one at a time, each worker that does not run what
    it should.
  - A worker counts as started when it says on its private socket that it is ready, with the wanted
    release.
  - Before the first one starts, the unit C(SITE-prepare.service) has to succeed.
  - C(current) is switched when all workers run the release.
options:
  site: {description: Name of the site and prefix of its units., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  release: {description: Id of the wanted release., type: str, required: true}
  address:
    description: Address of the listening sockets, IPv6 in brackets.
    type: str
    required: true
  units:
    description:
      - All unit files in the format of C(systemctl cat). C(@CONFIG@) in them stands for a worker's
        settings.
    type: str
    required: true
  workers:
    description: The workers in the order of their restarts, each with C(port) and C(pool).
    type: list
    elements: dict
    required: true
  watch:
    description: Files and directories whose change makes workers restart.
    type: list
    elements: path
    default: []
  remove_orphans:
    description: Only remove workers and pools that are not wanted any more.
    type: bool
    default: false
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Every worker runs the release
  aroundtheworld_workers:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    release: 0123456789ab
    address: 127.0.0.1
    units: "{{ lookup('ansible.builtin.template', 'units.j2') }}"
    workers: [{port: 10001, pool: public}]
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
orphans: {description: Units that no pool lists any more, type: list, returned: always}
"""

import difflib
import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld_files import link_atomically, write_atomically
from ansible.module_utils.aroundtheworld_sockets import listeners
from ansible.module_utils.basic import AnsibleModule

UNIT_DIRECTORY = Path("/etc/systemd/system")
CONFIG = "@CONFIG@"
POLL_SECONDS = 0.05


class HostError(Exception):
    """Something on the host did not come about; the message says what, for a person."""


# --- Unit files -----------------------------------------------------------------------------------


def split_units(text: str) -> dict[Path, str]:
    """Return path to content from a text in the format of ``systemctl cat``."""
    parts = re.split(r"^# (/\S+)\n", text, flags=re.M)[1:]
    return {
        Path(path): content.strip() + "\n"
        for path, content in zip(parts[::2], parts[1::2], strict=True)
    }


def config_id(texts: Iterable[str], watched: Iterable[Path]) -> str:
    """Return 12 hexadecimal digits that stand for everything that a worker must be restarted for.

    Of the watched files, which may hold secrets, only the time of their last change goes in.
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path in sorted(watched):
        if path.exists():
            digest.update(f"{path} {path.stat().st_mtime_ns}\0".encode())
    return digest.hexdigest()[:12]


def unified_diff(path: Path, before: str, after: str) -> str:
    """Return the difference as ``diff -u`` shows it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path)
    )
    return "".join(lines)


# --- What systemd and the workers say -------------------------------------------------------------


class Systemd:
    """Asks systemd and tells it, through systemctl."""

    def __init__(self, module: AnsibleModule) -> None:
        """Keep `module` for running commands."""
        self.module = module

    def call(self, *arguments: str, check: bool = True) -> str:
        """Return what ``systemctl`` prints; raises `HostError` when it fails."""
        code, out, error = self.module.run_command(["systemctl", *arguments])
        if code and check:
            raise HostError(f"systemctl {' '.join(arguments[:4])} failed: {(error or out).strip()}")
        return str(out)

    def show(self, units: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return unit name to its properties, for all `units` in one call."""
        if not units:
            return {}
        names = "Id,ActiveState,UnitFileState,NeedDaemonReload"
        started = "ExecMainStartTimestampMonotonic"
        out = self.call("show", f"--property={names},{started}", "--", *units)
        found = {}
        for block in out.strip().split("\n\n"):
            properties = dict(line.partition("=")[::2] for line in block.splitlines())
            found[properties["Id"]] = properties
        return found

    def loaded(self, pattern: str) -> set[str]:
        """Return the names of the units in memory that match `pattern`."""
        out = self.call("list-units", "--all", "--plain", "--no-legend", pattern)
        return {line.split()[0] for line in out.splitlines() if line.strip()}

    def journal(self, unit: str, lines: int = 20) -> str:
        """Return the last `lines` that the unit wrote to the journal."""
        command = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}"]
        return str(self.module.run_command(command)[1]).strip()


def ask(control: Path, timeout: float = 2.0) -> dict[str, Any]:
    """Return what the worker behind the private socket says of itself, or nothing."""
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(timeout)
        connection.sock.connect(str(control))
        connection.request("GET", "/health")
        said: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return said


def addresses() -> set[str]:
    """Return where the host listens, each as ``address:port``.

    Of a socket unit whose file was changed, systemd says that it listens on the new address while
    it no longer listens at all; the kernel knows.
    """
    return set(map(str, listeners()))


@dataclass(frozen=True)
class Wanted:
    """A worker as it should be."""

    port: int
    pool: str
    release: str
    config: str
    listen: str

    def why_restart(
        self,
        service: Mapping[str, str],
        listening: Mapping[str, str],
        addresses: Collection[str],
        said: Mapping[str, Any],
    ) -> str:
        """Return why the worker has to be (re)started, or an empty text if it need not.

        Args:
            service: Properties of its service unit.
            listening: Properties of its socket unit.
            addresses: Where the host listens, each as ``address:port``.
            said: Its answer on the private socket.
        """
        if service.get("ActiveState") != "active" or listening.get("ActiveState") != "active":
            return "it is not running"
        if self.listen not in addresses:
            return f"nothing listens on {self.listen}"
        if not said:
            return "it does not answer on its private socket"
        if said.get("release") != self.release:
            return f"it runs release {said.get('release')}"
        if said.get("config") != self.config:
            return "its settings changed"
        return ""


class Workers:
    """Compares a site's workers with the wanted ones, and makes them so."""

    def __init__(
        self,
        site: str,
        home: Path,
        systemd: Systemd,
        files: Mapping[Path, str],
        wanted: Sequence[Wanted],
        *,
        ask: Callable[[Path], Mapping[str, Any]] = ask,
        addresses: Callable[[], Collection[str]] = addresses,
        units: Path = UNIT_DIRECTORY,
        run: Path = Path("/run"),
    ) -> None:
        """Read the state; nothing is changed yet.

        Args:
            site: Prefix of the units.
            home: Where ``current`` and ``releases`` are.
            systemd: How to ask and tell systemd.
            files: Path to text of all unit files, complete.
            wanted: The workers in the order of their restarts.
            ask: What a worker says on the private socket at a path.
            addresses: Where the host listens.
            units: Where unit files are.
            run: Where private sockets are.
        """
        self.site, self.home, self.systemd, self.files = site, home, systemd, files
        self.wanted, self.ask, self.units, self.run = wanted, ask, units, run
        names = [name for one in wanted for name in (self.service(one.port), self.socket(one.port))]
        # The preparation and the slices too: whether systemd has read them is part of the state.
        others = [path.name for path in files if path.parent == units and "@" not in path.name]
        self.state = systemd.show([*names, *others])
        self.addresses = addresses()
        self.outdated = {
            path: text
            for path, text in files.items()
            if not path.exists() or path.read_text() != text
        }
        self.disabled = [n for n in names if self.state[n].get("UnitFileState") != "enabled"]
        self.unread = [n for n, one in self.state.items() if one.get("NeedDaemonReload") == "yes"]
        self.restart = {one: why for one in wanted if (why := self._why_restart(one))}
        self.orphans = self._find_orphans()

    def service(self, port: int | str) -> str:
        """Return the name of a worker's service unit."""
        return f"{self.site}@{port}.service"

    def socket(self, port: int | str) -> str:
        """Return the name of a worker's socket unit."""
        return f"{self.site}@{port}.socket"

    def control(self, port: int) -> Path:
        """Return the path of a worker's private socket."""
        return self.run / self.site / str(port) / "control.sock"

    def _why_restart(self, one: Wanted) -> str:
        service, listening = self.service(one.port), self.socket(one.port)
        said = self.ask(self.control(one.port))
        return one.why_restart(
            self.state[service], self.state[listening], self.addresses, said
        ) or ("its unit files were edited" if self._edited(one) else "")

    def _edited(self, one: Wanted) -> bool:
        """Tell whether the worker may have been started with unit files that somebody edited.

        That is so when they are not the wanted ones, or were written after it started.
        """
        service = self.service(one.port)
        names = [f"{self.site}@.service", f"{service}.d/pool.conf", f"{self.site}-{one.pool}.slice"]
        paths = [self.units / name for name in names]
        if self.outdated.keys() & set(paths):
            return True
        since_boot = int(self.state[service].get("ExecMainStartTimestampMonotonic", 0)) / 1e6
        now = time.time()
        started = now - time.monotonic() + since_boot
        return bool(since_boot) and any(started < path.stat().st_mtime <= now for path in paths)

    def _find_orphans(self) -> dict[str, list[Path]]:
        """Return the units that are on the host but not wanted, each with its files."""
        ports = {str(one.port) for one in self.wanted}
        orphans: dict[str, list[Path]] = {}
        for name in self.systemd.loaded(f"{self.site}@*"):
            if name.partition("@")[2].rpartition(".")[0] not in ports:
                orphans.setdefault(name, [])
        for directory in self.units.glob(f"{self.site}@?*.service.d"):
            port = directory.name.partition("@")[2].removesuffix(".service.d")
            if port not in ports:
                orphans.setdefault(self.service(port), []).append(directory)
                orphans.setdefault(self.socket(port), [])
        for link in self.units.glob(f"*.wants/{self.site}@*"):
            if link.name.partition("@")[2].rpartition(".")[0] not in ports:
                orphans.setdefault(link.name, []).append(link)
        for slice_file in self.units.glob(f"{self.site}-*.slice"):
            if slice_file not in self.files:
                orphans.setdefault(slice_file.name, []).append(slice_file)
        return orphans

    @property
    def current(self) -> Path:
        """Return the link to the release that all workers run."""
        return self.home / "current"

    def current_target(self) -> str:
        """Return what the link ``current`` should hold."""
        return f"releases/{self.wanted[0].release}"

    def stale_current(self) -> bool:
        """Tell whether ``current`` is to be switched."""
        return (
            not self.current.is_symlink() or str(self.current.readlink()) != self.current_target()
        )

    def steps(self) -> list[str]:
        """Return what `converge` will do, in order, each a sentence."""
        steps = [f"start {self.site}-prepare.service"] if self.restart else []
        steps += [f"write {path}" for path in self.outdated]
        steps += [f"have systemd read {name}" for name in self.unread]
        steps += [f"enable {name}" for name in self.disabled]
        steps += [
            f"restart {self.service(one.port)} ({one.pool}), because {why}"
            for one, why in self.restart.items()
        ]
        if self.stale_current():
            steps.append(f"switch {self.current} to {self.current_target()}")
        return steps

    def converge(self) -> None:
        """Carry out the steps; raises `HostError` with the last words of a worker that fails."""
        if self.restart:
            self._prepare()
        self._write(list(self.outdated))
        if self.disabled:
            self.systemd.call("enable", "--quiet", "--", *self.disabled)
        running = self._start_stopped()
        for one in running:
            self._restart(one)
        if self.stale_current():
            link_atomically(self.current, self.current_target())

    def _write(self, paths: Iterable[Path]) -> None:
        """Write those of the unit files at `paths` that are outdated, and have systemd know."""
        outdated = {path: self.outdated.pop(path) for path in paths if path in self.outdated}
        for path, text in outdated.items():
            path.parent.mkdir(mode=0o755, exist_ok=True)
            write_atomically(path, text, 0o644)
        if outdated or self.unread:
            self.systemd.call("daemon-reload")
            self.unread = []

    def _prepare(self) -> None:
        """Have the release tried and the database migrated; raises `HostError` when that fails.

        Until then its own unit is the only one written: with the others in place, a worker that
        dies would come back with the release that was refused.
        """
        unit = f"{self.site}-prepare.service"
        self._write([self.units / unit])
        try:
            self.systemd.call("start", unit)
        except HostError:
            said = self.systemd.journal(unit)
            # The site goes on as it was, so nothing on the host is left marked as failed.
            self.systemd.call("reset-failed", "--", unit, check=False)
            raise HostError(
                f"The release {self.wanted[0].release} cannot be run, so no worker was restarted. "
                f"{unit} said:\n{said}"
            ) from None

    def _start_stopped(self) -> list[Wanted]:
        """Start at once all that do not run, since nobody waits for them; return the others."""
        stopped = [
            one
            for one in self.restart
            if self.state[self.service(one.port)].get("ActiveState") in ("inactive", "failed")
        ]
        if stopped:
            # A socket on the right address keeps what it has queued; any other is made anew.
            for verb, right in (("start", True), ("restart", False)):
                names = [
                    self.socket(one.port)
                    for one in stopped
                    if (one.listen in self.addresses) is right
                ]
                if names:
                    self.systemd.call(verb, "--", *names)
            services = [self.service(one.port) for one in stopped]
            try:
                self.systemd.call("start", "--", *services)
            except HostError as failure:
                for one in stopped:
                    self._await(one, str(failure))
        for one in stopped:
            self._await(one, "it was started")
        return [one for one in self.restart if one not in stopped]

    def _restart(self, one: Wanted) -> None:
        service, listening = self.service(one.port), self.socket(one.port)
        failure = "it was restarted"
        try:
            if one.listen in self.addresses:
                self.systemd.call("restart", "--", service)
            else:  # another address: the socket is a new one
                self.systemd.call("stop", "--", service, listening)
                self.systemd.call("start", "--", listening, service)
        except HostError as problem:
            failure = str(problem)
        self._await(one, failure)

    def _await(self, one: Wanted, context: str) -> None:
        """Return when the worker says that it is ready with what is wanted.

        systemd returned from starting it, so it was ready or has failed; a moment is left for a
        restart.
        """
        service = self.service(one.port)
        deadline = time.monotonic() + 5
        while True:
            said = self.ask(self.control(one.port))
            if said.get("state") == "ready":
                if (said.get("release"), said.get("config")) == (one.release, one.config):
                    return
                context = f"it runs release {said.get('release')}, not {one.release}"
            if time.monotonic() > deadline:
                raise HostError(
                    f"The worker {service} of pool {one.pool} is not ready: {context}. "
                    f"It said:\n{self.systemd.journal(service)}"
                )
            time.sleep(POLL_SECONDS)

    def remove_orphans(self) -> None:
        """Stop and remove the units that no pool lists any more."""
        workers = [name for name in self.orphans if "@" in name]
        # Sockets first: a connection to one would start its service again.
        workers.sort(key=lambda name: not name.endswith(".socket"))
        for names in (
            [name for name in workers if name.endswith(".socket")],
            [name for name in workers if name.endswith(".service")],
            [name for name in self.orphans if name.endswith(".slice")],
        ):
            if names:
                self.systemd.call("stop", "--", *names)
        if workers:
            self.systemd.call("disable", "--quiet", "--", *workers)
        for path in (path for paths in self.orphans.values() for path in paths):
            if path.is_dir() and not path.is_symlink():
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        self.systemd.call("daemon-reload")
        self.systemd.call("reset-failed", "--", *self.orphans, check=False)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "units": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "dict", "required": True},
            "watch": {"type": "list", "elements": "path", "default": []},
            "remove_orphans": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    site, files = given["site"], split_units(given["units"])
    watched = [
        file
        for path in map(Path, given["watch"])
        for file in (path.iterdir() if path.is_dir() else [path])
    ]
    wanted = []
    for worker in given["workers"]:
        template = UNIT_DIRECTORY / f"{site}@.service"
        dropin = UNIT_DIRECTORY / f"{site}@{worker['port']}.service.d" / "pool.conf"
        # The slice too: Debian 13's systemd applies its new limits when a unit in it starts.
        pool_slice = UNIT_DIRECTORY / f"{site}-{worker['pool']}.slice"
        config = config_id((files[template], files[dropin], files[pool_slice]), watched)
        files[dropin] = files[dropin].replace(CONFIG, config)
        listen = f"{given['address']}:{worker['port']}"
        wanted.append(Wanted(int(worker["port"]), worker["pool"], given["release"], config, listen))
    try:
        workers = Workers(site, Path(given["home"]), Systemd(module), files, wanted)
        orphans = sorted(workers.orphans)
        if given["remove_orphans"]:
            steps = [f"remove {name}" for name in orphans]
            diff = ""
        else:
            steps = workers.steps()
            diff = "".join(
                unified_diff(path, path.read_text() if path.exists() else "", text)
                for path, text in workers.outdated.items()
            )
        if steps and not module.check_mode:
            workers.remove_orphans() if given["remove_orphans"] else workers.converge()
    except HostError as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        orphans=orphans,
        diff={"prepared": "\n".join(filter(None, [diff, *steps]))} if steps else {},
    )


if __name__ == "__main__":
    main()
