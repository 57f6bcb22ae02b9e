#!/usr/bin/python
"""Ansible module: the site's user, directories, environment and secrets, all in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_layout
short_description: Make a site's user, directories, environment file, secrets and command
description:
  - Environment file and secrets are readable by root alone; systemd hands them to the workers.
  - Neither their values nor a generated secret appear in a result or a diff.
  - The site's claim comes first; nothing is made when another site on the host has what it wants.
    It also lists what is made, before that is done.
  - A user who is there already stays as they are.
options:
  claim: {description: What the site has for itself on the host., type: dict, required: true}
  directories:
    description:
      - Each with C(path), C(owner) and C(mode), parents before children. Their group is the owner's
        own. One that was there before the site was is left as it is.
    type: list
    elements: dict
    required: true
  environment_file: {description: Where the environment goes., type: path, required: true}
  secrets_directory:
    description: Where the secrets go; other files in it are removed.
    type: path
    required: true
  settings:
    description:
      - C(environment) and C(secrets), each names to values, as one text of JSON; for the value
        C(generate) a secret is made, once. Ansible hides each value that it must not show wherever
        it appears in a result or a log, so one that is a usual word would hide paths. One text
        appears nowhere else.
    type: str
    required: true
  script:
    description: Text of the command that runs what the app brings as its workers run.
    type: str
    required: true
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site has its directories, environment and secrets
  aroundtheworld_layout:
    claim: "{{ __aroundtheworld_plan.claim }}"
    directories: [{path: /srv/site, owner: root, mode: "0755"}]
    environment_file: /etc/site/environment
    secrets_directory: /etc/site/secrets
    settings: '{"environment": {"LANG": "C.UTF-8"}, "secrets": {"cookie_secret": "generate"}}'
    script: "{{ lookup('ansible.builtin.template', 'run.sh.j2') }}"
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""# """

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.accounts import find_user, is_alone, make_user
from ansible.module_utils.aroundtheworld.changelog import exposed, secure
from ansible.module_utils.aroundtheworld.claims import claim_text, collisions, read_claims
from ansible.module_utils.aroundtheworld.files import read_exactly, write_atomically
from ansible.module_utils.aroundtheworld.host_lock import only_site
from ansible.module_utils.aroundtheworld.layout import ROOT, SiteLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule

GENERATE = "generate"


def environment_text(environment: Mapping[str, Any]) -> str:
    """Return the text of an environment file for systemd (systemd.exec(5), EnvironmentFile=)."""
    quoted = {
        name: re.sub(r'([\\"$`])', r"\\\1", str(value)) for name, value in environment.items()
    }
    return "".join(f'{name}="{value}"\n' for name, value in sorted(quoted.items()))


def wanted_secrets(given: Mapping[str, str], directory: Path) -> dict[Path, str]:
    """Return the secret files with their contents; one that was generated before stays as it is."""
    wanted = {}
    for name, value in given.items():
        path = directory / name
        if value == GENERATE:
            value = read_exactly(path) if path.exists() else secrets.token_urlsafe(48)
        wanted[path] = value
    return wanted


