#!/usr/bin/python
"""Ansible module: nothing of a site is left on the host but, unless that is asked for, its data.

What is done follows from what is found, so a site that was made by half goes as well, and a run
that was cut off is completed by the next one. The site's claim goes last: while it is there, the
host knows that something is left.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_remove
short_description: Remove a site that nginx serves no more
description:
  - Stops the workers, which finish what they have, and removes units, releases and settings.
  - Data stays unless it is asked for, and with it the secrets, the user, the logs and the claim.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  user: {description: User that the workers run as., type: str, required: true}
  data:
    description: Whether what the app keeps, its secrets and logs go as well.
    type: bool
    default: false
  who: {description: Who makes this change., type: str, default: somebody}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Nothing of the site is left but its data
  aroundtheworld_remove:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    user: tornado
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
kept: {description: "What is left of the site, each a sentence", type: list, returned: always}
"""

import pwd
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.claims import (
    MADE_BY,
    claim_path,
    claim_text,
    read_claims,
    removed,
)
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.lock import (
    append_log,
    lock_path,
    log_path,
    now,
    only_change,
)
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule

ROOT = Path("/")
# What the role makes in a site's home; whatever else is there is somebody else's.
SHARED, LOG = "shared", log_path(Path()).name
MADE = ("current", ".before", "releases", "environments", "assets", "maintenance.html", ".lock")


def unit_patterns(site: str) -> list[list[str]]:
    """Return how the names of the site's units look, in groups that stop at once, in order.

    Sockets first, because a connection to one would start its service again.
    """
    names = ("-handover@*", "@*", "-prepare", "-run-*", "-metrics")
    return [
        [f"{site}@*.socket", f"{site}-metrics.socket"],
        [f"{site}{name}.service" for name in names],
        [f"{site}-*.slice"],
        [f"{site}.slice"],
    ]


def file_patterns(site: str) -> list[str]:
    """Return how the paths of the site's unit files look, from systemd's directory on."""
    names = ("@*", "-handover@*", "-prepare.service", "-metrics.*", "-*.slice")
    links = (f"*.wants/{site}{name}" for name in ("@*", "-metrics.socket"))
    return [*(f"{site}{name}" for name in names), *links]


