"""What the app itself finds wrong with its data, as its own command says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ansible.module_utils.aroundtheworld.app_command import Place, ask
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.process import Process

VARIABLE = "aroundtheworld_data_check_command"
SECONDS = 600  # that it may take
SHOWN = 50  # of the lines that it printed


def findings(run: Run, settings: Settings, command: Sequence[str]) -> Iterator[str]:
    """Yield what the app's command finds, a line each; status 0 says that there is nothing.

    It fails nothing: the data are there, whatever the app thinks of them.

    Args:
        run: Runs a command on the host.
        settings: The site's; its current release is asked.
        command: The words of the command; none without one.
    """
    site, release = settings.site, settings.layout.current_release()
    if not command or not release:
        return
    begun = time.monotonic()
    process, place = Process(settings.process, []), Place.of(settings.layout, release)
    unit = f"{site}-run-data-check"
    answer = ask(run, process, place, command, unit, seconds=SECONDS, lines=SHOWN)
    if not answer.status:
        return
    lines = [line for line in answer.printed.splitlines() if line.strip()]
    ended = f"ended with status {answer.status}"
    if time.monotonic() - begun >= SECONDS:
        ended = f"was ended after {SECONDS} s"
    what = "this is what it printed:" if lines else "it printed nothing."
    yield f"The app's check of its data ({VARIABLE}) {ended}; {what}"
    yield from lines
    if len(lines) == SHOWN:
        yield f"There may be more; `{site}-run` on the host runs it again."
