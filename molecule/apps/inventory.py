#!/usr/bin/env python3
"""The scenario's inventory: which apps a run deploys, each as a site of every host.

A host with several sites is in the inventory once for each of them, so that all are deployed at the
same moment. An app is a file in `group_vars`. A run takes half of them, which half follows from the
commit's hash; ``MATRIX=all`` takes all, and ``APPS='flower thumbor'`` those that it names.

Ansible runs it with --list; its tests, and those of the scenario, import it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

SCENARIO = Path(__file__).resolve().parent
sys.path.insert(0, str(SCENARIO.parents[1]))

from tests.matrix import chosen  # noqa: E402

AT_ONCE = 4


def variables(app: str) -> dict[str, Any]:
    """Return an app's variables as its file has them, which is before Ansible."""
    loaded: dict[str, Any] = yaml.safe_load((SCENARIO / "group_vars" / f"{app}.yml").read_text())
    return loaded


def apps() -> list[str]:
    """Return all apps, in the order of their ports in nginx, in which they take turns."""
    names = [path.stem for path in (SCENARIO / "group_vars").glob("*.yml")]
    return sorted(names, key=lambda app: int(variables(app)["aroundtheworld_http_port"]))


def in_this_run() -> list[str]:
    """Return the apps of this run.

    Raises:
        SystemExit: `APPS` names an app that there is not.
    """
    known, named = apps(), os.environ.get("APPS", "").split()
    if unknown := set(named) - set(known):
        sys.exit(f"APPS: there is no {' and no '.join(sorted(unknown))}, only {', '.join(known)}")
    return [app for app in known if app in named] or chosen(known, AT_ONCE)


def hosts() -> list[str]:
    """Return the names of the scenario's hosts."""
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text())
    return [platform["name"] for platform in scenario["platforms"]]


def inventory() -> dict[str, Any]:
    """Return the inventory as Ansible reads it from a program."""
    taken = in_this_run()
    sites = {app: {f"{app}-{host}": {"ansible_host": host} for host in hosts()} for app in taken}
    return {
        "aroundtheworld": {
            "children": taken,
            # Beside the inventory's directory, which has a link to this file.
            "vars": {"ansible_ssh_common_args": "-F {{ inventory_dir | dirname }}/ssh_config"},
        },
        **{app: {"hosts": list(of_app)} for app, of_app in sites.items()},
        "_meta": {"hostvars": {name: at for of in sites.values() for name, at in of.items()}},
    }


if __name__ == "__main__":
    print(json.dumps(inventory()))