class Removal:
    """Finds what there is of a site, and removes it."""

    def __init__(
        self, systemd: Systemd, site: str, home: Path, user: str, *, data: bool, root: Path = ROOT
    ) -> None:
        """Read the state; nothing is changed yet.

        Raises:
            HostError: The site's home on the host is another one.
        """
        self.systemd, self.site, self.home, self.root = systemd, site, home, root
        self.etc = root / "etc" / site
        self.logs = root / "var" / "log" / "nginx"
        self.claim_path = claim_path(site, root / "etc")
        self.others = read_claims(root / "etc")
        self.claim: dict[str, Any] = {"site": site, "home": str(home), "user": user}
        self.claim |= self.others.pop(site, {})
        if self.claim["home"] != str(home):
            raise HostError(
                f"aroundtheworld_home: {str(home)!r} is not where the site {site!r} is on this "
                f"host, which is {self.claim['home']!r}; nothing was changed. Give that one."
            )
        worth_keeping = (home / SHARED, self.etc / "secrets")
        self.keeps = not data and any(path.exists() for path in worth_keeping)
        self.running = [self._running(patterns) for patterns in unit_patterns(site)]
        units = root / "etc" / "systemd" / "system"
        found = {path for pattern in file_patterns(site) for path in units.glob(pattern)}
        self.unit_files = sorted(found)
        self.paths = list(self._paths())

    def _running(self, patterns: Sequence[str]) -> list[str]:
        """Return the units that are not simply inactive."""
        out = self.systemd.call("list-units", "--all", "--plain", "--no-legend", *patterns)
        units = (line.split() for line in out.splitlines() if line.strip())
        return [name for name, _, active, *_ in units if active != "inactive"]

    def _paths(self) -> Iterator[Path]:
        """Yield what goes beside the units, and keeps nothing of what the app keeps."""
        beside = [self.root / "run" / self.site]
        beside.append(self.root / "usr" / "local" / "sbin" / f"{self.site}-run")
        yield from (path for path in beside if path.exists())
        own = [path for path in self._children(self.home) if self._made(path.name)]
        settings = self._children(self.etc)
        if self.keeps:
            yield from (path for path in own if path.name not in (SHARED, LOG))
            kept = (self.etc / "secrets", self.claim_path)
            yield from (path for path in settings if path not in kept)
        else:
            yield from own
            if self.home.is_dir() and not self.strangers():
                yield self.home
            yield from self.log_files()

    @staticmethod
    def _children(directory: Path) -> list[Path]:
        return sorted(directory.iterdir()) if directory.is_dir() else []

    @staticmethod
    def _made(name: str) -> bool:
        """Tell whether the role makes this in a home, also by half."""
        whole = (*MADE, SHARED, LOG)
        return name in whole or any(name.startswith(f".{one.lstrip('.')}.") for one in whole)

    def strangers(self) -> list[Path]:
        """Return what is in the home and not the role's."""
        return [path for path in self._children(self.home) if not self._made(path.name)]

    def log_files(self) -> list[Path]:
        """Return nginx's logs of the site, those of former days included."""
        kinds = ("access", "error")
        return sorted(path for kind in kinds for path in self.logs.glob(f"{self.site}.{kind}.log*"))

    def user_goes(self) -> bool:
        """Tell whether the user was made by the role, and nothing of it stays."""
        try:
            made_by = pwd.getpwnam(self.claim["user"]).pw_gecos
        except KeyError:
            return False
        shared = any(other["user"] == self.claim["user"] for other in self.others.values())
        return made_by == MADE_BY and not (self.keeps or shared or self.strangers())

    def kept(self) -> list[str]:
        """Return what is left of the site afterwards, each a sentence."""
        said = [f"{path} is not the role's, and stays." for path in self.strangers()]
        if self.keeps:
            paths = [self.home / SHARED, self.home / LOG, self.etc / "secrets", *self.log_files()]
            said += [f"{path} stays." for path in paths if path.exists()]
            said.append(
                f"The user {self.claim['user']} stays with its files. To remove all of that too: "
                "--tags remove -e aroundtheworld_remove_data=true"
            )
        return said

    def plan(self) -> list[tuple[str, Callable[[], object]]]:
        """Return what there is to do, in order, each a sentence and how it is done."""
        plan: list[tuple[str, Callable[[], object]]] = [
            (f"stop {', '.join(names)}", partial(self._stop, names))
            for names in self.running
            if names
        ]
        plan += [(f"remove {path}", partial(remove, path)) for path in self.unit_files]
        if self.unit_files:
            plan.append(("have systemd forget them", partial(self.systemd.call, "daemon-reload")))
        for path in self.paths:
            way = self._remove_home if path == self.home else partial(remove, path)
            plan.append((f"remove {path}", way))
        if self.user_goes():
            plan.append((f"remove the user {self.claim['user']}", self._remove_user))
        text = claim_text(removed(self.claim))
        if not self.keeps and self.etc.is_dir():
            plan.append((f"remove {self.etc}", partial(remove, self.etc)))
        elif self.keeps and text_of(self.claim_path) != text:
            write = partial(write_atomically, self.claim_path, text, 0o644)
            plan.append((f"keep the site's name for its data, in {self.claim_path}", write))
        return plan

    def _stop(self, names: Sequence[str]) -> None:
        self.systemd.call("stop", "--", *names)
        self.systemd.call("reset-failed", "--", *names, check=False)

    def _remove_home(self) -> None:
        lock_path(self.home).unlink(missing_ok=True)
        self.home.rmdir()

    def _remove_user(self) -> None:
        user = self.claim["user"]
        code, out, error = self.systemd.module.run_command(["userdel", user])
        if code:
            raise HostError(
                f"The user {user} could not be removed; mend the cause and run again. userdel "
                f"said: {(error or out).strip()}"
            )

    def carry_out(self, plan: Sequence[tuple[str, Callable[[], object]]], who: str) -> None:
        """Do what there is to do, as the only change of the site; raises `HostError`."""
        with only_change(self.home, who, "removal") if self.home.is_dir() else nullcontext():
            current = self.home / "current"
            release = current.readlink().name if current.is_symlink() else ""
            for _, way in plan:
                way()
            if self.home.is_dir() and self.keeps:
                entry = {"time": now(), "who": who, "verb": "remove", "from": release}
                end = {"to": "nothing", "phases": [], "outcome": "done", "cause": ""}
                append_log(self.home, entry | end)
            lock_path(self.home).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove whatever is at the path, if it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def text_of(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    return path.read_text() if path.exists() else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "data": {"type": "bool", "default": False},
            "who": {"type": "str", "default": "somebody"},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    try:
        removal = Removal(
            Systemd(module), given["site"], Path(given["home"]), given["user"], data=given["data"]
        )
        plan, kept = removal.plan(), removal.kept()
        if plan and not module.check_mode:
            removal.carry_out(plan, given["who"])
    except (HostError, OSError) as failure:
        module.fail_json(msg=f"The site was not removed, or not all of it: {failure}")
    steps = [sentence for sentence, _ in plan]
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        kept=kept,
        diff={"prepared": "\n".join(steps)} if steps else {},
    )


if __name__ == "__main__":
    main()
