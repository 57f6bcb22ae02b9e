"""A site's unit files: where they are, and how their texts are read."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld.files import read_exactly, write_atomically
from ansible.module_utils.aroundtheworld.layout import ROOT

UNIT_DIRECTORY = Path("/etc/systemd/system")
CONFIG = "@CONFIG@"


def split_units(text: str) -> dict[Path, str]:
    """Return path to content from a text in the format of ``systemctl cat``."""
    parts = re.split(r"^# (/\S+)\n", text, flags=re.M)[1:]
    return {
        Path(path): content.strip() + "\n"
        for path, content in zip(parts[::2], parts[1::2], strict=True)
    }


def config_id(texts: Iterable[str], watched: Iterable[Path], key: bytes) -> str:
    """Return 12 hexadecimal digits that stand for everything that a worker must be restarted for.

    The watched files may hold secrets and everybody may read the id, so it comes from a keyed hash:
    without the key nobody can try which content leads to an id.
    """
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for text in texts:
        digest.update(b"text %d\0" % len(text.encode()) + text.encode())
    for path in sorted(watched):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path} {len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def settings_key(path: Path, *, make: bool) -> bytes:
    """Return the key of `config_id`, which only root can read.

    Args:
        path: Where it is.
        make: Whether it is made when there is none; else it is empty then.
    """
    if make and not read_exactly(path):
        write_atomically(path, secrets.token_hex(32), 0o600)
    return read_exactly(path).encode()


def stated(text: str, variable: str) -> str:
    """Return the value that a unit file's text gives the environment variable, or an empty text."""
    found = re.search(rf"^Environment={variable}=(\S*)$", text, flags=re.M)
    return found[1] if found else ""


def unified_diff(path: Path, before: str, after: str) -> str:
    """Return the difference as ``diff -u`` shows it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path)
    )
    return "".join(lines)


def text_of(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    return read_exactly(path)


@dataclass(frozen=True)
class Site:
    """Where a site and its units are, and how a new process has to prove itself."""

    name: str
    home: Path
    canary_seconds: float = 0.0
    units: Path = UNIT_DIRECTORY
    run: Path = Path("/run")
    root: Path = ROOT

    def service(self, port: int | str) -> str:
        """Return the name of a worker's service unit."""
        return f"{self.name}@{port}.service"

    def socket(self, port: int | str) -> str:
        """Return the name of a worker's socket unit."""
        return f"{self.name}@{port}.socket"

    def stand_in(self, port: int | str) -> str:
        """Return the name of the unit that stands in for a worker."""
        return f"{self.name}-handover@{port}.service"

    def drop_in(self, unit: str) -> Path:
        """Return the path of a unit's drop-in, which names its release and its pool's settings."""
        return self.units / f"{unit}.d" / "pool.conf"

    def private(self, unit: str, socket: str) -> Path:
        """Return the path of a private socket, ``control`` or ``app``, of a worker or stand-in."""
        prefix, _, instance = unit.removesuffix(".service").partition("@")
        infix = "handover-" if prefix.endswith("-handover") else ""
        return self.run / self.name / f"{infix}{instance}" / f"{socket}.sock"

    def metrics(self, kind: str) -> str:
        """Return the name of a unit of the metrics' endpoint, a ``socket`` or ``service``."""
        return f"{self.name}-metrics.{kind}"

    @property
    def current(self) -> Path:
        """Return the link to the release that all workers run."""
        return self.home / "current"

    @property
    def before(self) -> Path:
        """Return the directory with the unit files from before a rollout that is under way.

        It is beside them, on the same file system, so that putting them back takes no room there.
        """
        return self.units / f".{self.name}.before"

    @property
    def kept(self) -> Path | None:
        """Return where unit files from before a rollout are, if one is under way.

        Former versions of the role kept them in the home.
        """
        places = (self.before, self.home / ".before")
        return next((path for path in places if path.exists()), None)

    def current_release(self) -> str:
        """Return the id of the release that `current` points at, or an empty text."""
        return self.current.readlink().name if self.current.is_symlink() else ""
