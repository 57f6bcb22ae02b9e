"""Which TCP sockets of the host listen, from the kernel's tables."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.aroundtheworld.untrusted import process_name


def bracketed(address: str) -> str:
    """Return an address as it is written before ``:port``: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


class Listener(NamedTuple):
    """A listening TCP socket: its address, port, and the inode by which /proc/PID/fd names it."""

    address: str
    port: int
    inode: str

    def __str__(self) -> str:
        """Return ``address:port``, with brackets around an IPv6 address."""
        return f"{bracketed(self.address)}:{self.port}"


def parse_listeners(text: str, family: socket.AddressFamily) -> Iterator[Listener]:
    """Yield the listening sockets in the text of ``/proc/net/tcp`` or ``tcp6`` (proc(5))."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] != "0A":  # TCP_LISTEN
            continue
        digits, port = fields[1].split(":")
        # The kernel prints addresses as words in the machine's own byte order.
        words = [digits[start : start + 8] for start in range(0, len(digits), 8)]
        packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
        yield Listener(socket.inet_ntop(family, packed), int(port, 16), fields[9])


def holders(inodes: Collection[str], proc: Path = Path("/proc")) -> Iterator[tuple[str, int, str]]:
    """Yield who holds these sockets, by the ids of processes: an inode, a process, its name."""
    for process in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            for handle in (proc / str(process) / "fd").iterdir():
                link = str(handle.readlink())
                if link.startswith("socket:[") and (inode := link[8:-1]) in inodes:
                    yield inode, process, process_name(proc / str(process))


def listeners() -> list[Listener]:
    """Return all listening TCP sockets of the host."""
    return [
        listener
        for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))
        if (table := Path("/proc/net", name)).exists()
        for listener in parse_listeners(table.read_text(), family)
    ]
