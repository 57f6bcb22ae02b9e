"""What a type cannot say of the app's variables and secrets.

systemd has a variable of the operator's replace its own and the role's, so each of those that a
start or a gate relies on is refused by name. Whatever is wrong with one, its value is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SYSTEMDS = "systemd tells each process by it"
# Variables that would break a start or a gate, and why; the first that fits counts.
REFUSED = {
    "PATH": (
        "with it, commands are found in the release's virtual environment. Write PATH=… in front "
        "of the command that needs another"
    ),
    "AROUNDTHEWORLD_.*": "names that begin so are the role's",
    "HOLD": "the role tells a worker by it to wait for its visitors",
    "LISTEN_(FDS|PID|FDNAMES|PIDFDID)": f"{SYSTEMDS} which sockets it has",
    "NOTIFY_SOCKET|WATCHDOG_(USEC|PID)": f"{SYSTEMDS} where and when to report",
    "CREDENTIALS_DIRECTORY": f"{SYSTEMDS} where its secrets are",
    "RUNTIME_DIRECTORY": f"{SYSTEMDS} where its private sockets are",
    "JOURNAL_STREAM|INVOCATION_ID|(MAIN|MANAGER|SYSTEMD_EXEC_)PID": f"{SYSTEMDS} what it is",
    "SERVICE_RESULT|EXIT_(CODE|STATUS)": f"{SYSTEMDS} how a worker ended",
    "PYTHON(HOME|PLATLIBDIR|EXECUTABLE)": (
        "the release's virtual environment says where Python's own modules are"
    ),
    "PYTHONINSPECT": "with it, Python does not end when the app does",
}
# Directories as they stand in a unit without quotes; relative ones are the app's.
DIRECTORIES = re.compile(r"([A-Za-z0-9._~/-]+(:[A-Za-z0-9._~/-]+)*)?")


def environment_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with ``aroundtheworld_environment`` and ``aroundtheworld_secrets``."""
    secrets = variables["aroundtheworld_secrets"]
    files = {f"{name.upper()}_FILE": name for name in secrets if isinstance(name, str)}
    for key, value in variables["aroundtheworld_environment"].items():
        where = f"aroundtheworld_environment.{key}"
        if not isinstance(key, str) or not VARIABLE.fullmatch(key):
            yield (
                f"aroundtheworld_environment: the name {key!r} is not allowed; it must have "
                "letters, digits and '_' only, and not begin with a digit."
            )
        elif reasons := [why for names, why in REFUSED.items() if re.fullmatch(names, key)]:
            yield f"{where}: is not allowed; {reasons[0]}."
        elif key in files:
            yield (
                f"{where}: is not allowed; the path of the secret {files[key]!r} in "
                "aroundtheworld_secrets is in that variable. Give one of them another name."
            )
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            yield (
                f"{where}: a value of type {type(value).__name__} is not "
                "allowed; it must be a text or a number. Put quotes around words like 'true'."
            )
        elif "\0" in str(value):
            yield f"{where}: a NUL character is not allowed in its value."
        elif key == "PYTHONPATH" and not DIRECTORIES.fullmatch(str(value)):
            yield (
                f"{where}: its value is not allowed; it must be directories with ':' between them, "
                "of letters, digits, '-', '.', '_' and '~', as in 'src:/opt/shop/lib'. Each that "
                "is not absolute is in the app's directory."
            )
    for key, value in secrets.items():
        if not isinstance(key, str) or not VARIABLE.fullmatch(key):
            yield (
                f"aroundtheworld_secrets: the name {key!r} is not allowed; it must have letters, "
                "digits and '_' only, and not begin with a digit."
            )
        elif (other := files[f"{key.upper()}_FILE"]) != key:
            yield (
                f"aroundtheworld_secrets: the names {key!r} and {other!r} are not allowed "
                f"together; {key.upper()}_FILE would be the path of both. Give one of them another "
                "name."
            )
        elif not isinstance(value, str) or not value:
            shown = "an empty text" if value == "" else f"a value of type {type(value).__name__}"
            yield (
                f"aroundtheworld_secrets.{key}: {shown} is not allowed; it must be a text that is "
                "not empty, or 'generate' to have one made on the host."
            )
