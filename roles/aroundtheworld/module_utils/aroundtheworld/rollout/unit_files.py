"""Unit files are written, put back or removed; then systemd reads what changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.units import text_of
from ansible.module_utils.aroundtheworld.systemd import HostError


class UnitFiles:
    """Changes a site's unit files, and knows whether systemd has to read them."""

    def __init__(self, host: Host, *, unread: bool) -> None:
        """Take whether there are files that systemd has not read already."""
        self._host = host
        self._unread = unread

    def write(self, texts: Mapping[Path, str]) -> None:
        """Write files, where they differ; each is replaced at once."""
        changed = {path: text for path, text in texts.items() if text_of(path) != text}
        belongings.take(self._host.site.name, changed, root=self._host.site.root)
        for path, text in changed.items():
            path.parent.mkdir(mode=0o755, exist_ok=True)
            try:
                write_atomically(path, text, 0o644)
            except OSError as error:
                raise HostError(f"{path} cannot be written: {error.strerror}") from None
            self._unread = True

    def put_back(self, path: Path, copy: Path) -> None:
        """Make a file what was kept as `copy`."""
        self._unread = self._unread or text_of(path) != text_of(copy)
        put_back(path, copy)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        belongings.remove_file(path)
        self._unread = True

    def reload(self) -> None:
        """Have systemd read what it has not read yet."""
        if self._unread:
            self._host.systemd.call("daemon-reload")
            self._unread = False


def put_back(path: Path, copy: Path) -> None:
    """Make `path` the file that was kept as `copy`, also on a disk that is full."""
    if path.exists() and path.read_bytes() == copy.read_bytes():
        return
    path.parent.mkdir(mode=0o755, exist_ok=True)
    fresh = path.with_name(f".{path.name}.former")
    try:
        fresh.unlink(missing_ok=True)
        os.link(copy, fresh)
        fresh.replace(path)
    except OSError:
        try:
            copy.replace(path)
        except OSError:  # kept on another file system, by a former version of the role
            write_atomically(path, text_of(copy), 0o644)
