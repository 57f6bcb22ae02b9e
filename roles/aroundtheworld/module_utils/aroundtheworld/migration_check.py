"""What a release's migration would do, as the release itself says in a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.app_command import Place, ask
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.installation import Installation, name_interpreter
from ansible.module_utils.aroundtheworld.process import Process
from ansible.module_utils.aroundtheworld.systemd import HostError

# What a migration would do may be a script of SQL, of which this many lines are shown.
LINES = 500


def check_migration(
    installation: Installation, archive: Path | None, command: Sequence[str], process: Process
) -> str:
    """Return what the release prints about its migration; what is missing goes again afterwards.

    Args:
        installation: The release.
        archive: Holds what is missing of it on the host; none when all is there.
        command: The words of the app's command.
        process: How a process of the site is run.

    Raises:
        HostError: The command failed, or could not be run.
    """
    release, environment = installation.release, installation.environment
    if not archive:
        return _output(
            installation.run, Place(release, environment, release.name), command, process
        )
    missing = installation.missing()
    with installation.unpacked(archive) as source:
        if "environment" in missing:
            environment = source / "environment"
            installation.install_environment(source, environment)
        name_interpreter(source / "bin", environment)
        path = source if "release" in missing else release
        place = Place(path, environment, release.name)
        return _output(installation.run, place, command, process)


def _output(run: Run, place: Place, command: Sequence[str], process: Process) -> str:
    """Run a command as a process of the release, and return what it prints.

    It could write what a worker can: SQLite does not open a database read-only whose log is
    nobody's at the moment. To change nothing is what the command is for.
    """
    answer = ask(run, process, place, command, "migration-check", lines=LINES)
    if answer.status:
        last = "\n".join(answer.printed.splitlines()[-20:])
        raise HostError(
            f"The release {place.name} cannot say what its migration would do, "
            f"because `{' '.join(command)}` failed:\n{last}"
        )
    return str(answer.printed)
