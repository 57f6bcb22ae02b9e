#!/usr/bin/env python3
"""Tells, as JSON, what there is on a host: every file, and what other people have running on it.

Runs on the host, as root. Nothing is listed that changes by itself or is the package manager's.
"""

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Whatever is below these is left out. Directories that Ansible and systemd keep for themselves are
# among them, as every operator's run makes those, whatever the role does.
LEFT_OUT = (
    *("/proc", "/sys", "/dev", "/run", "/var/log", "/var/cache"),
    *("/tmp", "/var/tmp"),  # noqa: S108 - nothing is written there
    # apt and dpkg back their own files up once a day, whatever else happens on the host.
    *("/var/lib/apt", "/var/lib/dpkg", "/var/backups", "/var/lib/systemd", "/var/lib/private"),
    *("/root/.ansible", "/home/grace/.ansible", "/home/grace/.sudo_as_admin_successful"),
    *("/root/.cache", "/home/grace/.cache"),
)
UNITS = (
    *("aroundtheworld-backup.service", "aroundtheworld-backup.timer", "aroundtheworld-batch.slice"),
    *("courier.service", "system-own.slice", "nftables.service", "ssh.service"),
)
PROPERTIES = "ActiveState,UnitFileState,InvocationID,FragmentPath,DropInPaths"


def output(*command: str) -> str:
    """Return what a command printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def paths(directory: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a directory."""
    for entry in os.scandir(directory):
        if entry.path not in LEFT_OUT:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from paths(entry.path)


def described(entry: os.DirEntry[str]) -> str:
    """Return type, mode, owner and content of a file in a line."""
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return f"link to {Path(entry.path).readlink()}"
    content = ""
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()[:16]
    return f"{stat.filemode(status.st_mode)} {owner(status)} {content}".rstrip()


def owner(status: os.stat_result) -> str:
    """Return user and group by name, or by number if nobody has it."""
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return f"{user}:{group}"


def nginx_files() -> dict[str, str]:
    """Return every file that nginx reads, with its content."""
    parts = re.split(r"^# configuration file (.+):\n", output("nginx", "-T", "-q"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def unit(name: str) -> dict[str, str]:
    """Return how a unit is; another InvocationID means that it was started again."""
    shown = output("systemctl", "show", f"--property={PROPERTIES}", "--", name)
    return dict(line.partition("=")[::2] for line in shown.splitlines())


print(
    json.dumps(
        {
            "files": {entry.path: described(entry) for entry in paths("/")},
            "accounts": {
                file: Path("/etc", file).read_text().splitlines()
                for file in ("passwd", "group", "shadow", "gshadow")
            },
            "units": {name: unit(name) for name in UNITS},
            "firewall": output("nft", "--stateless", "list", "ruleset"),
            "nginx": nginx_files(),
        }
    )
)
