#!/usr/bin/python
"""Ansible module: a release and its virtual environment, each whole or not there at all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_release
short_description: Install a release and its virtual environment
description:
  - Without an archive, says what of the release is missing; with one, installs it.
  - With O(migrate_check) in check mode, has the release say what its migration would do. It is
    unpacked for that and removed again.
  - Releases and environments are named by their content, owned by root, and never changed once
    they are whole.
  - The action plugin of the same name makes the archive on the controller.
options:
  home: {description: Directory of the site., type: path, required: true}
  release: {description: Id of the release., type: str, required: true}
  environment: {description: Id of the virtual environment., type: str, required: true}
  static:
    description: Directories of the app that nginx serves, each with C(url) and C(directory).
    type: list
    elements: dict
    default: []
  archive:
    description: Archive on the host with C(app), C(runner), C(wheels) and C(requirements.txt).
    type: path
  migrate_check:
    description: Words of the command that says what the migration would do.
    type: list
    elements: str
    default: []
  process:
    description: Lines of a unit's C([Service]) section that a process of the app runs with.
    type: str
    default: ""
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The release is on the host
  aroundtheworld_release:
    home: /var/lib/tornado/aroundtheworld
    release: 0123456789ab
    environment: ba9876543210
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
missing:
  description: What was not there, of C(environment), C(release), C(link) and C(assets).
  type: list
  returned: always
current: {description: Id of the release that runs now, type: str, returned: always}
migration: {description: What the migration would do, type: str, returned: in check mode}
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import virtualenv
from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.files import link_atomically
from ansible.module_utils.aroundtheworld.layout import WHOLE, HomeLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import only_change, owned
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable_lines
from ansible.module_utils.basic import AnsibleModule

UNFINISHED = ".new-"  # begins the name of a release that is being written
# What a migration would do may be a script of SQL, of which this many lines are shown.
MIGRATION_LINES = 500


class Installer:
    """Puts releases, environments and the releases' static files below a home directory."""

    def __init__(
        self,
        module: AnsibleModule,
        home: Path,
        release: str,
        environment: str,
        static: Sequence[Mapping[str, str]],
    ) -> None:
        """Name what is wanted; nothing is touched yet."""
        self.module = module
        self.layout = HomeLayout(home)
        self.assets = Assets(home, static)
        self.environment = self.layout.environment(environment)
        self.release = self.layout.release(release)
        self.link = self.layout.environment_link(release)
        self.target = Path("..", "..", "environments", environment)

    def missing(self) -> list[str]:
        """Return what is not there, or not whole."""
        missing = []
        if not (self.environment / WHOLE).exists():
            missing.append("environment")
        if not self.release.is_dir():
            missing.append("release")
        elif not self.link.is_symlink() or self.link.readlink() != self.target:
            missing.append("link")
        if self.assets.stale() or (self.assets.static and "release" in missing):
            missing.append("assets")
        return missing

    def run(self, *command: str | Path) -> None:
        """Run a command, or fail the task with the end of what it said."""
        code, out, error = self.module.run_command([str(part) for part in command])
        if code:
            last = printable_lines((out + error).strip())
            words = [word for word in map(str, command) if "\n" not in word]
            self.module.fail_json(msg=f"{' '.join(words[:6])} … failed:\n{last}")

    def install_environment(self, source: Path, environment: Path) -> None:
        """Make the environment at its final place, because its scripts contain that path."""
        shutil.rmtree(environment, ignore_errors=True)
        virtualenv.make(
            environment,
            source / "wheels",
            source / "requirements.txt",
            lambda command: self.run(*command),
        )
        self.compile(environment)
        (environment / WHOLE).touch()

    def compile(self, tree: Path) -> None:
        """Write byte code, which the workers may not write themselves.

        A file that does not compile is no failure: many a package has some that nobody imports. If
        somebody does, the release is refused before any worker runs it, with a better message.
        """
        self.module.run_command(virtualenv.compile_command(tree))

    def install_release(self, source: Path) -> None:
        """Make the release beside its final place and move it there whole."""
        for tree in ("app", "runner"):
            self.compile(source / tree)
        manifest = {"release": self.release.name, "environment": self.environment.name}
        (source / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        for spare in ("wheels", "requirements.txt"):
            target = source / spare
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        source.chmod(0o755)
        source.rename(self.release)

    def install_link(self) -> None:
        """Point the release at its environment, another one after Debian got a new Python."""
        link_atomically(self.link, self.target)

    def install(self, archive: Path) -> None:
        """Install what is missing from the archive; a failure leaves nothing half-written."""
        missing = self.missing()
        with self.unpacked(archive) as source:
            if "environment" in missing:
                try:
                    self.install_environment(source, self.environment)
                except BaseException:
                    shutil.rmtree(self.environment, ignore_errors=True)
                    raise
            if "release" in missing:
                self.install_release(source)
        self.install_link()
        self.assets.update()

    @contextmanager
    def unpacked(self, archive: Path) -> Iterator[Path]:
        """Unpack the archive beside the releases, for as long as the block takes."""
        for left in self.release.parent.glob(f"{UNFINISHED}*"):  # from a run that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=self.release.parent, prefix=UNFINISHED) as work:
            Path(work).chmod(0o755)
            source = Path(work) / "release"
            source.mkdir()
            self.run(
                "tar", "--extract", "--no-same-owner", "--file", archive, "--directory", source
            )
            yield source

    def migration(self, archive: Path | None, command: Sequence[str], process: str) -> str:
        """Return what the release says that its migration would do."""
        missing = self.missing()
        if not archive:
            return self.said_by(self.release, self.environment, command, process)
        with self.unpacked(archive) as source:
            environment = self.environment
            if "environment" in missing:
                environment = source / "environment"
                self.install_environment(source, environment)
            release = source if "release" in missing else self.release
            return self.said_by(release, environment, command, process)

    def said_by(
        self, release: Path, environment: Path, command: Sequence[str], process: str
    ) -> str:
        """Run a command as a process of the release, and return what it prints.

        It could write what a worker can: SQLite does not open a database read-only whose log is
        nobody's at the moment. To change nothing is what the command is for.
        """
        unit = f"migration-check-{os.getpid()}"
        lines = without_absent_secrets(
            [line for line in process.splitlines() if line and not line.startswith("#")]
        )
        lines += [
            f"WorkingDirectory={release}/app",
            f"Environment=PATH={environment}/bin:/usr/local/bin:/usr/bin:/bin",
            f"Environment=PYTHONPATH={release}/app:{release}/runner",
        ]
        # systemd-run takes specifiers as they are.
        credentials = f"/run/credentials/{unit}.service"
        properties = [f"--property={line.replace('%d', credentials)}" for line in lines]
        systemd_run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
        code, out, error = self.module.run_command(
            [*systemd_run, *properties, "--", "/usr/bin/env", *command]
        )
        if code:
            last = "\n".join((out + error).strip().splitlines()[-20:])
            self.module.fail_json(
                msg=f"The release {self.release.name} cannot say what its migration would do, "
                f"because `{' '.join(command)}` failed:\n{last}"
            )
        return str(printable_lines(str(out).strip(), MIGRATION_LINES))


def without_absent_secrets(lines: Sequence[str]) -> list[str]:
    """Return lines of a unit without the credentials whose files are not on the host yet.

    In check mode a new secret was not written, and systemd starts nothing without it.
    """
    credentials = (re.fullmatch(r"LoadCredential=([^:]+):(.+)", line) for line in lines)
    absent = {found[1] for found in credentials if found and not Path(found[2]).exists()}
    return [
        line
        for line in lines
        if not any(
            line.startswith(f"LoadCredential={name}:") or line.endswith(f"=%d/{name}")
            for name in absent
        )
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "static": {"type": "list", "elements": "dict", "default": []},
            "archive": {"type": "path"},
            "migrate_check": {"type": "list", "elements": "str", "default": []},
            "process": {"type": "str", "default": ""},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    with owned(module, "installing a release" if given["archive"] else ""):
        work(module, given)


def work(module: AnsibleModule, given: Mapping[str, Any]) -> None:
    """Compare, install and end the task."""
    installer = Installer(
        module, Path(given["home"]), given["release"], given["environment"], given["static"]
    )
    missing = installer.missing()
    archive, migration = given["archive"] and Path(given["archive"]), ""
    os.umask(0o022)  # the workers read what root writes here
    if given["migrate_check"] if module.check_mode else archive:
        try:
            if module.check_mode:
                # Nothing is changed, but room beside the releases is taken for a while.
                with only_change(given["lock"], "looking what a release would do"):
                    command = given["migrate_check"]
                    migration = installer.migration(archive, command, given["process"])
            else:
                installer.install(archive)
        except HostError as failure:
            module.fail_json(msg=str(failure))
        except OSError as error:
            module.fail_json(
                msg=f"The release could not be written: {error}. What was there before still is."
            )
    about = {
        "release": given["release"],
        "environment": given["environment"],
        "link": given["environment"],
        "assets": f"below {', '.join(one['url'] for one in given['static']) or 'nothing'}",
    }
    after = "".join(f"{part} {about[part]}\n" for part in missing)
    if migration:
        after += f"its migration:\n{migration}\n"
    module.exit_json(
        changed=bool(missing),
        missing=missing,
        current=installer.layout.current_release(),
        migration=migration,
        diff={"before": "".join(f"no {part}\n" for part in missing), "after": after},
    )


if __name__ == "__main__":
    main()
