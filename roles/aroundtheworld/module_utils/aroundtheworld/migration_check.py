"""What a release's migration would do, as the release itself says in a dry run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.installation import Installation
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable_lines

# What a migration would do may be a script of SQL, of which this many lines are shown.
LINES = 500


def check_migration(
    installation: Installation, archive: Path | None, command: Sequence[str], process: str
) -> str:
    """Return what the release prints about its migration; what is missing goes again afterwards.

    Args:
        installation: The release.
        archive: Holds what is missing of it on the host; none when all is there.
        command: The words of the app's command.
        process: How a process of the site is run, as lines of a unit (templates/process.j2).

    Raises:
        HostError: The command failed, or could not be run.
    """
    release, environment = installation.release, installation.environment
    if not archive:
        return _output(installation.run, release, environment, command, process, release.name)
    missing = installation.missing()
    with installation.unpacked(archive) as source:
        if "environment" in missing:
            environment = source / "environment"
            installation.install_environment(source, environment)
        path = source if "release" in missing else release
        return _output(installation.run, path, environment, command, process, release.name)


def _output(
    run: Run, release: Path, environment: Path, command: Sequence[str], process: str, name: str
) -> str:
    """Run a command as a process of the release, and return what it prints.

    It could write what a worker can: SQLite does not open a database read-only whose log is
    nobody's at the moment. To change nothing is what the command is for.
    """
    unit = f"migration-check-{os.getpid()}"
    properties = transient(process, unit, release, environment)
    systemd_run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
    code, out, error = run([*systemd_run, *properties, "--", "/usr/bin/env", *command])
    if code:
        last = "\n".join((out + error).strip().splitlines()[-20:])
        raise HostError(
            f"The release {name} cannot say what its migration would do, "
            f"because `{' '.join(command)}` failed:\n{last}"
        )
    return str(printable_lines(str(out).strip(), LINES))


def transient(process: str, unit: str, release: Path, environment: Path) -> list[str]:
    """Return the arguments by which systemd-run runs a unit as a process of the site.

    Args:
        process: Lines of a unit, also empty ones and comments.
        unit: The unit's name, without a suffix.
        release: Where the release is.
        environment: Where its virtual environment is.
    """
    lines = without_absent_secrets(
        [line for line in process.splitlines() if line and not line.startswith("#")]
    )
    # As templates/release.j2 has it for a release that is installed.
    lines += [
        f"WorkingDirectory={release}/app",
        f"Environment=PATH={environment}/bin:/usr/local/bin:/usr/bin:/bin",
        f"Environment=PYTHONPATH={release}/app:{release}/runner",
    ]
    # systemd-run takes specifiers as they are.
    credentials = f"/run/credentials/{unit}.service"
    return [f"--property={line.replace('%d', credentials)}" for line in lines]


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
