#!/usr/bin/python
"""Ansible module: take a site for a run, and read what the role has to know about the host.

The run owns the site before anything is read, so what is planned is what will be found. In check
mode it is only looked whether it could be had.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_host
short_description: Take a site for a run, and read what the role has to know about its host
description:
  - Reports the distribution, Python, missing packages, and ports that something else listens on.
options:
  site:
    description: Name of the site; its own sockets do not count as taken.
    type: str
    required: true
  home: {description: Directory of the site., type: path, required: true}
  address: {description: Address that the workers will listen on., type: str, required: true}
  worker_ports: {description: Ports of the workers., type: list, elements: int, required: true}
  http_port: {description: Port of nginx., type: int, required: true}
  claim:
    description: What the site wants for itself on the host.
    type: dict
    required: true
  metrics:
    description: C(address) and C(port) of the metrics; nginx has the port after it. 0 is none.
    type: dict
    default: {address: 127.0.0.1, port: 0}
  remove_default:
    description: Whether Debian's welcome page is to be switched off.
    type: bool
    default: true
  temporary:
    description: Where Ansible puts what it brings.
    type: str
    default: "~"
  packages:
    description: Debian packages that the site needs.
    type: list
    elements: str
    required: true
  lock: {description: The run that is to own the site., type: dict, required: true}
  instead_of:
    description: Id of a run of which the controller knows that it is over.
    type: str
    default: ""
author: The Around The World authors
"""

EXAMPLES = r"""
- name: What the host is
  aroundtheworld_host:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    address: 127.0.0.1
    worker_ports: [10001]
    http_port: 80
    claim: {site: aroundtheworld, home: /var/lib/tornado/aroundtheworld, user: tornado}
    packages: [nginx]
    lock: {site: aroundtheworld, run: 0123456789ab, who: ada on desk, doing: deploy, process: {}}
"""

RETURN = r"""
distribution: {description: "Id and major version, as in C(debian 12)", type: str, returned: always}
python: {description: The host's own Python, type: dict, returned: always}
packages_missing: {description: Packages that are not installed, type: list, returned: always}
taken_ports: {description: Ports that something else listens on, type: list, returned: always}
python3_apt:
  description: Whether Ansible's apt module can look at packages.
  type: bool
  returned: always
current:
  description: Id of the release that all workers run, or an empty text.
  type: str
  returned: always
releases:
  description: Releases on the host with the ids of their environments.
  type: dict
  returned: always
good_releases:
  description: Releases to go back to, the one before the current first.
  type: list
  returned: always
refused:
  description: Why the run may not have the site; then nothing else is read.
  type: str
  returned: when another run or a person has the site
holder:
  description: The record of the run that has the site, empty if a person has it.
  type: dict
  returned: when another run or a person has the site
followed:
  description: The record of the abandoned run that this one follows, or nothing.
  type: dict
  returned: when the run has the site
memory: {description: The host's memory in bytes, type: int, returned: always}
processes: {description: How many processes the kernel can have, type: int, returned: always}
ipv6: {description: Whether the host has IPv6, type: bool, returned: always}
environments:
  description: Ids of the virtual environments on the host that are whole.
  type: list
  returned: always
room:
  description: What is left on the file systems that a deployment writes to.
  type: dict
  returned: always
unfit:
  description: Sentences about what keeps the site from being deployed on the host.
  type: list
  returned: always
nginx:
  description: >-
    Whether an nginx is C(there), C(problems) and C(warnings) of its configuration as sentences, and
    whether the site has to share a C(dual_stack) socket.
  type: dict
  returned: always
user:
  description: The user that the module runs as.
  type: str
  returned: when that is not root; then nothing else is read
"""

