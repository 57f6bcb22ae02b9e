"""Where on a host a site's home may be."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.aroundtheworld.belongings import read_claim
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.layout import ROOT, HomeLayout

ALLOWED = (
    "A home is a directory of its own that does not exist yet or is empty and root's, below /srv, "
    "/opt, /var/lib, /var/www or a file system of your own, as in '/srv/shop'"
)
# What the system, its users or other programs have, with what that means for a site there.
TAKEN = {
    "/home": "the workers' sandbox hides it from them",
    "/root": "the workers' sandbox hides it from them",
    "/run": "it is empty after the next boot, and the workers' sandbox hides part of it",
    "/var/run": "it is empty after the next boot",
    "/tmp": "it is cleaned at every boot, and each worker has its own",  # noqa: S108
    "/var/tmp": "it is cleaned from time to time, and each worker has its own",  # noqa: S108
    "/dev": "the kernel's devices are there",
    "/proc": "the kernel shows its processes there",
    "/sys": "the kernel shows its devices there",
    "/var/www/html": "a web server of this host may show everybody what is there",
    "/var/log": "logs are there, which are rotated and removed",
    "/var/cache": "what is there may be removed at any time",
    "/var/spool": "other programs' queues are there",
    "/var/mail": "people's mail is there",
    "/var/backups": "the system's own copies are there",
    "/var/lock": "locks are there",
    "/etc": "the system's configuration is there",
    "/usr": "it belongs to Debian's packages",
    "/bin": "it belongs to Debian's packages",
    "/sbin": "it belongs to Debian's packages",
    "/lib": "it belongs to Debian's packages",
    "/lib32": "it belongs to Debian's packages",
    "/lib64": "it belongs to Debian's packages",
    "/libx32": "it belongs to Debian's packages",
    "/boot": "the kernel is there",
    "/lost+found": "what fsck finds is there",
}
# Directories that many share: a site gets one below them, and they stay as they are.
SHARED = (
    "/srv",
    "/opt",
    "/var",
    "/var/lib",
    "/var/www",
    "/var/opt",
    "/var/local",
    "/mnt",
    "/media",
)


def home_problems(home: str, site: str, run: Run, root: Path = ROOT) -> Iterator[str]:
    """Yield what keeps `home` from being the home of the site, each a sentence.

    Of a home in which the site runs already, look only at what may change.
    """
    before = read_claim(site, root)
    own = before.get("home") == home
    path = Path(home)
    if not own or not HomeLayout(_below(root, path)).current_release():
        reason = _taken(path) or _way_there(path, root)
        if not reason and not own:
            reason = _other_content(path, root) or _packages(path, run, root)
        if reason:
            yield f"aroundtheworld_home: {home!r} is not allowed; {reason}. {ALLOWED}."
            return
    existing = next(at for at in (_below(root, above) for above in _upwards(path)) if at.exists())
    flags = os.statvfs(existing).f_flag
    for flag, word in ((os.ST_NOEXEC, "noexec"), (os.ST_RDONLY, "ro")):
        if flags & flag:
            yield (
                f"aroundtheworld_home: {home!r} is on a file system that is mounted with "
                f"{word!r}, so that "
                + ("no release could run there" if word == "noexec" else "nothing can be written")
                + f". Mount it without, or give another home. {ALLOWED}."
            )


def _upwards(path: Path) -> list[Path]:
    """Return the path and those that lead to it, the root last."""
    return [path, *path.parents]


def _below(root: Path, path: Path) -> Path:
    """Return where a path of the host is below `root`."""
    return root / str(path).lstrip("/")


def _taken(path: Path) -> str:
    """Return what a path is for already, by its name alone."""
    if str(path) in SHARED:
        return "other programs keep things there as well"
    for name, meaning in TAKEN.items():
        if path.is_relative_to(name):
            return meaning
    if path.is_relative_to("/var") and len(path.parts) > 2:
        allowed = ("lib", "www", "opt", "local")
        if path.parts[2] not in allowed:
            return f"/var/{path.parts[2]} is not for what programs keep"
    return ""


def _way_there(path: Path, root: Path) -> str:
    """Return what is wrong with the directories that lead to a path."""
    for part in reversed(_upwards(path)[:-1]):
        real = _below(root, part)
        if real.is_symlink():
            return f"{part} is a link to {real.readlink()}; give the path that it leads to"
        if not real.exists():
            break
        about = real.stat()
        if not stat.S_ISDIR(about.st_mode):
            return f"{part} is not a directory"
        if part == path:
            break
        if about.st_uid != root.stat().st_uid:
            return f"{part} belongs to {_name(about.st_uid)}, who could put something else there"
        if about.st_mode & 0o022:
            mode = stat.S_IMODE(about.st_mode)
            return f"others may write to {part} (mode {mode:04o}), and put something else there"
        if not about.st_mode & 0o001:
            mode = stat.S_IMODE(about.st_mode)
            return f"the site's user and nginx cannot enter {part} (mode {mode:04o})"
    return ""


def _other_content(path: Path, root: Path) -> str:
    """Return what is in a directory that the role did not make, or whose it is."""
    real = _below(root, path)
    if not real.exists():
        return ""
    if inside := sorted(entry.name for entry in real.iterdir() if entry.name != "lost+found"):
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        return (
            f"it exists and the role did not make it, and there is {', '.join(inside[:3])}{more} "
            "in it. (If that is this site's, from a backup, bring its "
            "/etc/SITE/aroundtheworld.json back as well)"
        )
    about = real.stat()
    mode = stat.S_IMODE(about.st_mode)
    if about.st_uid != root.stat().st_uid or mode & 0o022 or mode & 0o055 != 0o055:
        return (
            f"it exists, and belongs to {_name(about.st_uid)} with mode {mode:04o}; it has to be "
            "root's with 0755"
        )
    return ""


def _packages(path: Path, run: Run, root: Path) -> str:
    """Return which package has a directory that leads to a path, below those that all share."""
    above = [
        str(part)
        for part in _upwards(path)
        if _below(root, part).is_dir() and str(part) not in ("/", *SHARED)
    ]
    if not above:
        return ""
    _, out, _ = run(["dpkg-query", "--search", *above])
    for line in out.splitlines():
        if (found := re.fullmatch(r"(\S[^:]*): (/.*)", line)) and found[2] in above:
            return f"{found[2]} belongs to Debian's package {found[1].split(',')[0]}"
    return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user id {uid}"
