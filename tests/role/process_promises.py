"""What every process of a site promises: a sentence and its directives, in tables.

Units, the command `<site>-run` and the check of a migration are held to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.render import ENVIRONMENT_ID, RELEASE_ID

HOME = "/var/lib/tornado/aroundtheworld"
RELEASE = f"{HOME}/releases/{RELEASE_ID}"
VIRTUAL_ENVIRONMENT = f"{HOME}/environments/{ENVIRONMENT_ID}/bin"
PYTHON = f"{VIRTUAL_ENVIRONMENT}/python"

# Section and directives, several of them divided by " & "; "…" at the end stands for any rest.
SANDBOX = {
    "it changes no file but those that are named": "[Service] ProtectSystem=strict",
    "it does not see people's homes": "[Service] ProtectHome=yes",
    "its temporary files are its own": "[Service] PrivateTmp=yes",
    "it has no devices but /dev/null and its like": (
        "[Service] PrivateDevices=yes & DevicePolicy=closed"
    ),
    "root in it is nobody outside": "[Service] PrivateUsers=yes",
    "it shares no memory with other processes, and leaves none": (
        "[Service] PrivateIPC=yes & RemoveIPC=yes"
    ),
    "what it mounts is not mounted for others": "[Service] PrivateMounts=yes",
    "it does not set the clock": "[Service] ProtectClock=yes",
    "it does not change the limits of its slice": "[Service] ProtectControlGroups=yes",
    "it does not change the host's name": "[Service] ProtectHostname=yes",
    "it does not read the kernel's log": "[Service] ProtectKernelLogs=yes",
    "it loads no kernel modules": "[Service] ProtectKernelModules=yes",
    "it does not set the kernel's parameters": "[Service] ProtectKernelTunables=yes",
    "it sees the processes of its own user only": "[Service] ProtectProc=invisible",
    "it gains no privileges, by no program": "[Service] NoNewPrivileges=yes",
    "it has no capabilities": "[Service] CapabilityBoundingSet= & AmbientCapabilities=",
    "it reads no keys of others": "[Service] KeyringMode=private",
    "it runs as the architecture that it was built for": (
        "[Service] LockPersonality=yes & SystemCallArchitectures=native"
    ),
    "memory that it writes it does not execute": "[Service] MemoryDenyWriteExecute=yes",
    "it speaks IP and to Unix sockets, and sees the host's addresses": (
        "[Service] RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    ),
    "it makes no namespaces": "[Service] RestrictNamespaces=yes",
    "it does not take the processor for itself": "[Service] RestrictRealtime=yes",
    "it makes no setuid files": "[Service] RestrictSUIDSGID=yes",
    "it makes a service's system calls only, and gets an error for any other": (
        "[Service] SystemCallFilter=@system-service & SystemCallFilter=~@privileged"
        " & SystemCallErrorNumber=EPERM"
    ),
    "it may give its files to itself": "[Service] SystemCallFilter=@chown",
}

PROCESS = {
    "it runs as the site's user": "[Service] User=tornado",
    "what it writes is not for every user": "[Service] UMask=0027",
    "it has the operator's variables": "[Service] EnvironmentFile=/etc/aroundtheworld/environment",
    "it reads a secret from a file of its own": (
        "[Service] LoadCredential=cookie_secret:/etc/aroundtheworld/secrets/cookie_secret"
        " & Environment=COOKIE_SECRET_FILE=%d/cookie_secret"
    ),
    "it does not try to write byte code into its release": (
        "[Service] Environment=PYTHONDONTWRITEBYTECODE=1"
    ),
    "what it prints is in the journal at once": "[Service] Environment=PYTHONUNBUFFERED=1",
    "it may have as many files and connections as Debian allows": ("[Service] LimitNOFILE=524288"),
    "it writes the site's shared directory": f"[Service] ReadWritePaths={HOME}/shared",
}

RELEASES = {
    "it runs in the app's directory": f"[Service] WorkingDirectory={RELEASE}/app",
    "it finds commands of the release first, then those of its virtual environment": (
        "[Service] Environment="
        f"PATH={RELEASE}/bin:{VIRTUAL_ENVIRONMENT}:/usr/local/bin:/usr/bin:/bin"
    ),
    "it imports the release's own packages, its app and its runner": (
        f"[Service] Environment=PYTHONPATH={RELEASE}/lib:{RELEASE}/app:{RELEASE}/runner"
    ),
    "it knows its release": f"[Service] Environment=AROUNDTHEWORLD_RELEASE={RELEASE_ID}",
}


def directives(promise: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, name and value of each directive of a promise."""
    section, _, rest = promise.partition(" ")
    for directive in rest.split(" & "):
        name, _, value = directive.partition("=")
        yield section.strip("[]"), name, value


def properties(promise: str, places: Mapping[str, str]) -> list[str]:
    """Return the directives of a promise as systemd-run takes them, with other places in them."""
    words = [f"--property={name}={value}" for _, name, value in directives(promise)]
    for place, other in places.items():
        words = [word.replace(place, other) for word in words]
    return words
