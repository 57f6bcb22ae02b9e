"""Builds the roots of Debian that test hosts start from."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from machine import HostError, as_root, say

ROOTS = Path(__file__).resolve().parents[2] / ".cache" / "roots"

SUITES = {12: "bookworm", 13: "trixie"}
# What the Debian installer or a provider's image puts on the smallest server that people can log in
# to and that Ansible can manage, and nothing that the role has to bring.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3",
    "systemd-sysv",
)
MMDEBSTRAP = (
    "--quiet",
    "--variant=minbase",
    f"--include={','.join(PACKAGES)}",
    # Every host gets a key of its own.
    "--customize-hook=rm $1/etc/ssh/ssh_host_*",
    # The machine's kernel is not a container's to load modules into; Debian 13's would fail to.
    "--customize-hook=ln -s /dev/null $1/etc/systemd/system/systemd-modules-load.service",
)
ROOT_MAX_AGE = 7 * 24 * 3600  # seconds; then Debian's security updates are worth a rebuild


def build_root(debian: int) -> Path:
    """Return the tar file of a bare Debian, built now if there is none of this recipe and week.

    Raises:
        HostError: there is none and it could not be built.
    """
    if debian not in SUITES:
        raise HostError(f"There is no test host for Debian {debian}: known are {list(SUITES)}.")
    machine = os.uname().machine
    recipe = hashlib.sha256(repr((SUITES[debian], MMDEBSTRAP, machine)).encode()).hexdigest()[:12]
    root = ROOTS / f"debian{debian}-{recipe}.tar"
    if root.exists() and time.time() - root.stat().st_mtime < ROOT_MAX_AGE:
        return root

    say(f"Building the root of Debian {debian} (half a minute, once a week)")
    ROOTS.mkdir(parents=True, exist_ok=True)
    unfinished = root.with_suffix(f".{os.getpid()}")
    try:
        with unfinished.open("wb") as tar:
            # No mirror is named: mmdebstrap knows Debian's own, with updates and security.
            command = as_root(["mmdebstrap", *MMDEBSTRAP, SUITES[debian]])
            build = subprocess.run(command, stdout=tar, stderr=subprocess.PIPE, check=False)
        if build.returncode != 0:
            output = build.stderr.decode(errors="replace").strip()
            if not root.exists():
                raise HostError(
                    f"mmdebstrap could not build Debian {debian}: is the mirror there?\n{output}"
                )
            say(f"Keeping last week's root of Debian {debian}, as none can be built now:\n{output}")
            return root
        for outdated in ROOTS.glob(f"debian{debian}-*.tar"):
            outdated.unlink()
        unfinished.replace(root)
    finally:
        unfinished.unlink(missing_ok=True)
    return root
