"""Which run of Ansible this is, and whether another one is over.

A run is a process on the controller, known by its id and the moment at which it began. A process id
means something within one kernel since it was started, and within one namespace of processes; a run
of another place is only known by what it last wrote on the host.
"""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _began(process: int) -> str:
    """Return when a process began, in words of the system's own, or an empty text."""
    if stat := _text(PROC / str(process) / "stat"):
        return stat.rpartition(")")[2].split()[19]
    if (PROC / "self").exists():
        return ""  # it has ended, or is hidden
    command = ["ps", "-o", "lstart=", "-p", str(process)]  # macOS has no /proc
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the argument is a number
            command, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def _machine() -> str:
    """Return what tells this machine from others, or an empty text where nothing does.

    Containers of one image may share what their files say, so their host name goes in as well.
    """
    identity = _text(Path("/etc/machine-id"))
    if not identity and platform.system() != "Linux":
        identity = platform.node()
    return f"{identity} {socket.gethostname()}" if identity else ""


def _place() -> str:
    """Return what stands for the kernel, since it was started, and the namespace of processes."""
    boot = _text(PROC / "sys" / "kernel" / "random" / "boot_id")
    try:
        namespace = str((PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        namespace = ""
    return f"{boot} {namespace}" if boot else f"{platform.node()}"


def _digest(text: str) -> str:
    """Return what stands for a text: what identifies a controller is nobody's business."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def this_process() -> dict[str, Any]:
    """Return the main process of this run: ``id``, ``began``, ``place`` and ``machine``."""
    parent = multiprocessing.parent_process()  # Ansible runs each task in a process of its own
    process = (parent and parent.pid) or os.getpid()
    return {
        "id": process,
        "began": _began(process),
        "place": _digest(_place()),
        "machine": _digest(_machine()),
    }


def seconds_of_run() -> float | None:
    """Return for how long this run has been going on, or None where nothing says so."""
    began, uptime = this_process()["began"], _text(PROC / "uptime").split()
    if not began.isdecimal() or not uptime:
        return None
    return float(uptime[0]) - int(began) / os.sysconf("SC_CLK_TCK")


def this_run() -> str:
    """Return what tells this run from every other on this machine, or an empty text.

    Empty where nobody says when a process began; a repository is then fetched once a host instead
    of once a run.
    """
    parent = os.getppid()
    began = _began(parent)
    return f"{parent} {began}" if began else ""


def is_here(process: Mapping[str, Any]) -> bool:
    """Tell whether the process of a run is, or was, one of this machine since it was started."""
    return bool(process) and process["place"] == this_process()["place"]


def is_over(process: Mapping[str, Any]) -> bool:
    """Tell whether it is certain that the process of another run has ended.

    Args:
        process: What `this_process` returned there.
    """
    here = this_process()
    if not process or not process.get("began"):
        return False
    if process["place"] != here["place"]:
        # The same machine, started again since.
        return bool(here["machine"]) and process["machine"] == here["machine"] and _is_plain()
    try:
        os.kill(int(process["id"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's, which the kernel may hide
        pass
    began = _began(int(process["id"]))
    return bool(began) and began != process["began"]


def _is_plain() -> bool:
    """Tell whether this process is in the machine's own namespace, and in no container.

    Of one machine there may be many namespaces at once, so another one does not mean another time.
    """
    # The first namespace of a kernel has this number (include/linux/proc_ns.h).
    try:
        return str((PROC / "self" / "ns" / "pid").readlink()) == "pid:[4026531836]"
    except OSError:
        return not (PROC / "self").exists()


def who() -> str:
    """Return who runs Ansible, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()}"


def owner(site: str, host: str, doing: str) -> dict[str, Any]:
    """Return what owns the site on the host `host` of the inventory: this run.

    Two hosts of an inventory that are one site of one machine are two runs.
    """
    process = this_process()
    identity = " ".join(str(value) for value in process.values())
    return {
        "site": site,
        "run": _digest(f"{identity} {host}"),
        "who": who(),
        "doing": doing,
        "process": process,
    }
