#!/usr/bin/python
"""Ansible module: report which pool each route belongs in, from what was measured."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_advise
short_description: Report which pool each route belongs in
description:
  - Asks every worker on its private socket how long the requests of each route held its loop,
    and reads the site's access log. Nothing is changed.
options:
  site: {description: Name of the site., type: str, required: true}
  pools: {description: The site's pools., type: list, elements: dict, required: true}
  access_log: {description: Where nginx writes the site's access log., type: path, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: What was measured
  aroundtheworld_advise:
    site: aroundtheworld
    pools: "{{ aroundtheworld_pools }}"
    access_log: /var/log/nginx/aroundtheworld/access.log
"""

RETURN = r"""
routes: {description: What was measured of each route, type: list, returned: always}
advice: {description: What would be better elsewhere, and how, type: list, returned: always}
silent: {description: Ports whose worker does not answer, type: list, returned: always}
table: {description: "The routes for people, headings first", type: list, returned: always}
lines: {description: The advice for people, type: list, returned: always}
"""

from pathlib import Path

from ansible.module_utils.aroundtheworld.advice.access_log import count_requests
from ansible.module_utils.aroundtheworld.advice.moves import advise
from ansible.module_utils.aroundtheworld.advice.report import HEADINGS, lines, rows
from ansible.module_utils.aroundtheworld.advice.routes import merge
from ansible.module_utils.aroundtheworld.layout import SystemLayout
from ansible.module_utils.aroundtheworld.worker_client import all_routes
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "pools": {"type": "list", "elements": "dict", "required": True},
            "access_log": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    layout = SystemLayout(module.params["site"])
    pools = [pool for pool in module.params["pools"] if pool.get("ports")]
    pool_of = {str(port): pool["name"] for pool in pools for port in pool["ports"]}
    answers = all_routes(
        {port: layout.private(layout.service(port), "control") for port in pool_of}
    )
    silent = [port for port, answer in answers.items() if answer is None]
    routes = merge((pool_of[port], answer) for port, answer in answers.items() if answer)
    count_requests(Path(module.params["access_log"]), routes, pool_of)
    routes.sort(key=lambda route: (-route.percentile(0.99), route.pattern))
    advices = advise(routes, pools)
    module.exit_json(
        changed=False,
        routes=[route.to_json() for route in routes],
        advice=[advice.to_json() for advice in advices],
        silent=silent,
        table=[HEADINGS, *rows(routes)],
        lines=list(lines(routes, advices, pools, silent)),
    )


if __name__ == "__main__":
    main()
