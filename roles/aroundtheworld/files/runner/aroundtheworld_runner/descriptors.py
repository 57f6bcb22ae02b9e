"""How many files and connections a process may have open, and what a worker does near the limit.

The kernel gives a new descriptor the lowest free number, so that number tells, without counting,
how many there are.
"""

import errno
import os
import resource
import socket
from pathlib import Path
from typing import Any

from tornado.ioloop import IOLoop

RESERVE = 256  # descriptors that visitors' connections leave to the application and to the runner
PAUSE = 0.2  # seconds until it is tried again to accept
# What `accept` fails with when the process, or the host, cannot open any more.
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def most() -> int:
    """Return how many descriptors this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def count() -> int:
    """Return how many descriptors this process has."""
    directory = "/proc/self/fd"
    # Linux knows since 6.2; before, the size is 0, and the names have to be read.
    if size := Path(directory).stat().st_size:
        return size
    with os.scandir(directory) as names:
        return sum(1 for _ in names)


def is_reserved(number: int) -> bool:
    """Tell whether a descriptor is one of the last, which are not for visitors."""
    limit = most()
    return number >= limit - min(RESERVE, limit // 4)


class PatientListener:
    """A listening socket from which nothing is accepted for a moment when nothing can be.

    Tornado would try again at once, and take the whole processor for it: the connection that it
    cannot accept stays in the queue.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Take a listening socket that is to be added to a server in this thread's loop."""
        self._socket = sock
        self._loop = IOLoop.current()
        self._closed = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection as a socket does; `BlockingIOError` means none at the moment."""
        try:
            return self._socket.accept()
        except OSError as error:
            if error.errno not in SCARCE:
                raise
        self._loop.update_handler(self._socket, 0)
        self._loop.call_later(PAUSE, self._go_on)
        raise BlockingIOError

    def _go_on(self) -> None:
        if not self._closed:
            self._loop.update_handler(self._socket, IOLoop.READ)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket, whose handler has been removed from the loop."""
        self._closed = True
        self._socket.close()