import os
import platform
import pwd
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.accounts import change_problems, user_problems
from ansible.module_utils.aroundtheworld.changelog import last_good
from ansible.module_utils.aroundtheworld.claims import (
    Claim,
    claimed_ports,
    collisions,
    overlap,
    read_claims,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import LockedError, look, take
from ansible.module_utils.aroundtheworld.names import name_problems
from ansible.module_utils.aroundtheworld.nginx.neighbours import Intent, examine
from ansible.module_utils.aroundtheworld.places import home_problems
from ansible.module_utils.aroundtheworld.room import room
from ansible.module_utils.aroundtheworld.sockets import Listener, listeners
from ansible.module_utils.aroundtheworld.untrusted import process_name
from ansible.module_utils.basic import AnsibleModule

# What takes the port on which nginx tells its own numbers.
NGINX_STATUS = "aroundtheworld_metrics_port (nginx has the one after it)"


def holders(inodes: set[str], proc: Path = Path("/proc")) -> dict[str, tuple[int, str]]:
    """Return for each of the inodes the id and name of the first process that holds it."""
    found: dict[str, tuple[int, str]] = {}
    for process in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()):
        try:
            for handle in (proc / str(process) / "fd").iterdir():
                link = str(handle.readlink())
                if link.startswith("socket:[") and (inode := link[8:-1]) in inodes:
                    name = process_name(proc / str(process))
                    found.setdefault(inode, (process, name))
        except OSError:  # the process ended meanwhile
            continue
    return found


def taken_ports(
    listening: list[Listener],
    held: dict[str, tuple[int, str]],
    own_ports: set[int],
    wanted: dict[int, tuple[str, str]],
) -> list[dict[str, Any]]:
    """Return the wanted ports that something else listens on.

    Args:
        listening: All listening sockets of the host.
        held: Inode to process id and name.
        own_ports: Ports for which the site's own socket units are active.
        wanted: Port to the address it is wanted on and the variable that says so.
    """
    taken = []
    for listener in listening:
        if listener.port not in wanted:
            continue
        address, variable = wanted[listener.port]
        process, name = held.get(listener.inode, (0, "an unknown process"))
        if not overlap(address, listener.address):
            continue
        own = (
            name == "nginx"
            if variable in ("aroundtheworld_http_port", NGINX_STATUS)
            else listener.port in own_ports
        )
        if not own:
            taken.append(
                {
                    "port": listener.port,
                    "address": listener.address,
                    "process": f"{name} (process {process})" if process else name,
                    "variable": variable,
                }
            )
    return taken


def unfit(module: AnsibleModule, claim: Claim, claims: Mapping[str, Claim]) -> list[str]:
    """Return what keeps the site from being deployed on this host, each a sentence.

    Each kind of problem is a function in a room of its own, which yields its sentences.
    """
    site, user = claim["site"], claim["user"]
    own_user = claims.get(site, {}).get("user") == user
    run = module.run_command
    return [
        *name_problems(claim),
        *collisions(claim, claims),
        *user_problems(user, site, own=own_user, run=run),
        *change_problems(claim, claims.get(site, {})),
        *home_problems(claim["home"], site, run),
    ]


