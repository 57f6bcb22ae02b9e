"""The last lines in the journal about a process that root does not trust.

One line may be 32 MiB long, and may contain commands to a terminal.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from ansible.module_utils.aroundtheworld.untrusted import printable_lines

LIMIT = 64 * 1024  # bytes


def journal_lines(matches: Sequence[str], lines: int, limit: int = LIMIT) -> str:
    """Return the last lines that match, each printable and cut to a length; nothing if that fails.

    Args:
        matches: As journalctl takes them, such as ``--unit=shop@10001.service``.
        lines: How many.
        limit: Bytes to read. Where there are more, the lines are not the last ones, and fewer.
    """
    command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={lines}", *matches]
    try:
        with subprocess.Popen(  # noqa: S603 - its arguments are ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None  # noqa: S101 - for mypy
            text = process.stdout.read(limit).decode(errors="replace")
            process.kill()  # if there is more
    except OSError:
        return ""
    return str(printable_lines(text.strip("\n"), lines))
