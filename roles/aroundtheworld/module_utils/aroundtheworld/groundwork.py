"""What a site has beside units and releases: user, directories, environment, logs, backups."""

from __future__ import annotations

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
from ansible.module_utils.aroundtheworld.data.schedule import Schedule
from ansible.module_utils.aroundtheworld.files import read_exactly, write_atomically
from ansible.module_utils.aroundtheworld.host_lock import only_site
from ansible.module_utils.aroundtheworld.layout import ROOT, SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule

GENERATE = "generate"
# The group adm, which may read the logs of a Debian host.
READERS = 4


def environment_text(environment: Mapping[str, Any]) -> str:
    """Return the text of an environment file for systemd (systemd.exec(5), EnvironmentFile=)."""
    quoted = {
        name: re.sub(r'([\\"$`])', r"\\\1", str(value)) for name, value in environment.items()
    }
    return "".join(f'{name}="{value}"\n' for name, value in sorted(quoted.items()))


def secret_files(values: Mapping[str, str], directory: Path) -> dict[Path, str]:
    """Return the secret files with their contents; one that was generated before stays as it is."""
    files = {}
    for name, value in values.items():
        path = directory / name
        if value == GENERATE:
            value = read_exactly(path) if path.exists() else secrets.token_urlsafe(48)
        files[path] = value
    return files


class Groundwork:
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
        """Note a change, and tell whether to make it."""
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
        self.write_file(self.layout.script, self.module.params["script"], 0o755)
        self.make_logs()
        self.write_file(self.layout.rotation, self.module.params["rotation"], 0o644)
        self.schedule_backups()

    def write_claim(self) -> None:
        """Write the claim, unless another site took something of it since the plan looked."""
        path = self.layout.claim
        made = [] if path.parent.exists() else [str(path.parent)]
        text = self.claim_text(made)
        before = path.read_text() if path.exists() else ""
        if before == text or not self.changing(f"content of {path}"):
            return
        with only_site():
            if problems := list(collisions(self.claim, read_claims(self.root / "etc"))):
                raise HostError("nothing was changed, because of this:\n" + "\n".join(problems))
            path.parent.mkdir(exist_ok=True)
            with belongings.alone(self.layout):  # and by what is listed by now
                write_atomically(path, self.claim_text(made), 0o644)

    def claim_text(self, made: list[str]) -> str:
        """Return the claim with what the site has, and with directories that it gets with it."""
        listed = belongings.has(self.site, self.root)
        listed["directories"] += made
        return str(claim_text({**self.claim, "has": listed}))

    def make_user(self) -> None:
        """Make the workers' user, unless a user has that name."""
        name = self.claim["user"]
        user = find_user(name)
        if user is None and self.changing(f"user {name}"):
            make_user(name, self.claim["home"], self.module.run_command)
            if made := find_user(name):
                entry = {"name": name, "uid": made.pw_uid}
                belongings.take(self.site, users=[entry], root=self.root)

    def make_directory(self, directory: Mapping[str, Any]) -> None:
        """Make a directory and those that lead to it, and correct its owner and mode."""
        path = Path(directory["path"])
        if not path.is_dir():
            if not self.changing(f"directory {path}"):
                return
            missing = [parent for parent in (path, *path.parents) if not parent.exists()]
            belongings.take(self.site, directories=missing, root=self.root)
            path.mkdir(parents=True)
        elif path == self.layout.home and not self.has_made(path):
            return  # an operator made it for the site, and the plan found it fit
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
        """Give the log of changes its group and mode, and remove the lock of former versions."""
        home = self.layout.home
        if exposed(home) and self.changing(f"group and mode of {self.layout.log}"):
            secure(home)
        former = self.layout.former_lock  # everybody could lock it, so that no run came through
        if former.exists() and self.changing(f"no {former}"):
            former.unlink()

    def has_made(self, path: Path) -> bool:
        """Tell whether the role made a directory, as the claim says."""
        return str(path) in belongings.has(self.site, self.root)["directories"]

    def write_settings(self) -> None:
        """Write environment and secrets, and remove secrets that no variable names any more."""
        directory = self.layout.secrets
        files = secret_files(self.settings["secrets"], directory)
        files[self.layout.environment_file] = environment_text(self.settings["environment"])
        for path, text in files.items():
            same = path.exists() and read_exactly(path) == text
            if same and path.stat().st_mode & 0o777 == 0o600:
                continue
            if self.changing(f"content of {path} (not shown)"):
                write_atomically(path, text, 0o600)
        for path in sorted(set(directory.glob("*")) - set(files)):
            if self.changing(f"no {path}"):
                path.unlink()

    def make_logs(self) -> None:
        """Have nginx's logs in the site's directory, those of former versions of the role too.

        nginx goes on to write into a file that is moved, and then opens the same one. It would make
        a file that everybody on the host may read.
        """
        for path in belongings.former_logs(self.site, self.root):
            new = self.layout.logs / path.name.removeprefix(f"{self.site}.")
            if not new.exists() and self.changing(f"{path} becomes {new}"):
                path.rename(new)
        for path in (self.layout.logs / "access.log", self.layout.logs / "error.log"):
            if not path.exists() and self.changing(f"file {path}"):
                path.touch(0o640)
                os.chown(path, -1, READERS)
            # As nginx makes one, and logrotate each after it.
            readable = path.exists() and path.stat().st_mode & 0o007
            if readable and self.changing(f"group and mode of {path}"):
                os.chown(path, -1, READERS)
                path.chmod(0o640)
        # logrotate removes the one that becomes too old, and never those that are older already.
        for path in sorted(self.layout.logs.glob("*.log.*")):
            number = re.fullmatch(r"(?:access|error)\.log\.(\d+)(?:\.gz)?", path.name)
            too_old = number and int(number[1]) > self.module.params["log_days"]
            if too_old and self.changing(f"no {path}"):
                path.unlink()

    def schedule_backups(self) -> None:
        """Have backups made by a timer, or by none."""
        check_mode = self.module.check_mode
        schedule = Schedule(self.layout, Systemd(self.module), check_mode=check_mode)
        schedule.converge(json.loads(self.module.params["backup"] or "{}"))
        self.changes += schedule.changes

    def write_file(self, path: Path, text: str, mode: int) -> None:
        """Write a file that the site has outside its directories."""
        same = path.exists() and read_exactly(path) == text
        if same and path.stat().st_mode & 0o777 == mode:
            return
        if self.changing(f"content of {path}"):
            missing = [parent for parent in path.parents if not parent.exists()]
            belongings.take(self.site, files=[path], directories=missing, root=self.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            for draft in belongings.half_made([path]):  # logrotate would read it too
                draft.unlink()
            write_atomically(path, text, mode)
