"""Which of a site's TCP ports something else on the host listens on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.module_utils.aroundtheworld.belongings import files
from ansible.module_utils.aroundtheworld.claims import is_nginxs, overlap
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.layout import SystemLayout
from ansible.module_utils.aroundtheworld.sockets import Listener

# For the port on which nginx shows its own numbers.
NGINX_STATUS = "aroundtheworld_metrics_port (nginx has the one after it)"


def needed_ports(
    workers: Iterable[int], address: str, nginx: Mapping[str, int], metrics: Mapping[str, Any]
) -> dict[int, tuple[str, str]]:
    """Return the ports that a site needs, each with its address and its variable.

    Args:
        workers: The ports of its workers.
        address: What they listen on.
        nginx: The ports of nginx, by their variables.
        metrics: C(address) and C(port) of the metrics; 0 is none.
    """
    needed = dict.fromkeys(workers, (address, "aroundtheworld_pools"))
    needed |= {port: ("::", variable) for variable, port in nginx.items()}
    if metrics["port"]:
        needed[metrics["port"]] = (metrics["address"], "aroundtheworld_metrics_port")
        needed[metrics["port"] + 1] = ("127.0.0.1", NGINX_STATUS)
    return needed


def own_ports(layout: SystemLayout, run: Run) -> set[int]:
    """Return the ports that the site's own units listen on."""
    list_units = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active"]
    # Of a command that binds its port itself, the service has it and no socket unit.
    _, units, _ = run([*list_units, layout.socket("*"), layout.service("*")])
    # An operator may have a worker of their own that is called alike.
    known = {path.parent.name for path in files(layout.name, layout.root)}
    instances = {
        line.split()[0].partition("@")[2].rpartition(".")[0] for line in units.splitlines()
    }
    own = {
        int(instance)
        for instance in instances
        # One that takes work from a queue has a name.
        if instance.isdigit() and layout.drop_in(layout.service(instance)).parent.name in known
    }
    _, listens, _ = run(["systemctl", "show", "--property=Listen", "--", layout.metrics("socket")])
    return own | {int(port) for port in re.findall(r":(\d+) \(Stream\)", listens)}


def taken_ports(
    listening: Iterable[Listener],
    held: Mapping[str, tuple[int, str]],
    own: Collection[int],
    needed: Mapping[int, tuple[str, str]],
) -> list[dict[str, Any]]:
    """Return the ports of the site that something else listens on.

    Args:
        listening: All listening sockets of the host.
        held: Inode to process id and name.
        own: Ports that the site's own units listen on.
        needed: Port to the address and the variable for which the site needs it.
    """
    taken = []
    for listener in listening:
        if listener.port not in needed:
            continue
        address, variable = needed[listener.port]
        process, name = held.get(listener.inode, (0, "an unknown process"))
        if not overlap(address, listener.address):
            continue
        of_nginx = is_nginxs(variable) or variable == NGINX_STATUS
        is_own = name == "nginx" if of_nginx else listener.port in own
        if not is_own:
            taken.append(
                {
                    "port": listener.port,
                    "address": listener.address,
                    "process": f"{name} (process {process})" if process else name,
                    "variable": variable,
                }
            )
    return taken
