"""What a plan has to know about the host's nginx before it brings a site there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.claims import ETC
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Run,
    program,
    read_configuration,
)
from ansible.module_utils.aroundtheworld.nginx.influences import warnings
from ansible.module_utils.aroundtheworld.nginx.neighbours import Intent, Neighbourhood
from ansible.module_utils.aroundtheworld.nginx.problems import problems
from ansible.module_utils.aroundtheworld.nginx.service import UNIT, strangers
from ansible.module_utils.aroundtheworld.nginx.site import NGINX
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError


def examine(run: Run, intent: Intent, nginx: Path = NGINX, etc: Path = ETC) -> dict[str, Any]:
    """Return what a plan has to know about the host's nginx.

    That is `there`, whether it is, `problems` and `warnings`, each sentences, and `dual_stack`,
    whether the site has to share one socket for IPv4 and IPv6.
    """
    result: dict[str, Any] = {
        "there": bool(program()),
        "problems": [],
        "warnings": [],
        "dual_stack": False,
    }
    if not program():
        return result
    loaded = run(["systemctl", "show", UNIT, "--property=LoadState", "--value"])[1].strip()
    if loaded in ("not-found", "masked"):
        result["problems"] = [
            f"nginx: {program()} exists, but {UNIT}, which starts and reloads it, is {loaded!r} in "
            "systemd; repair the unit, or remove that nginx so that Debian's is installed."
        ]
        return result
    try:
        configuration = read_configuration(run)
    except ConfigurationError as broken:
        # A site whose run was cut off is repaired by this run.
        if f"/{intent.site}.conf:" not in str(broken):
            result["problems"] = [
                f"nginx: what is configured now is broken already: {broken}. Repair that first, "
                "until 'nginx -t' succeeds."
            ]
        return result
    neighbourhood = Neighbourhood(run, intent, configuration, nginx, etc)
    result["problems"] = [
        *problems(run, neighbourhood),
        *map(_stranger, strangers(intent.port)),
    ]
    result["warnings"] = list(warnings(neighbourhood))
    result["dual_stack"] = neighbourhood.dual_stack is not None
    return result


def _stranger(process: int) -> str:
    return (
        f"aroundtheworld_http_port: it is taken by an nginx that nginx.service did not start "
        f"(process {process}); stop that nginx, or choose another port."
    )
