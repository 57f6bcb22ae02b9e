"""The users of the host, and how the role makes and removes those of sites."""

from __future__ import annotations

import grp
import pwd
import time
from collections.abc import Sequence

from ansible.module_utils.aroundtheworld.claims import MADE_BY
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.systemd import HostError

# Another program that changes the user database ends in a moment.
LOCKED_SECONDS = 30.0


def find_user(name: str) -> pwd.struct_passwd | None:
    """Return the user of this name, wherever the host knows its users from."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def make_user(name: str, home: str, run: Run) -> None:
    """Make a system user of the role; raises `HostError` when that fails."""
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home]
    command += ["--shell", "/usr/sbin/nologin", "--comment", MADE_BY, name]
    _change(command, run, f"The user {name} could not be made")


def remove_user(name: str, run: Run) -> None:
    """Remove a user and its own group; raises `HostError` when that fails."""
    problem = f"The user {name} could not be removed"
    # Where login.defs says `USERGROUPS_ENAB no`, userdel leaves the group, and no user of this name
    # could be made again. It goes first, so that the next run after one that was cut off finds the
    # user.
    if _is_only_theirs(name):
        _change(["usermod", "--gid", "nogroup", name], run, problem)
        _change(["groupdel", name], run, problem)
    _change(["userdel", name], run, problem)


def _is_only_theirs(name: str) -> bool:
    """Tell whether the group of this name has no other member than the user of this name."""
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return False
    return not _members(group) - {name}


def is_alone(name: str, gid: int) -> bool:
    """Tell whether nobody but the user of this name is in a group.

    ``adduser --system`` puts its users into ``nogroup``, where programs of all kinds are.
    """
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return True
    return not _members(group) - {name}


def _members(group: grp.struct_group) -> set[str]:
    """Return the members of a group, and those whose own group it is."""
    return {
        *group.gr_mem,
        *(user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid),
    }


def _change(command: Sequence[str], run: Run, problem: str) -> None:
    deadline = time.monotonic() + LOCKED_SECONDS
    while True:
        code, out, error = run(list(command))
        if code == 0:
            return
        output = (error or out).strip()
        if "cannot lock" not in output or time.monotonic() > deadline:
            raise HostError(f"{problem}; mend the cause and run again. {command[0]} said: {output}")
        time.sleep(0.5)
