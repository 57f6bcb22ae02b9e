"""Directives of an operator's for the units of a pool's workers, and which of them are refused.

Whether a directive exists, and what its value may be, only systemd knows, which reads the units on
the host before they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
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
OFF = ("no", "false", "off", "0", "n", "f")  # as systemd reads it
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
        elif problem := _value_problem(value):
            yield f"{where}.{name}: {value!r} is not allowed; {problem}."


def _value_problem(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    # An empty value would take back what the role sets.
    if not values or not all(isinstance(item, Value) and str(item).strip() for item in values):
        return "it must be a text, a number, true or false, or a list of them"
    if any(re.search(r"[\x00-\x08\x0a-\x1f\x7f]", str(item)) for item in values):
        return "it must be one line, without control characters"
    if any(str(item).endswith("\\") for item in values):
        return "it must not end with a backslash, which would take the next line too"
    return ""


def directive_lines(unit: Mapping[str, Any]) -> list[str]:
    """Return directives as a unit has them, a line for each value of a list."""
    return [
        f"{name}={_text(item)}"
        for name, value in unit.items()
        for item in (value if isinstance(value, list) else [value])
    ]


def sandbox_lines(pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what the `unit` of all pools together has about the sandbox, a line for each value.

    systemd takes the last line for what is on or off: where pools differ, that is off.
    """
    lines = (line for pool in pools for line in directive_lines(pool["unit"]))
    found = dict.fromkeys(line for line in lines if line.partition("=")[0] in SANDBOX)
    return sorted(found, key=lambda line: line.partition("=")[2].strip().lower() in OFF)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
