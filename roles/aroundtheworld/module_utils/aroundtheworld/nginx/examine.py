"""What a plan has to know about the host's nginx before it brings a site there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.claims import ETC
from ansible.module_utils.aroundtheworld.layout import SystemLayout
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Run,
    program,
    read_configuration,
    versions,
)
from ansible.module_utils.aroundtheworld.nginx.influences import warnings
from ansible.module_utils.aroundtheworld.nginx.neighbours import Intent, Neighbourhood
from ansible.module_utils.aroundtheworld.nginx.problems import problems
from ansible.module_utils.aroundtheworld.nginx.service import UNIT, strangers
from ansible.module_utils.aroundtheworld.nginx.site import NGINX
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError


def examine(
    run: Run, intents: Sequence[Intent], nginx: Path = NGINX, etc: Path = ETC
) -> dict[str, Any]:
    """Return what a plan has to know about the host's nginx.

    That is `there`, whether it is, its `version` and that of its `openssl`, `problems` and
    `warnings`, each sentences, and `ports`, for each port of the site what `describe_port` says.

    Args:
        run: Runs a command.
        intents: What the site will have in nginx, for each of its ports.
        nginx: The directory of nginx's configuration.
        etc: The directory of the sites' claims.
    """
    result: dict[str, Any] = {
        "there": bool(program()),
        "version": (),
        "openssl": (),
        "problems": [],
        "warnings": [],
        "ports": {str(intent.port): _port_of_debians(intent) for intent in intents},
    }
    if not program():
        return result
    result["version"], result["openssl"] = versions(run)
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
        if not _is_the_sites_own(broken, SystemLayout(intents[0].site, etc.parent), etc.parent):
            result["problems"] = [
                f"nginx: what is configured now is broken already: {broken}. Repair that first, "
                "until 'nginx -t' succeeds."
            ]
        return result
    # What is wrong with all of nginx is found for each port.
    found: dict[str, None] = {}
    influences: dict[str, None] = {}
    for intent in intents:
        neighbourhood = Neighbourhood(run, intent, configuration, nginx, etc)
        found |= dict.fromkeys(problems(run, neighbourhood))
        found |= dict.fromkeys(_stranger(intent, process) for process in strangers(intent.port))
        influences |= dict.fromkeys(warnings(neighbourhood))
        result["ports"][str(intent.port)] = describe_port(neighbourhood)
    result["problems"], result["warnings"] = list(found), list(influences)
    return result


def _port_of_debians(intent: Intent) -> dict[str, Any]:
    """Return a port as Debian's nginx will have it: the welcome page has port 80."""
    free = ["*", "[::]"] if intent.remove_default or intent.port != 80 else []
    return {"dual_stack": False, "others_without_http2": [], "free": free}


def _is_the_sites_own(broken: ConfigurationError, layout: SystemLayout, etc: Path) -> bool:
    """Tell whether nginx complains of what this run repairs.

    That is the site's file, where a run was cut off, and its certificate and logs, where those are
    gone; nginx names no file of its configuration then.
    """
    gone = (layout.tls, Lineage(layout.name, etc).certificate.parent, layout.logs)
    own = (f"/{layout.name}.conf:", *(f"{path}/" for path in gone))
    return any(part in str(broken) for part in own)


def describe_port(neighbourhood: Neighbourhood) -> dict[str, Any]:
    """Return what a plan has to know about a port of the site in nginx.

    That is `dual_stack`, whether the site has to share one socket for IPv4 and IPv6, `free`, the
    addresses on which nobody serves unknown names, and the neighbours `others_without_http2`.
    """
    here = [
        listen for _, listen in neighbourhood.on_port() if listen.address in neighbourhood.addresses
    ]
    # Before nginx had a directive for it, one with HTTP/2 switched it on for all of its address.
    with_http2 = {listen.address for listen in here if "http2" in listen.options}
    return {
        "dual_stack": neighbourhood.dual_stack is not None,
        "free": [each for each in neighbourhood.addresses if neighbourhood.is_free(each)],
        "others_without_http2": [
            f"{listen.directive} ({listen.directive.where})"
            for listen in here
            if listen.address not in with_http2
        ],
    }


def _stranger(intent: Intent, process: int) -> str:
    return (
        f"{intent.variable}: it is taken by an nginx that nginx.service did not start "
        f"(process {process}); stop that nginx, or choose another port."
    )
