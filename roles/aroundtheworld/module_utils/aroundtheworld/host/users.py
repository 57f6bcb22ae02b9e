"""Which user may run a site's workers.

A user who exists stays exactly as they are. They may run a site when the role made them for it, or
when they are a system user that nobody and nothing else is.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.aroundtheworld.accounts import find_user
from ansible.module_utils.aroundtheworld.claims import MADE_BY, Claim
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.layout import ROOT, HomeLayout
from ansible.module_utils.aroundtheworld.untrusted import process_name

NO_LOGIN = ("nologin", "false")
UNITS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
# A package's; a user that the operator declares in /etc/sysusers.d may be meant for this site.
SYSUSERS = "usr/lib/sysusers.d"


def user_problems(name: str, site: str, *, own: bool, run: Run, root: Path = ROOT) -> Iterator[str]:
    """Yield why the user `name` cannot run the site, each a sentence.

    Args:
        name: As the variable gives it.
        site: Name of the site, whose own units may have this user.
        own: Whether this is the user in the site's claim already.
        run: Runs a command on the host.
        root: Where the host's files are.
    """
    user = find_user(name)
    if user is None:
        if not own and (members := _group(name)) is not None:
            yield (
                f"aroundtheworld_user: {name!r} is not a user of this host, but a group is called "
                f"so already{f' (its members: {members})' if members else ''}, and the user's own "
                "group would need that name. Choose another name, or remove the group if nobody "
                f"needs it (groupdel {name})."
            )
        return
    if user.pw_uid == 0:
        yield (
            f"aroundtheworld_user: {name!r} is root, and workers must not be. Name a user who does "
            "not exist, and the role makes one."
        )
    elif (
        not own
        and user.pw_gecos != MADE_BY
        and (reasons := list(objections(user, site, run, root)))
    ):
        yield (
            f"aroundtheworld_user: {name!r} exists on this host and is somebody else: "
            f"{'; '.join(reasons)}. Name a user who does not exist, and the role makes one; or a "
            "system user without a login shell, keys, a password or processes. (One made by "
            f"'useradd --system' has a shell until 'usermod --shell /usr/sbin/nologin {name}'.)"
        )


def change_problems(claim: Claim, before: Claim) -> Iterator[str]:
    """Yield why a site that has data cannot have another user than it had.

    Args:
        claim: What the site is to have.
        before: What it has; nothing when it is new.
    """
    former, name = before.get("user", ""), claim["user"]
    shared = HomeLayout(Path(claim["home"])).shared
    if former in ("", name) or not shared.is_dir() or not any(shared.iterdir()):
        return
    user = find_user(name)
    if user is None or shared.stat().st_uid != user.pw_uid:
        yield (
            f"aroundtheworld_user: {name!r} is not the user of this site on this host, who is "
            f"{former!r}, and could not read what is in {shared}. Give that name; or make the user "
            f"{name}, give them the data (chown --recursive {name}: {shared}), and run again."
        )


def _group(name: str) -> str | None:
    """Return the members of a group, or nothing when there is no such group."""
    try:
        return ", ".join(grp.getgrnam(name).gr_mem)
    except KeyError:
        return None


def objections(user: pwd.struct_passwd, site: str, run: Run, root: Path = ROOT) -> Iterator[str]:
    """Yield what shows that a user is a person's or another program's."""
    first = first_person(root)
    if user.pw_uid >= first:
        yield (
            f"the user id is {user.pw_uid}, and those of system users are below {first} "
            "(UID_MIN of /etc/login.defs)"
        )
    if logs_in(user.pw_shell, root):
        yield f"the login shell is {user.pw_shell or '/bin/sh'}"
    if keys := key_files(user, run, root):
        yield f"{', '.join(map(str, keys))} lets somebody log in"
    if has_password(user.pw_name, run):
        yield "there is a password"
    if processes := running(user.pw_uid, root):
        shown = ", ".join(f"{name} ({process})" for process, name in processes[:3])
        more = f" and {len(processes) - 3} more" if len(processes) > 3 else ""
        yield f"processes run as that user: {shown}{more}"
    if owner := other_owner(user, site, root):
        yield owner


def first_person(root: Path = ROOT) -> int:
    """Return the first user id of a person, as login.defs(5) says."""
    path = root / "etc" / "login.defs"
    text = path.read_text() if path.exists() else ""
    found = re.search(r"^\s*UID_MIN\s+(\w+)", text, re.M)
    return int(found[1], 0) if found else 1000


def logs_in(shell: str, root: Path = ROOT) -> bool:
    """Tell whether a shell lets its user work; an empty one is /bin/sh."""
    if Path(shell).name in NO_LOGIN:
        return False
    path = root / "etc" / "shells"
    return not shell or not path.exists() or shell in path.read_text().split("\n")


def key_files(user: pwd.struct_passwd, run: Run, root: Path = ROOT) -> list[Path]:
    """Return the files with keys by which sshd lets the user in."""
    names = ["%h/.ssh/authorized_keys", "%h/.ssh/authorized_keys2"]
    if (root / "usr" / "sbin" / "sshd").exists():
        about = f"user={user.pw_name},host=localhost,addr=127.0.0.1"
        _, out, _ = run(["/usr/sbin/sshd", "-T", "-C", about])
        if found := re.search(r"^authorizedkeysfile (.*)$", out, re.M):
            names += found[1].split()
    values = {"h": user.pw_dir, "u": user.pw_name, "U": str(user.pw_uid), "%": "%"}
    files = []
    for name in dict.fromkeys(names):
        path = re.sub(r"%([huU%])", lambda token: values[token[1]], name)
        file = root / Path(user.pw_dir, path).relative_to("/")
        try:
            if file.is_file() and file.stat().st_size:
                files.append(Path(user.pw_dir, path))
        except OSError:  # below something that is no directory
            continue
    return list(dict.fromkeys(files))


def has_password(name: str, run: Run) -> bool:
    """Tell whether a password opens the account; an empty one does."""
    code, out, _ = run(["getent", "shadow", name])
    fields = out.strip().split(":")
    return code == 0 and len(fields) > 1 and not fields[1].startswith(("!", "*"))


def running(uid: int, root: Path = ROOT) -> list[tuple[int, str]]:
    """Return the processes of a user, each with its name."""
    processes = []
    for entry in (root / "proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    processes.append((int(entry.name), process_name(entry)))
            except OSError:  # it ended meanwhile
                continue
    return sorted(processes)


def other_owner(user: pwd.struct_passwd, site: str, root: Path = ROOT) -> str:
    """Return whose user it is although no process runs as it, or an empty text."""
    name = user.pw_name
    master = root / "usr" / "share" / "base-passwd" / "passwd.master"
    if master.exists() and any(
        line.partition(":")[0] == name for line in master.read_text().splitlines()
    ):
        return "it is a user that every Debian has, for programs of its own"
    nginx = root / "etc" / "nginx" / "nginx.conf"
    if nginx.exists() and re.search(
        rf"^\s*user\s+['\"]?{re.escape(name)}['\"]?[\s;]", nginx.read_text(), re.M
    ):
        return "nginx runs as that user"
    passwd = root / "etc" / "passwd"
    for line in passwd.read_text().splitlines() if passwd.exists() else []:
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(user.pw_uid) and fields[0] != name:
            return f"{fields[0]} has the same user id"
    for jobs in ("var/spool/cron/crontabs", "var/lib/systemd/linger"):
        if (root / jobs / name).exists():
            return f"/{jobs}/{name} starts processes as that user"
    at_times = re.compile(rf"^\s*[^#\s].*\s{re.escape(name)}\s", re.M)
    for file in (root / "etc" / "crontab", *sorted((root / "etc" / "cron.d").glob("*"))):
        if at_times.search(_text(file)):
            return f"{_shown(file, root)} starts processes as that user"
    declares = re.compile(rf"^\s*u!?\s+\"?{re.escape(name)}\"?\s", re.M)
    for file in sorted((root / SYSUSERS).glob("*.conf")):
        if declares.search(_text(file)):
            return f"{_shown(file, root)} declares it for another program"
    runs_as = re.compile(rf"^User={re.escape(name)}\s*$", re.M)
    for place in UNITS:
        units = [*(root / place).glob("*.service"), *(root / place).glob("*.service.d/*.conf")]
        for file in sorted(units):
            unit = file.relative_to(root / place).parts[0]
            if not unit.startswith((f"{site}@", f"{site}-")) and runs_as.search(_text(file)):
                return f"{_shown(file, root)} runs as that user"
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _shown(path: Path, root: Path) -> str:
    return f"/{path.relative_to(root)}"
