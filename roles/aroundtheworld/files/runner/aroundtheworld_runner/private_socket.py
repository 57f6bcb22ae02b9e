"""UNIX sockets that only their owner and root can open."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tornado.netutil import bind_unix_socket


class PrivateSocketError(Exception):
    """A private socket cannot be made; the text says where and why."""


@contextlib.contextmanager
def private_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at the path, in place of a socket that an earlier process left there.

    Afterwards the path is removed, unless another process has put its own socket there.

    Yields:
        The listening socket, non-blocking.

    Raises:
        PrivateSocketError: It cannot be made, or something there is not a socket.
    """
    try:
        sock = bind_unix_socket(str(path), mode=0o600)
        inode = path.lstat().st_ino
    except OSError as error:
        raise PrivateSocketError(
            f"the socket {path} cannot be made: {error.strerror or error}"
        ) from None
    except ValueError:
        raise PrivateSocketError(
            f"the socket {path} cannot be made: something else is there, which is not removed"
        ) from None
    try:
        yield sock
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_ino == inode:
                path.unlink()
