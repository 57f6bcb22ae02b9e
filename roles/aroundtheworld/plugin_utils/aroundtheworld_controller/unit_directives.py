"""Directives of an operator's for the units of a pool's workers, and which of them are refused.

Whether a directive exists, and what its value may be, only systemd knows, which reads the units on
the host before they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

NAME = re.compile(r"[A-Z][A-Za-z0-9]+")
# Directives that would break a promise of the role's, and why; the first that fits counts.
REFUSED = {
    "TimeoutStartSec": "use the pool's setting start_timeout",
    "TimeoutStopSec": "use the pool's setting drain_timeout",
    "WatchdogSec": "use the pool's setting watchdog",
    "Nice": "use the pool's setting nice",
    "CPUSchedulingPolicy": "use the pool's setting cpu_scheduling",
    "OOMScoreAdjust": "use the pool's setting oom_score_adjust",
    "Environment.*|PassEnvironment|UnsetEnvironment": "use aroundtheworld_environment",
    "Exec.*": (
        "use aroundtheworld_make_app or the pool's command; "
        "root runs no code that came with a release"
    ),
    "User|Group|SupplementaryGroups|DynamicUser|PAMName": (
        "every process of the site runs as aroundtheworld_user"
    ),
    "NoNewPrivileges|AmbientCapabilities|CapabilityBoundingSet|SecureBits|PrivateUsers|"
    "RestrictSUIDSGID|PermissionsStartOnly|Delegate.*": "a worker must not get rights of root's",
    "Slice": "the pool's slice has its limits",
    "Sockets|NonBlocking|StandardInput.*|TTY.*|FileDescriptorStore.*|OpenFile": (
        "systemd passes a worker the socket of its port, and nothing else"
    ),
    "StandardOutput|StandardError|LogNamespace": (
        "a rollout that fails shows what the worker wrote to the journal"
    ),
    "RuntimeDirectory.*": "a worker's control socket is there",
    "Root.*|WorkingDirectory|MountImages|Extension.*": "a worker runs in its release",
    "Type|ExitType|NotifyAccess|PIDFile|BusName|GuessMainPID|RemainAfterExit|Restart.*|"
    "RuntimeMaxSec|RuntimeRandomizedExtraSec|StartLimit.*|Timeout.*|Watchdog.*|.*Kill.*|"
    "SendSIG.*|SuccessExitStatus|FailureAction|SuccessAction|OOMPolicy|USBFunction.*|"
    "ReloadSignal": "a rollout relies on how a worker starts and ends",
}
# What opens the sandbox (templates/sandbox.j2) of a worker opens it for the site's other processes,
# too: a migration imports what a worker imports. Limits are the pool's own.
SANDBOX = frozenset(
    {
        *("BindPaths", "BindReadOnlyPaths", "DeviceAllow", "DevicePolicy", "ExecPaths"),
        *("KeyringMode", "LockPersonality", "MemoryDenyWriteExecute", "PrivateDevices"),
        *("PrivateIPC", "PrivateMounts", "PrivateTmp", "ProcSubset", "ProtectClock"),
        *("ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs"),
        *("ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProtectSystem"),
        *("ReadWritePaths", "RemoveIPC", "RestrictAddressFamilies", "RestrictNamespaces"),
        *("RestrictRealtime", "SystemCallArchitectures", "SystemCallErrorNumber"),
        "SystemCallFilter",
    }
)
ON = ("yes", "true", "on", "1", "y", "t")  # as systemd reads it
OFF = ("no", "false", "off", "0", "n", "f")
# From closed to open, where a directive has more values than on, its own, and off.
DEGREES = {
    "DevicePolicy": ("strict", "closed", "auto"),
    "KeyringMode": ("private", "shared", "inherit"),
    "ProcSubset": ("pid", "all"),
    "ProtectHome": (*ON, "tmpfs", "read-only", *OFF),
    "ProtectProc": ("noaccess", "invisible", "ptraceable", "default"),
    "ProtectSystem": ("strict", "full", *ON, *OFF),
}
# What systemd has a unit file say with a percent sign. These are the same in every process, ...
PLACES = {
    **{"%": "%", "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log"},
    "E": "/etc",
}
# ... these say which worker it is, or where its files are, ...
WORKERS_OWN = frozenset("dfiIjJnNpPyY")
SPECIFIER = re.compile("%(.?)")
DEVICE = re.compile(r"""(?P<quote>["']?)(?P<path>.+?)(?P=quote)(\s+(?P<rights>[rwm]+))?""")
Value = str | int | float | bool


def directive_problems(unit: Mapping[Any, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with directives, names to values."""
    for name, value in unit.items():
        reasons = [why for names, why in REFUSED.items() if re.fullmatch(names, str(name))]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield (
                f"{where}: the name {name!r} is not allowed; it must be a directive that systemd "
                "knows in section [Service], as in LimitNOFILE."
            )
        elif reasons:
            yield f"{where}.{name}: is not allowed; {reasons[0]}."
        elif problem := _value_problem(value) or (
            _specifier_problem(value) if name in SANDBOX else ""
        ):
            yield f"{where}.{name}: {value!r} is not allowed; {problem}."


def _value_problem(value: object) -> str:
    values = _items(value)
    # An empty value would take back what the role sets.
    if not values or not all(isinstance(item, Value) and str(item).strip() for item in values):
        return "it must be a text, a number, true or false, or a list of them"
    if any(re.search(r"[\x00-\x08\x0a-\x1f\x7f]", str(item)) for item in values):
        return "it must be one line, without control characters"
    if any(str(item).endswith("\\") for item in values):
        return "it must not end with a backslash, which would take the next line too"
    return ""


def _specifier_problem(value: object) -> str:
    """Return why the site's other processes, of which some have no unit file, cannot have it."""
    used = {sign for item in _items(value) for sign in SPECIFIER.findall(str(item))}
    # ... and all others depend on the host.
    if used <= PLACES.keys() | WORKERS_OWN:
        return ""
    known = ", ".join(f"%{sign}" for sign in PLACES)
    return (
        f"what opens the sandbox may have {known}, and for the workers alone those that name the "
        "worker, such as %i; write the value itself, and %% for a percent sign"
    )


def directive_lines(unit: Mapping[str, Any]) -> list[str]:
    """Return directives as a unit has them, a line for each value of a list."""
    return [f"{name}={_text(item)}" for name, value in unit.items() for item in _items(value)]


def derive_directives(pools: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what the pools' `unit` means for the site's other processes, as lines.

    `sandbox` is for a unit file of any, `transient` for systemd-run, `prepare` for the unit that
    tries the app, and `trial` for the one that tries the commands.
    """
    sandbox = sandbox_lines(pools)
    return {
        "sandbox": sandbox,
        "transient": [transient_line(line) for line in sandbox],
        "prepare": trial_lines([pool for pool in pools if not pool["command"]]),
        # What takes work from a queue is not tried.
        "trial": trial_lines([pool for pool in pools if pool["command"] and pool["ports"]]),
    }


def sandbox_lines(pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what the `unit` of all pools together has about the sandbox, a line for each value.

    systemd takes the last line for what has one value: where pools differ, that is the open one.
    What names a worker is for that worker alone.
    """
    lines = (line for pool in pools for line in directive_lines(pool["unit"]))
    found = dict.fromkeys(line for line in lines if line.partition("=")[0] in SANDBOX)
    shared = (line for line in found if not WORKERS_OWN & {*SPECIFIER.findall(line)})
    return sorted(shared, key=_openness)


def trial_lines(pools: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the directives of a unit that does for all these pools what their workers will do.

    It has what opens the sandbox of any. Of what else pools set differently, it has what the pool
    of ``/`` sets, or else the first in the list.
    """
    others: dict[str, Any] = {}
    for pool in sorted(pools, key=lambda pool: "/" not in pool["paths"]):
        for name in pool["unit"].keys() - SANDBOX - others.keys():
            others[name] = pool["unit"][name]
    return [*directive_lines(dict(sorted(others.items()))), *sandbox_lines(pools)]


def transient_line(line: str) -> str:
    """Return a line of a unit file as `systemd-run` takes it, for a `string.Template`.

    systemd-run takes quotes as a unit file does, but for devices, and no percent signs.
    """
    name, _, value = line.partition("=")
    if name == "DeviceAllow" and (device := DEVICE.fullmatch(value)):
        value = " ".join(filter(None, device.group("path", "rights")))
    value = SPECIFIER.sub(lambda found: PLACES[found[1]], value)
    return f"{name}={value}".replace("$", "$$")


def _openness(line: str) -> int:
    name, _, value = line.partition("=")
    word = value.lower()
    if name in DEGREES and word in DEGREES[name]:
        return DEGREES[name].index(word)
    return 0 if word in ON else len(ON) + len(OFF) if word in OFF else 1


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).strip()
