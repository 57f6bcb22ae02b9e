"""Which files a site should have in nginx's directories, and which it should not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import SystemLayout
from ansible.module_utils.aroundtheworld.nginx import site
from ansible.module_utils.aroundtheworld.nginx.configuration import Run
from ansible.module_utils.aroundtheworld.nginx.site import Place
from ansible.module_utils.aroundtheworld.nginx.states import Link, Private, Shared, State


@dataclass(frozen=True)
class Directories:
    """Where nginx's files are, and where each site's claim is."""

    nginx: Path
    etc: Path

    @property
    def default(self) -> Path:
        """Return the link by which Debian's welcome page is on."""
        return self.nginx / "sites-enabled" / "default"


def expected_states(
    run: Run,
    name: str,
    content: str,
    place: Place,
    where: Directories,
    *,
    remove_default: bool,
    private: Mapping[str, str],
    passwords: Mapping[str, str],
) -> dict[Path, State]:
    """Return what should be at which path, in the order in which it is done.

    Args:
        run: Runs a command.
        name: The site's.
        content: Its configuration; an empty text when nginx should not serve it any more.
        place: Where its configuration is.
        where: The directories.
        remove_default: Whether Debian's welcome page is switched off.
        private: What else the configuration needs, path to text, for the root user alone.
        passwords: The same, for nginx's own processes too.
    """
    states: dict[Path, State] = {Path(path): Private(text) for path, text in private.items()}
    states |= {Path(path): Shared(text) for path, text in passwords.items()}
    note = where.etc / name / site.NOTE
    if content:
        states[place.file] = content
        if place.link:
            states[place.link] = Link(place.file)
    kept = set(states)
    for path in (*_former(name, place, where), *_former_private(name, where)):
        # A certificate of another kind is in use until there is the first of a CA.
        if path not in kept and str(path) not in content:
            states[path] = None
    if content and remove_default and site.default_is_on(run, where.nginx):
        # The note first: that it is off by the site's doing must never be forgotten.
        if note.parent.is_dir():
            states[note] = site.note_text(str(where.default.readlink()))
        states[where.default] = None
    target = "" if content else site.read_note(name, where.etc)
    if target:
        states[note] = None
        if heirs := site.heirs(name, where.etc):
            # Their visitors have come to where it was; the last of the sites switches it on again.
            states[where.etc / heirs[0] / site.NOTE] = site.note_text(target)
        elif not os.path.lexists(where.default) and site.default_is_debians(run, where.nginx):
            states[where.default] = Link(target)
    return states


def _former(name: str, place: Place, where: Directories) -> Iterator[Path]:
    """Yield where files of the site are, links before what they lead to."""
    usual = site.debian(name, where.nginx)
    links = [usual.read, place.read, where.nginx / "conf.d" / f"{name}.conf"]
    for path in dict.fromkeys([*links, usual.file, place.file]):
        if os.path.lexists(path) and _is_own(path, name, usual, where):
            yield path


def _former_private(name: str, where: Directories) -> Iterator[Path]:
    """Yield the certificates, keys and passwords that the role wrote for the site."""
    layout = SystemLayout(name, where.etc.parent)
    listed = belongings.files(name, root=where.etc.parent)
    yield from sorted(path for path in listed if path.parent in (layout.tls, layout.passwords))


def _is_own(path: Path, name: str, usual: Place, where: Directories) -> bool:
    """Tell whether a path of the site's name is the site's; a broken link there is."""
    if path.is_symlink() and path.readlink() == usual.file:
        return True
    listed = belongings.files(name, root=where.etc.parent)
    return path in listed or bool(site.is_own(path, name))
