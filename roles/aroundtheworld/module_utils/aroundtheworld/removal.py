"""How a site goes from its host: the steps that follow from what there is of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.accounts import remove_user
from ansible.module_utils.aroundtheworld.changelog import append_log
from ansible.module_utils.aroundtheworld.claims import claim_text, removed
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.files import remove, write_atomically
from ansible.module_utils.aroundtheworld.remains import Remains
from ansible.module_utils.aroundtheworld.running import Running
from ansible.module_utils.aroundtheworld.systemd import Systemd

Step = tuple[str, Callable[[], object]]
"""What is done, in a sentence, and the function that does it."""


def removal_steps(remains: Remains, systemd: Systemd) -> list[Step]:
    """Return what to do, in order; nothing is changed yet."""
    layout = remains.layout
    running = Running(systemd, layout.name, remains.files, layout.root).groups()
    steps: list[Step] = [
        (f"stop {', '.join(names)}", partial(stop, systemd, names)) for names in running if names
    ]
    steps += [
        (f"remove {path}", partial(belongings.remove_file, path)) for path in remains.unit_files
    ]
    if remains.unit_files:
        steps.append(("have systemd forget them", partial(systemd.call, "daemon-reload")))
    for path in remains.paths:
        remove_path = remove_empty if path in remains.directories else remove
        steps.append((f"remove {path}", partial(remove_path, path)))
    run = systemd.module.run_command
    steps += [
        (f"remove the user {user}", partial(remove_user, user, run)) for user in remains.users()
    ]
    text = claim_text(removed(remains.claim))
    stays = remains.keeps or bool(remains.strangers_at_home())
    if remains.exists and not stays:
        steps.append((f"remove {layout.claim}", partial(remove_claim, remains)))
    elif stays and layout.claim.read_text() != text:
        write = partial(write_atomically, layout.claim, text, 0o644)
        steps.append((f"keep the site's name for its data, in {layout.claim}", write))
    return steps


def carry_out(steps: Sequence[Step], remains: Remains, who: str) -> None:
    """Take the steps, and log them if the site's log stays; raises `HostError`."""
    home, release = remains.layout.home, remains.layout.current_release()
    for _, step in steps:
        step()
    if home.is_dir() and remains.keeps:
        entry = {"time": now(), "who": who, "verb": "remove", "from": release}
        end = {"to": "nothing", "phases": [], "outcome": "done", "cause": ""}
        append_log(home, entry | end)


def stop(systemd: Systemd, names: Sequence[str]) -> None:
    """Stop units, and have systemd forget how they ended."""
    systemd.call("stop", "--", *names)
    systemd.call("reset-failed", "--", *names, check=False)


def remove_empty(directory: Path) -> None:
    """Remove a directory, unless somebody put something there meanwhile."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def remove_claim(remains: Remains) -> None:
    """Remove the claim, and its directory if the role made it and nothing else is in it."""
    layout, directories = remains.layout, [Path(path) for path in remains.has["directories"]]
    for name, other in remains.others.items():  # what leads to its home goes with the last site
        shared = [path for path in directories if Path(other["home"]).is_relative_to(path)]
        present = [path for path in shared if path.is_dir()]
        belongings.take(name, directories=present, root=layout.root)
    layout.claim.unlink(missing_ok=True)
    for draft in layout.etc.glob(f".{layout.claim.name}.*"):  # from a run that was killed
        draft.unlink()
    if layout.etc in directories:
        remove_empty(layout.etc)
