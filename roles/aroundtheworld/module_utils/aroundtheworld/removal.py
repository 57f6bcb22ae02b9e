"""What there is of a site on its host, and how it goes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.accounts import find_user, remove_user
from ansible.module_utils.aroundtheworld.changelog import append_log
from ansible.module_utils.aroundtheworld.claims import MADE_BY, claim_text, read_claims, removed
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.layout import DROP_IN, ROOT, SiteLayout
from ansible.module_utils.aroundtheworld.running import Running
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd


class Removal:
    """Finds what there is of a site, and removes it."""

    def __init__(
        self, systemd: Systemd, site: str, home: Path, user: str, *, data: bool, root: Path = ROOT
    ) -> None:
        """Read the state; nothing is changed yet.

        Raises:
            HostError: The site's home on the host is another one.
        """
        self.systemd, self.site, self.root = systemd, site, root
        self.layout = layout = SiteLayout(home, site, root)
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
        worth_keeping = (layout.shared, layout.secrets)
        self.keeps = not data and self.exists and any(path.exists() for path in worth_keeping)
        self.running = Running(systemd, site, self.files, root).groups()
        found = [path for path in self.files if path.is_relative_to(layout.units)]
        present = [path for path in found if path.exists() or path.is_symlink()]
        present += belongings.half_made(found)
        self.unit_files = sorted({*present, *belongings.links(found, layout.units)})
        self.directories: list[Path] = []
        self.paths = list(self._paths())

    def _paths(self) -> Iterator[Path]:
        """Yield what goes beside the units, and keeps nothing of what the app keeps."""
        layout = self.layout
        beside = [
            path
            for path in self.files
            if not path.is_relative_to(layout.units) and not path.is_relative_to(layout.nginx_logs)
        ]
        beside += belongings.half_made(beside)
        if self.exists:
            beside.append(layout.run)
            # Unit files from before a rollout that was cut off.
            beside += [layout.before, layout.unfinished_before]
        yield from (path for path in beside if path.exists() or path.is_symlink())
        if not self.exists:
            return
        own = [path for path in self._children(layout.home) if self._made(path)]
        settings = [path for path in self._children(layout.etc) if self._setting(path)]
        if self.keeps:
            yield from (path for path in own if path not in layout.data)
            yield from (path for path in settings if path != layout.secrets)
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
            if path == self.layout.home:
                stays = set(self.strangers_at_home())
            elif path.is_relative_to(self.layout.home) or path.is_relative_to(self.layout.etc):
                continue  # it goes with what it is in
            else:
                stays = set(self._children(path)) - going
            if path.is_dir() and not stays:
                going.add(path)
                yield path

    @staticmethod
    def _children(directory: Path) -> list[Path]:
        return sorted(directory.iterdir()) if directory.is_dir() else []

    def _made(self, path: Path) -> bool:
        """Tell whether the role makes this in a home, also by half."""
        return _is_of(path, (*self.layout.made, *self.layout.data))

    def _setting(self, path: Path) -> bool:
        """Tell whether the role makes this beside the claim, also by half."""
        return _is_of(path, self.layout.settings)

    def strangers_at_home(self) -> list[Path]:
        """Return what is in the home and not the role's."""
        home = self._children(self.layout.home) if self.exists else []
        return [path for path in home if not self._made(path)]

    def strangers(self) -> list[Path]:
        """Return what is in the site's directories and not the role's."""
        settings = self._children(self.layout.etc) if self.exists else []
        claim = self.layout.claim.name
        beside = [
            path
            for file in self.unit_files
            if file.name == DROP_IN
            for path in self._children(file.parent)
            if path != file
        ]
        return [
            *self.strangers_at_home(),
            *(path for path in settings if not self._setting(path) and claim not in path.name),
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
            paths = [*self.layout.data, self.layout.secrets, *logs]
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
        path = self.layout.claim
        if self.exists and not stays:
            plan.append((f"remove {path}", self._remove_claim))
        elif stays and path.read_text() != text:
            write = partial(write_atomically, path, text, 0o644)
            plan.append((f"keep the site's name for its data, in {path}", write))
        return plan

    def _stop(self, names: Sequence[str]) -> None:
        self.systemd.call("stop", "--", *names)
        self.systemd.call("reset-failed", "--", *names, check=False)

    def _remove_directory(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # somebody put something there meanwhile
            path.rmdir()

    def _remove_claim(self) -> None:
        """Remove the claim, and its directory with it unless there are others' files in it."""
        etc, path = self.layout.etc, self.layout.claim
        own = str(etc) in self.has["directories"]
        for name, other in self.others.items():  # what leads to its home goes with the last site
            leads = [one for one in map(Path, self.has["directories"]) if one.is_dir()]
            leads = [one for one in leads if Path(other["home"]).is_relative_to(one)]
            belongings.take(name, directories=leads, root=self.root)
        path.unlink(missing_ok=True)
        for left in etc.glob(f".{path.name}.*"):  # from a run that was killed
            left.unlink()
        if own:
            with contextlib.suppress(OSError):
                etc.rmdir()

    def carry_out(self, plan: Sequence[tuple[str, Callable[[], object]]], who: str) -> None:
        """Do what there is to do; raises `HostError`."""
        home, release = self.layout.home, self.layout.current_release()
        for _, way in plan:
            way()
        if home.is_dir() and self.keeps:
            entry = {"time": now(), "who": who, "verb": "remove", "from": release}
            end = {"to": "nothing", "phases": [], "outcome": "done", "cause": ""}
            append_log(home, entry | end)


def _is_of(path: Path, made: Sequence[Path]) -> bool:
    """Tell whether a path is one of those, or what is renamed to one of them when it is whole."""
    names = [whole.name for whole in made]
    return path.name in names or path.name.startswith(
        tuple(f".{name.lstrip('.')}." for name in names)
    )


def remove(path: Path) -> None:
    """Remove whatever is at the path, if it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
