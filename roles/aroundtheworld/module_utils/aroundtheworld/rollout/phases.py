"""The phases of a rollout, for people who watch it and for the log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any


class Phases:
    """Reports each phase when it begins, and notes how long it took.

    Attributes:
        done: The phases until now, each with ``name`` and ``seconds``.
        failed: The innermost phase that an exception left, or an empty text.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Take what is called with the name of each phase that begins."""
        self._report = report
        self.done: list[dict[str, Any]] = []
        self.failed = ""

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Carry out the block as a phase; it is also noted when it fails."""
        with contextlib.suppress(OSError):  # it is for readers only; a disk may be full
            self._report(name)
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            self.failed = self.failed or name
            raise
        finally:
            self.done.append({"name": name, "seconds": round(time.monotonic() - begun, 2)})
