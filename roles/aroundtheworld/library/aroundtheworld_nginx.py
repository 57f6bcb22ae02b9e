#!/usr/bin/python
"""Ansible module: nginx serves a site.

A configuration is tried alone before it lands, and with everything else before nginx is told to
read it. Whether nginx still has to read it follows from when it last did, not from what changed in
this run.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_nginx
short_description: Have nginx serve a site
description:
  - Writes C(sites-available/SITE.conf), links it from C(sites-enabled), and reloads nginx.
  - A configuration that nginx does not accept leaves the host as it was.
  - Sites of one host come one after the other.
options:
  site: {description: Name of the site., type: str, required: true}
  content:
    description: The configuration; an empty text removes the site from nginx.
    type: str
    required: true
  remove_default:
    description: Whether Debian's welcome page is switched off.
    type: bool
    default: false
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site is served
  aroundtheworld_nginx:
    site: aroundtheworld
    content: "{{ lookup('ansible.builtin.template', 'site.conf.j2') }}"
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
"""

import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.files import link_atomically, write_atomically
from ansible.module_utils.aroundtheworld.lock import only_site
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule

ETC = Path("/etc/nginx")
RELOAD_SECONDS = 10.0
CLOCK_SECONDS = 0.05  # how exactly the start of a process is known, and some more

# A site is part of the http block; what Debian's nginx.conf sets around it is no matter of syntax.
ALONE = """\
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    include {etc}/mime.types;
    include {site};
}}
"""


