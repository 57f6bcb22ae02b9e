"""Throwaway hosts, and running playbooks and commands on them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
CACHE = CHECKOUT / ".cache" / "bench"
TOOLS = Path(sys.executable).parent
HOSTS = CHECKOUT / "molecule" / "shared" / "hosts.py"


class BenchError(Exception):
    """Something could not be measured, in a sentence."""


def run(
    *command: str | Path,
    directory: Path = CHECKOUT,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return what it printed.

    Args:
        command: the program and its arguments.
        directory: where it runs.
        environment: added to this process's own.

    Raises:
        BenchError: it failed; the message ends with the end of its output.
    """
    done = subprocess.run(  # noqa: S603 - the project's own commands
        [str(part) for part in command],
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise BenchError(f"{' '.join(map(str, command))} failed:\n{last}")
    return done.stdout


def run_to_the_end(
    *command: str | Path,
    directory: Path = CHECKOUT,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Do what `run` does, however often Ctrl-C is pressed meanwhile."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        # Out of the reach of the terminal: podman would not ignore the signal.
        run("setsid", "--wait", *command, directory=directory, environment=environment)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def say(message: str) -> None:
    """Report progress at once."""
    print(message, flush=True)


def workers(count: int, first: int = 10001) -> dict[str, Any]:
    """Return the variables for so many workers, from a port on, the last is the admin side's."""
    last = first + count - 1
    return {
        "aroundtheworld_pools": [
            {"name": "public", "ports": list(range(first, last)), "paths": ["/"]},
            {"name": "admin", "ports": [last], "paths": ["/admin"], "blocking": True},
        ]
    }


class Host:
    """A Debian host of its own for a block, bare when the block begins and gone when it ends."""

    def __init__(self, name: str, debian: int = 12) -> None:
        """Name the host; nothing is made yet.

        Args:
            name: the same in every run, so that a run that was killed is cleaned up by the next.
            debian: its release.
        """
        self.name, self.debian = f"bench-{name}", debian
        self.directory = CACHE / name

    def __enter__(self) -> Host:
        """Make the host, and an inventory that holds only it."""
        self._remove()
        try:
            platform = [{"name": self.name, "debian": self.debian}]
            run(*self._command("create", json.dumps(platform)))
            inventory = self.directory / "inventory"
            inventory.mkdir()
            (inventory / "group_vars").symlink_to(CHECKOUT / "inventory" / "local" / "group_vars")
            host = {
                "ansible_host": self.name,
                "ansible_user": "root",
                "ansible_ssh_common_args": f'-F "{self.directory}/ssh_config"',
            }
            # JSON is YAML.
            described = {"aroundtheworld": {"hosts": {self.name: host}}}
            (inventory / "hosts.yml").write_text(json.dumps(described))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the host and all that belongs to it."""
        self._remove()

    def _remove(self) -> None:
        run_to_the_end(*self._command("destroy"))

    def _command(self, verb: str, *arguments: str) -> list[str | Path]:
        directory = f"--directory={self.directory}"
        return [HOSTS, verb, f"--name={self.name}", directory, *arguments]

    def playbook(
        self,
        playbook: str,
        *arguments: str,
        changes: bool,
        cache: Path | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> float:
        """Run a playbook and return how long that took, in seconds.

        Args:
            playbook: its path in the checkout.
            arguments: more for `ansible-playbook`.
            changes: whether it has to change something; a run that does what it should not do, or
                nothing where it should, is no measurement.
            cache: where the controller keeps what it downloads, instead of the user's own cache.
            variables: role variables, instead of the local inventory's.

        Raises:
            BenchError: the run failed, or did not do what it should.
        """
        command: list[str | Path] = [
            TOOLS / "ansible-playbook",
            "--inventory",
            self.directory / "inventory",
        ]
        if variables:
            command += ["--extra-vars", json.dumps(variables)]
        environment = {"XDG_CACHE_HOME": str(cache)} if cache else {}
        began = time.perf_counter()
        output = run(*command, playbook, *arguments, environment=environment)
        took = time.perf_counter() - began
        changed = re.search(r"changed=(\d+)", output)
        if changed is None or (changed[1] != "0") is not changes:
            expected = "something" if changes else "nothing"
            raise BenchError(
                f"{playbook} {' '.join(arguments)} should change {expected}:\n{output}"
            )
        return took

    def install(self, package: str) -> None:
        """Install a package of Debian's, if it is not there."""
        self.shell(f"DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes {package}")

    def add_to_nginx(self, name: str, configuration: str) -> None:
        """Have nginx serve what the site's configuration does not."""
        self.shell(
            f"printf %s {shlex.quote(configuration)} > /etc/nginx/conf.d/{name}.conf"
            " && nginx -t -q && systemctl reload nginx && sleep 1"
        )

    @property
    def address(self) -> str:
        """Where it is reached from here."""
        known = json.loads((self.directory / "hosts.json").read_text())
        return str(known[self.name]["address"])

    def shell(self, command: str) -> str:
        """Run a shell command on the host as root and return what it printed.

        Raises:
            BenchError: it failed.
        """
        return run("ssh", "-F", self.directory / "ssh_config", self.name, command)