def about_python() -> dict[str, Any]:
    """Describe this Python as wheels and PEP 508 markers name it.

    Ansible may run modules under another Python than the system's; the release uses the system's,
    which is the one that Debian supports, so this must run under /usr/bin/python3.
    """
    implementation = sys.implementation
    libc, libc_version = platform.libc_ver()
    return {
        "version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "implementation": {"cpython": "cp"}.get(implementation.name, implementation.name),
        "platform": f"{platform.machine()}-{libc}{libc_version}",
        "machine": platform.machine(),
        "libc_version": libc_version,
        # https://packaging.python.org/en/latest/specifications/dependency-specifiers/
        "markers": {
            "implementation_name": implementation.name,
            "implementation_version": platform.python_version(),
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": "",
            "platform_system": platform.system(),
            "platform_version": "",
            "python_full_version": platform.python_version(),
            "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
            "sys_platform": sys.platform,
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "address": {"type": "str", "required": True},
            "worker_ports": {"type": "list", "elements": "int", "required": True},
            "http_port": {"type": "int", "required": True},
            "claim": {"type": "dict", "required": True},
            "metrics": {"type": "dict", "default": {"address": "127.0.0.1", "port": 0}},
            "remove_default": {"type": "bool", "default": True},
            "temporary": {"type": "str", "default": "~"},
            "packages": {"type": "list", "elements": "str", "required": True},
            "lock": LOCK,
            "instead_of": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if os.geteuid():  # without root nothing else here tells the truth
        module.exit_json(changed=False, user=pwd.getpwuid(os.geteuid()).pw_name)
    try:
        if module.check_mode:
            followed = look(module.params["lock"], module.params["instead_of"])
        else:
            followed = take(module.params["lock"], module.params["instead_of"])
    except LockedError as locked:
        module.exit_json(changed=False, refused=str(locked), holder=locked.record)
    except OSError as error:
        module.fail_json(msg=f"The site cannot be locked, so nothing was changed: {error}")
    release = platform.freedesktop_os_release()
    layout = SiteLayout(Path(module.params["home"]), module.params["site"])
    current = layout.current_release()
    _, installed, _ = module.run_command(
        [
            *("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"),
            *(*module.params["packages"], "python3-apt"),
        ]
    )
    packages = {line.split()[0] for line in installed.splitlines() if line.endswith(" installed")}
    listening = listeners()
    wanted = dict.fromkeys(
        module.params["worker_ports"], (module.params["address"], "aroundtheworld_pools")
    )
    wanted[module.params["http_port"]] = ("::", "aroundtheworld_http_port")
    metrics = module.params["metrics"]
    if metrics["port"]:
        wanted[metrics["port"]] = (metrics["address"], "aroundtheworld_metrics_port")
        wanted[metrics["port"] + 1] = ("127.0.0.1", NGINX_STATUS)
    _, units, _ = module.run_command(
        [
            *("systemctl", "list-units", "--plain", "--no-legend", "--state=active"),
            # Of a command that binds its port itself, the service has it and no socket unit.
            layout.socket("*"),
            layout.service("*"),
        ]
    )
    # An operator may have a worker of their own that is called alike.
    known = {path.parent.name for path in belongings.files(module.params["site"])}
    instances = {
        line.split()[0].partition("@")[2].rpartition(".")[0] for line in units.splitlines()
    }
    own_ports = {
        int(port) for port in instances if layout.drop_in(layout.service(port)).parent.name in known
    }
    claim, claims = module.params["claim"], read_claims()
    # Of a port that another site has, its claim tells more than who listens there.
    claimed = claimed_ports(claim, claims)
    _, listens, _ = module.run_command(
        [
            *("systemctl", "show", "--property=Listen", "--"),
            layout.metrics("socket"),
        ]
    )
    own_ports.update(int(port) for port in re.findall(r":(\d+) \(Stream\)", listens))
    has_ipv6 = Path("/proc/net/if_inet6").exists() and bool(Path("/proc/net/if_inet6").read_text())
    nginx = examine(
        module.run_command,
        Intent(
            module.params["site"],
            module.params["http_port"],
            tuple(claim["server_names"]),
            has_ipv6,
            module.params["remove_default"],
        ),
    )
    if nginx["there"]:  # nginx.org's, or another: Debian's must not be installed over it
        packages.add("nginx")
    held = holders({listener.inode for listener in listening if listener.port in wanted})
    module.exit_json(
        changed=False,
        distribution=f"{release['ID']} {release.get('VERSION_ID', 'unknown').split('.')[0]}",
        python=about_python(),
        packages_missing=[name for name in module.params["packages"] if name not in packages],
        python3_apt="python3-apt" in packages,
        current=current,
        releases=layout.environments_by_release(),
        environments=layout.whole_environments(),
        good_releases=last_good(layout.home, current),
        followed=followed,
        taken_ports=[
            taken
            for taken in taken_ports(listening, held, own_ports, wanted)
            if taken["port"] not in claimed
        ],
        unfit=unfit(module, claim, claims),
        room=room(layout.home, Path(module.params["temporary"]).expanduser()),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        processes=int(Path("/proc/sys/kernel/pid_max").read_text()),
        ipv6=has_ipv6,
        nginx=nginx,
    )


if __name__ == "__main__":
    main()
