"""What there is of a site on its host: what its removal takes, and what stays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.accounts import find_user
from ansible.module_utils.aroundtheworld.claims import MADE_BY, read_claims
from ansible.module_utils.aroundtheworld.files import read_mapping
from ansible.module_utils.aroundtheworld.layout import DROP_IN, SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError


class Remains:
    """What there is of a site, read once; nothing is changed.

    Attributes:
        layout: Where everything of the site is.
        others: The claims of the other sites on the host.
        claim: What the site has; if there is no claim, what carries the role's mark.
        exists: Whether there is a claim.
        keeps: Whether the data stays, and the secrets, the user and the logs with it.
        files: All files that the site has outside its home, also missing ones.
        unit_files: Unit files, drop-ins and links that go.
        paths: What else goes, in this order; `directories` are the last of them.
        directories: Directories that go if they are empty by then.
    """

    def __init__(self, layout: SiteLayout, user: str, *, data: bool) -> None:
        """Read the state.

        Args:
            layout: Where everything of the site is.
            user: Whom the workers run as.
            data: Whether the data goes as well.

        Raises:
            HostError: The site's home on the host is another one.
        """
        site, home, root = layout.name, layout.home, layout.root
        self.layout = layout
        self.others = read_claims(root / "etc")
        self.others.pop(site, None)
        self.claim = belongings.read_claim(site, root)
        self.exists = bool(self.claim)
        if not self.exists:
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
        self.unit_files = self._unit_files()
        data_goes = self.exists and not self.keeps
        self.directories = list(self._directories()) if data_goes else []
        self.paths = [*self._paths(), *self.directories]

    # --- What goes

    def _unit_files(self) -> list[Path]:
        units = self.layout.units
        listed = [path for path in self.files if path.is_relative_to(units)]
        present = filter(os.path.lexists, listed)
        half_made, links = belongings.half_made(listed), belongings.links(listed, units)
        return sorted({*present, *half_made, *links})

    def _paths(self) -> Iterator[Path]:
        """Yield what goes beside the units, without directories that others may use."""
        layout = self.layout
        beside = [
            path
            for path in self.files
            if not path.is_relative_to(layout.units) and not path.is_relative_to(layout.nginx_logs)
        ]
        beside += belongings.half_made(beside)
        if self.exists:
            # Unit files from before a rollout that was cut off, too.
            beside += [layout.run, layout.before, layout.unfinished_before]
        yield from filter(os.path.lexists, beside)
        if not self.exists:
            return
        stay = (*layout.data, layout.secrets) if self.keeps else ()
        for path in (*_children(layout.home), *_children(layout.etc)):
            if not (self._is_made(path) or self._is_setting(path)) or path in stay:
                continue
            if any(place.parent == path and os.path.lexists(place) for place in stay):
                yield from (inside for inside in _children(path) if inside not in stay)
            else:
                yield path
        if not self.keeps:
            yield from belongings.log_files(layout.name, layout.root)

    def _directories(self) -> Iterator[Path]:
        """Yield the directories that the role made and that are empty when all else is gone."""
        going = {*self.files, *belongings.log_files(self.layout.name, self.layout.root)}
        for path in sorted(map(Path, self.has["directories"]), reverse=True):
            if path == self.layout.home:
                stays = set(self.strangers_at_home())
            elif path.is_relative_to(self.layout.home) or path.is_relative_to(self.layout.etc):
                continue  # it goes with the directory around it
            else:
                stays = set(_children(path)) - going
            if path.is_dir() and not stays:
                going.add(path)
                yield path

    def users(self) -> list[str]:
        """Return the users that go: the role made them, and none of their files stays."""
        if self.keeps or not self.exists or self.strangers_at_home():
            return []
        others = {other["user"] for other in self.others.values()}
        # Also a user of before the inventory named another.
        names = {self.claim["user"], *(entry["name"] for entry in self.has["users"])}
        return sorted(name for name in names - others if self._made_user(name))

    def _made_user(self, name: str) -> bool:
        user = find_user(name)
        if user is None:
            return False
        return user.pw_gecos == MADE_BY or {"name": name, "uid": user.pw_uid} in self.has["users"]

    # --- What stays

    def _is_made(self, path: Path) -> bool:
        """Tell whether the role makes this in a home, also by half."""
        layout = self.layout
        return path.parent == layout.home and _is_of(path, (*layout.made, *layout.data))

    def _is_setting(self, path: Path) -> bool:
        """Tell whether the role makes this beside the claim, also by half."""
        return path.parent == self.layout.etc and _is_of(path, self.layout.settings)

    def strangers_at_home(self) -> list[Path]:
        """Return what is in the home and not the role's."""
        home = _children(self.layout.home) if self.exists else []
        return [path for path in home if not self._is_made(path)]

    def strangers(self) -> list[Path]:
        """Return what is in the site's directories and not the role's."""
        settings = _children(self.layout.etc) if self.exists else []
        claim = self.layout.claim.name
        logs = belongings.log_files(self.layout.name, self.layout.root)
        beside_drop_ins = [
            path
            for file in self.unit_files
            if file.name == DROP_IN
            for path in _children(file.parent)
            if path != file
        ]
        return [
            *self.strangers_at_home(),
            *(path for path in settings if not self._is_setting(path) and claim not in path.name),
            *(path for path in _children(self.layout.logs) if path not in logs),
            *beside_drop_ins,
        ]

    def repository(self) -> str:
        """Return where backups of the site are, or an empty text when it had none."""
        state = read_mapping(self.layout.backup_state)
        return str(state.get("repository", ""))

    def kept(self) -> list[str]:
        """Return what is left of the site afterwards, each a sentence."""
        sentences = [f"{path} is not the role's, and stays." for path in self.strangers()]
        if self.exists and (repository := self.repository()):
            sentences.append(f"The backups in {repository} stay.")
        if self.keeps:
            layout = self.layout
            former_logs = belongings.former_logs(layout.name, layout.root)
            paths = [*layout.data, layout.secrets, layout.logs, *former_logs]
            sentences += [f"{path} stays." for path in paths if path.exists()]
            sentences.append(
                f"The user {self.claim['user']} stays with its files. To remove all of that too: "
                "--tags remove -e aroundtheworld_remove_data=true"
            )
        return sentences


def _children(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _is_of(path: Path, made: Sequence[Path]) -> bool:
    """Tell whether a path is one of those, or a draft that is renamed to one of them."""
    names = [whole.name for whole in made]
    return path.name in names or path.name.startswith(
        tuple(f".{name.lstrip('.')}." for name in names)
    )