class Layout:
    """Compares what a site has beside its units and releases with what it should, and makes it."""

    def __init__(self, module: AnsibleModule, root: Path = ROOT) -> None:
        """Take the module, with its parameters; nothing is touched yet."""
        self.module, self.root = module, root
        self.claim: dict[str, Any] = module.params["claim"]
        self.site: str = self.claim["site"]
        self.layout = SiteLayout(Path(self.claim["home"]), self.site, root)
        self.settings: dict[str, dict[str, Any]] = json.loads(module.params["settings"])
        self.changes: list[str] = []

    def changing(self, change: str) -> bool:
        """Note a change; tell whether it is to be made."""
        self.changes.append(change)
        return not self.module.check_mode

    def converge(self) -> None:
        """Make what is missing, in this order; raises `HostError`."""
        self.write_claim()
        self.make_user()
        for directory in self.module.params["directories"]:
            self.make_directory(directory)
        self.put_right()
        self.write_settings()
        self.write_script()

    def write_claim(self) -> None:
        """Write the claim, unless another site was faster than the plan's look."""
        path = self.layout.claim
        listed = belongings.has(self.site, self.root)
        if not path.parent.exists():
            listed["directories"].append(str(path.parent))
        text = claim_text({**self.claim, "has": listed})
        before = path.read_text() if path.exists() else ""
        if before == text or not self.changing(f"content of {path}"):
            return
        with only_site():
            if problems := list(collisions(self.claim, read_claims(self.root / "etc"))):
                raise HostError("nothing was changed, because of this:\n" + "\n".join(problems))
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, text, 0o644)

    def make_user(self) -> None:
        """Make the workers' user, where there is none of that name."""
        name = self.claim["user"]
        user = find_user(name)
        if user is None and self.changing(f"user {name}"):
            make_user(name, self.claim["home"], self.module.run_command)
            if made := find_user(name):
                entry = {"name": name, "uid": made.pw_uid}
                belongings.take(self.site, users=[entry], root=self.root)

    def make_directory(self, directory: Mapping[str, Any]) -> None:
        """Make a directory and those that lead to it, and put its owner and mode right."""
        path = Path(directory["path"])
        if not path.is_dir():
            if not self.changing(f"directory {path}"):
                return
            missing = [one for one in (path, *path.parents) if not one.exists()]
            belongings.take(self.site, directories=missing, root=self.root)
            path.mkdir(parents=True)
        elif path == self.layout.home and not self.has_made(path):
            return  # somebody made it for the site, and the plan found it fit
        owner = directory["owner"]
        user = find_user(str(owner))
        # A user who was there before may have another group than one of the same name.
        own = {"group": str(user.pw_gid) if user else owner}
        if user and user.pw_uid and not is_alone(user.pw_name, user.pw_gid):
            own["mode"] = f"{int(directory['mode'], 8) & 0o707:04o}"  # nothing for that group
        attributes = self.module.load_file_common_arguments(self.module.params | directory | own)
        if self.module.set_fs_attributes_if_different(attributes, changed=False):
            self.changes.append(f"owner and mode of {path}")

    def put_right(self) -> None:
        """Have the log of changes for root and the site's user alone, and no lock for everybody."""
        home = self.layout.home
        if exposed(home) and self.changing(f"group and mode of {self.layout.log}"):
            secure(home)
        former = self.layout.former_lock  # everybody could lock it, so that no run came through
        if former.exists() and self.changing(f"no {former}"):
            former.unlink()

    def has_made(self, path: Path) -> bool:
        """Tell whether the role made a directory, by what was written down."""
        return str(path) in belongings.has(self.site, self.root)["directories"]

    def write_settings(self) -> None:
        """Write environment and secrets, and remove secrets that there are no longer to be."""
        parameters = self.module.params
        directory = Path(parameters["secrets_directory"])
        files = wanted_secrets(self.settings["secrets"], directory)
        files[Path(parameters["environment_file"])] = environment_text(self.settings["environment"])
        for path, text in files.items():
            same = path.exists() and read_exactly(path) == text
            if same and path.stat().st_mode & 0o777 == 0o600:
                continue
            if self.changing(f"content of {path} (not shown)"):
                write_atomically(path, text, 0o600)
        for path in sorted(set(directory.glob("*")) - set(files)):
            if self.changing(f"no {path}"):
                path.unlink()

    def write_script(self) -> None:
        """Write the command with which root runs what the app brings."""
        path, text = self.layout.script, self.module.params["script"]
        same = path.exists() and read_exactly(path) == text
        if same and path.stat().st_mode & 0o777 == 0o755:
            return
        if self.changing(f"content of {path}"):
            missing = [one for one in path.parents if not one.exists()]
            belongings.take(self.site, files=[path], directories=missing, root=self.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text, 0o755)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "claim": {"type": "dict", "required": True},
            "directories": {"type": "list", "elements": "dict", "required": True},
            "environment_file": {"type": "path", "required": True},
            "secrets_directory": {"type": "path", "required": True},
            "settings": {"type": "str", "required": True, "no_log": True},
            "script": {"type": "str", "required": True},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # the workers enter the site by directories that may be made on the way
    with owned(module):
        layout = Layout(module)
        try:
            layout.converge()
        except (HostError, OSError) as failure:
            message = f"What the site has beside its releases could not be made: {failure}"
            module.fail_json(msg=message)
        after = "".join(f"{change}\n" for change in layout.changes)
        module.exit_json(changed=bool(layout.changes), diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
