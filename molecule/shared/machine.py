"""What this machine allows for test hosts: commands as root, limits, free ports."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


class HostError(Exception):
    """Something a person must hear about, in a sentence."""


def say(message: str) -> None:
    """Report progress at once."""
    print(message, flush=True)


def as_root(command: Sequence[str]) -> list[str]:
    """Return the command as root has to run it.

    Raises:
        HostError: there is no such program.
    """
    if shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        raise HostError(f"{command[0]} is missing: `scripts/bootstrap hosts` installs it.")
    # Ansible's tasks have no terminal on which sudo could ask for a password.
    return [*([] if os.geteuid() == 0 else ["sudo", "-n"]), *command]


def run(*command: str, stdin: bytes | None = None, problem: str = "") -> str:
    """Run a command as root and return what it printed.

    Raises:
        HostError: the command failed; the message is `problem` and what the command printed.
    """
    result = subprocess.run(as_root(command), input=stdin, capture_output=True, check=False)
    if result.returncode == 0:
        return result.stdout.decode().strip()
    output = result.stderr.decode(errors="replace").strip()
    if output.startswith("sudo:"):
        raise HostError(
            f"Test hosts need root, and sudo did not give it without a password ({output}): "
            "run make as root, or allow this user NOPASSWD in /etc/sudoers.d."
        )
    raise HostError(f"{problem or 'This failed: ' + ' '.join(command)}\n{output}")


def runtime_options() -> list[str]:
    """Return the options of `podman create` that depend on the machine."""
    # podman asks for limits that a machine without CAP_SYS_RESOURCE may not set, and on the way
    # lowers its own number of processes to the kernel's number of process ids.
    files = min(_hard_limit(resource.RLIMIT_NOFILE), 2**20)
    pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = min(_hard_limit(resource.RLIMIT_NPROC), pids)
    options = [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}"]
    # On cgroup v1, also in its hybrid mode, crun gives a systemd no hierarchy that it may write.
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        options.append("--runtime=runc")
    return options


def _hard_limit(which: int) -> int:
    hard = resource.getrlimit(which)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def is_free(port: int) -> bool:
    """Return whether a port of 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose_ports(publish: Iterable[str]) -> dict[str, int]:
    """Choose a port of 127.0.0.1 for each port that a host publishes.

    Args:
        publish: `80`, `80=8081` or `80=8080?`, as the module says.

    Raises:
        HostError: a wish is not of that form, or the port that it names is taken.
    """
    wishes = {"22": "22", **{re.split("=", wish)[0]: wish for wish in publish}}
    ports = {}
    with contextlib.ExitStack() as held:
        for wish in wishes.values():
            match = re.fullmatch(r"(\d+)(?:=(\d+)(\??))?", wish)
            if match is None:
                raise HostError(f"Cannot publish {wish!r}: say 80, 80=8081 or '80=8080?'.")
            own, port, or_any = match.groups()
            if port and is_free(int(port)):
                ports[own] = int(port)
            elif port and not or_any:
                raise HostError(f"Port {port} of 127.0.0.1 is taken: choose another.")
            else:
                # Held until all are chosen, so that no two are the same.
                probe = held.enter_context(socket.socket())
                probe.bind(("127.0.0.1", 0))
                ports[own] = probe.getsockname()[1]
    return ports
