"""What systemd and a service exchange: sockets and notifications.

Small enough to own, so that the application's virtual environment needs no other dependency.
"""

import logging
import os
import socket

FIRST_PASSED_FD = 3

log = logging.getLogger(__name__)


class PassedSocketError(Exception):
    """A file descriptor that systemd passed cannot be served from; the text says which and why."""


def passes_sockets() -> bool:
    """Tell whether a service manager started this process with sockets that are not taken yet."""
    return os.environ.get("LISTEN_PID") == str(os.getpid())


def take_listening_sockets() -> list[socket.socket]:
    """Return the listening sockets that systemd passed to this process, non-blocking.

    The variables that announce them are removed from the environment and the descriptors are
    closed on exec, so that programs which the application starts do not take them for theirs.

    Returns:
        The sockets in the order of the socket unit; empty when none were passed, or when the
        variables are meant for another process.

    Raises:
        PassedSocketError: A descriptor is not a listening stream socket.
    """
    passed = {
        name: os.environ.pop(name, "")
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    }
    if passed["LISTEN_PID"] != str(os.getpid()) or not passed["LISTEN_FDS"].isdecimal():
        return []
    return [
        _listening_socket(fd)
        for fd in range(FIRST_PASSED_FD, FIRST_PASSED_FD + int(passed["LISTEN_FDS"]))
    ]


def _listening_socket(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise PassedSocketError(f"file descriptor {fd} from systemd: {error.strerror}") from error
    if sock.type != socket.SOCK_STREAM or not listening:
        raise PassedSocketError(
            f"file descriptor {fd} from systemd is not a listening stream socket; "
            "the socket unit must use ListenStream= and Accept=no"
        )
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def notify(*assignments: str) -> bool:
    """Send assignments such as `READY=1` to the service manager.

    An error is logged, never raised: the work that the message reports goes on.

    Returns:
        Whether it was sent; False without a service manager that listens.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # a name in Linux's abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            # A stuck service manager must not hold up the event loop for long.
            sock.settimeout(1)
            sock.connect(address)
            sock.sendall("\n".join(assignments).encode())
    except OSError as error:
        log.warning("cannot notify the service manager of %s: %s", assignments[0], error)
        return False
    return True


def watchdog_seconds() -> float | None:
    """Return the time within which systemd expects a sign of life, None if it expects none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID") or str(os.getpid())
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
