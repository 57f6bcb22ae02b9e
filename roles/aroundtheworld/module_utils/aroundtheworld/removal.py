"""What there is of a site on its host, and how it goes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.accounts import find_user, remove_user
from ansible.module_utils.aroundtheworld.changelog import append_log, log_path
from ansible.module_utils.aroundtheworld.claims import (
    MADE_BY,
    claim_path,
    claim_text,
    read_claims,
    removed,
)
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.lock import now
from ansible.module_utils.aroundtheworld.running import Running
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd

ROOT = Path("/")
# What the role makes in a site's home; whatever else is there is somebody else's.
SHARED, LOG = "shared", log_path(Path()).name
MADE = ("current", ".before", "releases", "environments", "assets", "maintenance.html", ".lock")
# What it makes beside the claim.
SETTINGS = ("environment", "secrets", "settings.key")


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
        self.claim_path = claim_path(site, root / "etc")
        self.others = read_claims(root / "etc")
        self.others.pop(site, None)
        self.claim = belongings.read_claim(site, root)
        self.exists = bool(self.claim)
        if not self.exists:  # what carries the mark goes all the same
            marked = [str(path) for path in belongings.marked_files(site, root)]
            self.claim = {"site": site, "home": str(home), "user": user}
            self.claim["has"] = belongings.nothing() | {"files": marked}
        if self.claim["home"] != str(home):
            raise HostError(
                f"aroundtheworld_home: {str(home)!r} is not where the site {site!r} is on this "
                f"host, which is {self.claim['home']!r}; nothing was changed. Give that one."
            )
        self.has = self.claim["has"]
        self.files = [Path(path) for path in self.has["files"]]
        worth_keeping = (home / SHARED, self.etc / "secrets")
        self.keeps = not data and self.exists and any(path.exists() for path in worth_keeping)
        self.running = Running(systemd, site, self.files, root).groups()
        units = belongings.unit_directory(root)
        found = [path for path in self.files if path.is_relative_to(units)]
        present = [path for path in found if path.exists() or path.is_symlink()]
        present += belongings.half_made(found)
        self.unit_files = sorted({*present, *belongings.links(found, units)})
        self.directories: list[Path] = []
        self.paths = list(self._paths())

    def _paths(self) -> Iterator[Path]:
        """Yield what goes beside the units, and keeps nothing of what the app keeps."""
        units = belongings.unit_directory(self.root)
        logs = self.root / "var" / "log" / "nginx"
        beside = [
            path
            for path in self.files
            if not path.is_relative_to(units) and not path.is_relative_to(logs)
        ]
        beside += belongings.half_made(beside)
        if self.exists:
            beside.append(self.root / "run" / self.site)
            # Unit files from before a rollout that was cut off.
            beside += [units / f".{self.site}.before", units / f".{self.site}.before.new"]
        yield from (path for path in beside if path.exists() or path.is_symlink())
        if not self.exists:
            return
        own = [path for path in self._children(self.home) if self._made(path.name)]
        settings = [path for path in self._children(self.etc) if self._setting(path.name)]
        if self.keeps:
            yield from (path for path in own if path.name not in (SHARED, LOG))
            yield from (path for path in settings if path.name != "secrets")
        else:
            yield from own
            yield from settings
            yield from belongings.log_files(self.site, self.root)
            self.directories = list(self._directories())
            yield from self.directories

    def _directories(self) -> Iterator[Path]:
        """Yield the directories that the role made and that are empty when all else is gone."""
        going = set(self.files)
        for path in sorted(map(Path, self.has["directories"]), reverse=True):
            if path == self.home:
                stays = set(self.strangers_at_home())
            elif path.is_relative_to(self.home) or path.is_relative_to(self.etc):
                continue  # it goes with what it is in
            else:
                stays = set(self._children(path)) - going
            if path.is_dir() and not stays:
                going.add(path)
                yield path

    @staticmethod
    def _children(directory: Path) -> list[Path]:
        return sorted(directory.iterdir()) if directory.is_dir() else []

    @staticmethod
    def _made(name: str) -> bool:
        """Tell whether the role makes this in a home, also by half."""
        whole = (*MADE, SHARED, LOG)
        return name in whole or any(name.startswith(f".{one.lstrip('.')}.") for one in whole)

    @staticmethod
    def _setting(name: str) -> bool:
        """Tell whether the role makes this beside the claim, also by half."""
        return name in SETTINGS or any(name.startswith(f".{one}.") for one in SETTINGS)

    def strangers_at_home(self) -> list[Path]:
        """Return what is in the home and not the role's."""
        home = self._children(self.home) if self.exists else []
        return [path for path in home if not self._made(path.name)]

    def strangers(self) -> list[Path]:
        """Return what is in the site's directories and not the role's."""
        settings = self._children(self.etc) if self.exists else []
        claim = self.claim_path.name
        beside = [
            path
            for file in self.unit_files
            if file.name == belongings.DROP_IN
            for path in self._children(file.parent)
            if path != file
        ]
        return [
            *self.strangers_at_home(),
            *(path for path in settings if not self._setting(path.name) and claim not in path.name),
            *beside,
        ]

    def users(self) -> list[str]:
        """Return the users that go: the role made them, and nothing of theirs stays."""
        if self.keeps or not self.exists or self.strangers_at_home():
            return []
        others = {other["user"] for other in self.others.values()}
        # One from before the inventory named another, too.
        names = {self.claim["user"], *(entry["name"] for entry in self.has["users"])}
        return sorted(name for name in names - others if self._made_user(name))

    def _made_user(self, name: str) -> bool:
        user = find_user(name)
        if user is None:
            return False
        return user.pw_gecos == MADE_BY or {"name": name, "uid": user.pw_uid} in self.has["users"]

    def kept(self) -> list[str]:
        """Return what is left of the site afterwards, each a sentence."""
        said = [f"{path} is not the role's, and stays." for path in self.strangers()]
        if self.keeps:
            logs = belongings.log_files(self.site, self.root)
            paths = [self.home / SHARED, self.home / LOG, self.etc / "secrets", *logs]
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
        plan += [
            (f"remove {path}", partial(belongings.remove_file, path)) for path in self.unit_files
        ]
        if self.unit_files:
            plan.append(("have systemd forget them", partial(self.systemd.call, "daemon-reload")))
        for path in self.paths:
            own = path in self.directories
            way = partial(self._remove_directory, path) if own else partial(remove, path)
            plan.append((f"remove {path}", way))
        run = self.systemd.module.run_command
        plan += [
            (f"remove the user {user}", partial(remove_user, user, run)) for user in self.users()
        ]
        text = claim_text(removed(self.claim))
        stays = self.keeps or bool(self.strangers_at_home())
        if self.exists and not stays:
            plan.append((f"remove {self.claim_path}", self._remove_claim))
        elif stays and self.claim_path.read_text() != text:
            write = partial(write_atomically, self.claim_path, text, 0o644)
            plan.append((f"keep the site's name for its data, in {self.claim_path}", write))
        return plan

    def _stop(self, names: Sequence[str]) -> None:
        self.systemd.call("stop", "--", *names)
        self.systemd.call("reset-failed", "--", *names, check=False)

    def _remove_directory(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # somebody put something there meanwhile
            path.rmdir()

    def _remove_claim(self) -> None:
        """Remove the claim, and its directory with it unless there are others' files in it."""
        own = str(self.etc) in self.has["directories"]
        for name, other in self.others.items():  # what leads to its home goes with the last site
            leads = [one for one in map(Path, self.has["directories"]) if one.is_dir()]
            leads = [one for one in leads if Path(other["home"]).is_relative_to(one)]
            belongings.take(name, directories=leads, root=self.root)
        self.claim_path.unlink(missing_ok=True)
        for left in self.etc.glob(f".{self.claim_path.name}.*"):  # from a run that was killed
            left.unlink()
        if own:
            with contextlib.suppress(OSError):
                self.etc.rmdir()

    def carry_out(self, plan: Sequence[tuple[str, Callable[[], object]]], who: str) -> None:
        """Do what there is to do; raises `HostError`."""
        current = self.home / "current"
        release = current.readlink().name if current.is_symlink() else ""
        for _, way in plan:
            way()
        if self.home.is_dir() and self.keeps:
            entry = {"time": now(), "who": who, "verb": "remove", "from": release}
            end = {"to": "nothing", "phases": [], "outcome": "done", "cause": ""}
            append_log(self.home, entry | end)


def remove(path: Path) -> None:
    """Remove whatever is at the path, if it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