class Nginx:
    """One site of the host's nginx."""

    def __init__(
        self,
        module: AnsibleModule,
        site: str,
        content: str,
        *,
        remove_default: bool,
        etc: Path = ETC,
    ) -> None:
        """Read the state; nothing is changed yet."""
        self.module, self.site, self.content, self.etc = module, site, content, etc
        self.available = etc / "sites-available" / f"{site}.conf"
        self.enabled = etc / "sites-enabled" / f"{site}.conf"
        self.default = etc / "sites-enabled" / "default"
        self.before = self.available.read_text() if self.available.exists() else ""
        self.state = self._show()
        self.stale_file = self.before != content
        if content:
            self.stale_link = self.enabled.resolve() != self.available
        else:
            self.stale_link = self.enabled.is_symlink()
        self.stale_default = remove_default and self.default.is_symlink()

    def _show(self) -> dict[str, str]:
        command = ["systemctl", "show", "--timestamp=us+utc", "nginx.service"]
        out = self.module.run_command([*command, "--property=ActiveState,UnitFileState,MainPID"])[1]
        return dict(line.partition("=")[::2] for line in out.splitlines())

    def run(self, *command: str) -> str:
        """Return an empty text, or what the command said when it failed."""
        code, out, error = self.module.run_command(list(command))
        return (error or out).strip() if code else ""

    def workers(self) -> set[int]:
        """Return the process ids of the nginx workers that serve and are not shutting down."""
        main = self.state.get("MainPID", "0")
        children = Path("/proc", main, "task", main, "children")
        found = set()
        for child in children.read_text().split() if children.exists() else []:
            try:
                title = Path("/proc", child, "cmdline").read_text()
            except OSError:
                continue
            if "worker process" in title and "shutting down" not in title:
                found.add(int(child))
        return found

    def read_at(self) -> float:
        """Return when nginx last read its configuration, in seconds of the epoch; 0 if never.

        Its workers are made anew each time that it does. Exact to 0.02 s (proc(5)).
        """
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        ages = []
        for pid in self.workers():
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
            ages.append(uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
        return time.time() - min(ages) if ages else 0.0

    def written_at(self) -> float:
        """Return when the configuration of this site last changed, in seconds of the epoch."""
        paths = [self.available, self.enabled, self.enabled.parent]
        return max((path.lstat().st_mtime for path in paths if path.exists()), default=0.0)

    def steps(self) -> list[str]:
        """Return what `converge` will do, in order, each a sentence."""
        steps = []
        if not self.content:
            if self.stale_link:
                steps.append(f"remove {self.enabled}")
            if self.stale_file:
                steps.append(f"remove {self.available}")
            active = self.state.get("ActiveState") == "active"
            if active and (steps or self.read_at() < self.written_at() - CLOCK_SECONDS):
                steps.append("reload nginx.service")
            return steps
        if self.stale_file:
            steps.append(f"write {self.available}")
        if self.stale_link:
            steps.append(f"link {self.enabled}")
        if self.stale_default:
            steps.append(f"remove {self.default}")
        if self.state.get("UnitFileState") != "enabled":
            steps.append("enable nginx.service")
        if self.state.get("ActiveState") != "active":
            steps.append("start nginx.service")
        elif steps or self.read_at() < self.written_at() - CLOCK_SECONDS:
            steps.append("reload nginx.service")
        return steps

    def try_alone(self) -> None:
        """Fail the task when nginx does not accept the content by itself."""
        with tempfile.TemporaryDirectory() as directory:
            site = Path(directory, "site.conf")
            site.write_text(self.content)
            main = Path(directory, "nginx.conf")
            main.write_text(ALONE.format(directory=directory, etc=self.etc, site=site))
            if said := self.run("nginx", "-t", "-q", "-c", str(main)):
                self.module.fail_json(
                    msg=(
                        "nginx does not accept the site's configuration; nothing was changed. It "
                        f"said:\n{said}"
                    )
                )

    def land(self) -> None:
        """Put the configuration in place, if nginx accepts it together with everything else."""
        default_target = self.default.readlink() if self.stale_default else None
        link_before = self.enabled.readlink() if self.enabled.is_symlink() else None
        if self.content:
            belongings.take(self.site, [self.available, self.enabled])
            write_atomically(self.available, self.content, 0o644)
            if self.stale_link:
                link_atomically(self.enabled, self.available)
        else:
            self.enabled.unlink(missing_ok=True)
            self.available.unlink(missing_ok=True)
        if default_target:
            self.default.unlink()
        if said := self.run("nginx", "-t", "-q"):
            if default_target:
                link_atomically(self.default, default_target)
            if self.stale_link and link_before is None:
                self.enabled.unlink()
            elif self.stale_link:
                link_atomically(self.enabled, link_before)
            if self.before:
                write_atomically(self.available, self.before, 0o644)
            else:
                self.available.unlink(missing_ok=True)
            self.module.fail_json(
                msg=(
                    "nginx does not accept the site together with the rest of its configuration, "
                    f"which goes on as it was. It said:\n{said}"
                )
            )

    def converge(self, steps: list[str]) -> None:
        """Carry out the steps."""
        if self.stale_file and self.content:
            self.try_alone()
        if self.stale_file or self.stale_link or self.stale_default:
            self.land()
        for step in steps:
            verb, _, unit = step.partition(" ")
            if unit == "nginx.service":
                self._tell(verb)

    def _tell(self, verb: str) -> None:
        before = self.workers()
        if said := self.run("systemctl", verb, "--quiet", "nginx.service"):
            self.module.fail_json(msg=f"systemctl {verb} nginx.service failed: {said}")
        if verb == "reload":
            self._await_reload(before)

    def _await_reload(self, before: set[int]) -> None:
        """Return when workers with the new configuration serve, since what follows relies on it."""
        deadline = time.monotonic() + RELOAD_SECONDS
        while not (serving := self.workers()) or serving & before:
            if time.monotonic() > deadline:
                log = Path("/var/log/nginx/error.log")
                last = "\n".join(log.read_text().splitlines()[-5:]) if log.exists() else ""
                self.module.fail_json(
                    msg=f"nginx did not take its new configuration. Its log ends with:\n{last}"
                )
            time.sleep(0.02)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
            "remove_default": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    try:
        with nullcontext() if module.check_mode else only_site():
            nginx = Nginx(
                module, given["site"], given["content"], remove_default=given["remove_default"]
            )
            steps = nginx.steps()
            if steps and not module.check_mode:
                nginx.converge(steps)
    except HostError as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        diff=[
            {
                "before_header": str(nginx.available),
                "after_header": str(nginx.available),
                "before": nginx.before,
                "after": nginx.content,
            },
            {"prepared": "\n".join(steps)},
        ]
        if steps
        else [],
    )


if __name__ == "__main__":
    main()
