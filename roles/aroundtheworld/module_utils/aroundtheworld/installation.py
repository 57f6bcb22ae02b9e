"""A release and its virtual environment on the host, each whole or not there at all."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.aroundtheworld import virtualenv
from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.commands import Run, run_or_fail
from ansible.module_utils.aroundtheworld.files import link_atomically
from ansible.module_utils.aroundtheworld.layout import WHOLE, HomeLayout

SCRIPT = re.compile(rb"#!pythonw?\b")  # begins a script in a wheel
UNFINISHED = ".new-"  # begins the name of a release that is being written


def name_interpreter(scripts: Path, environment: Path) -> None:
    """Have the scripts of a release run under the interpreter of its virtual environment.

    As in a wheel, their first line is ``#!python`` until the environment's place is known.
    """
    interpreter = b"#!" + bytes(environment / "bin" / "python")
    for script in scripts.iterdir() if scripts.is_dir() else ():
        text = script.read_bytes()
        if begins := SCRIPT.match(text):
            script.write_bytes(interpreter + text[begins.end() :])


class Installation:
    """Puts a release, its virtual environment and its static files below a site's home."""

    def __init__(
        self,
        layout: HomeLayout,
        release: str,
        environment: str,
        static: Sequence[Mapping[str, str]],
        run: Run,
    ) -> None:
        """Name the release and its virtual environment by their ids; nothing is touched yet."""
        self.run = run
        self.assets = Assets(layout.home, static)
        self.environment: Path = layout.environment(environment)
        self.release: Path = layout.release(release)
        self.link: Path = layout.environment_link(release)
        self.target = Path("..", "..", self.environment.parent.name, environment)

    def missing(self) -> list[str]:
        """Return what is not there, or not whole."""
        missing = []
        if not (self.environment / WHOLE).exists():
            missing.append("environment")
        elif not virtualenv.names_version(self.environment):  # a former version of the role made it
            missing.append("interpreter")
        if not self.release.is_dir():
            missing.append("release")
        elif not self.link.is_symlink() or self.link.readlink() != self.target:
            missing.append("link")
        if self.assets.stale() or (self.assets.static and "release" in missing):
            missing.append("assets")
        return missing

    def install(self, archive: Path) -> None:
        """Install what is missing from the archive; a failure leaves nothing half-written.

        Raises:
            HostError: A command failed.
        """
        missing = self.missing()
        with self.unpacked(archive) as source:
            name_interpreter(source / "bin", self.link)
            if "environment" in missing:
                try:
                    self.install_environment(source, self.environment)
                except BaseException:
                    shutil.rmtree(self.environment, ignore_errors=True)
                    raise
            if "interpreter" in missing:
                virtualenv.name_version(self.environment)
            if "release" in missing:
                self._install_release(source)
        if "link" in missing:  # another one after Debian got a new Python, with other byte code
            self._compile_release(self.release)
        link_atomically(self.link, self.target)
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
            tar = ("tar", "--extract", "--no-same-owner")
            run_or_fail(self.run, *tar, "--file", archive, "--directory", source)
            yield source

    def install_environment(self, source: Path, environment: Path) -> None:
        """Make a virtual environment at its final place, because its scripts contain that path."""
        shutil.rmtree(environment, ignore_errors=True)
        virtualenv.make(
            environment,
            source / "wheels",
            source / "requirements.txt",
            lambda command: run_or_fail(self.run, *command),
        )
        self._compile(environment)
        (environment / WHOLE).touch()

    def _install_release(self, source: Path) -> None:
        """Make the release beside its final place and move it there whole."""
        self._compile_release(source)
        manifest = {"release": self.release.name, "environment": self.environment.name}
        (source / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        for spare in ("wheels", "requirements.txt"):
            target = source / spare
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        source.chmod(0o755)
        source.rename(self.release)

    def _compile_release(self, release: Path) -> None:
        for tree in ("app", "runner", "lib"):
            # It may be none, or a link to where the app's own modules are.
            if (release / tree).is_dir() and not (release / tree).is_symlink():
                self._compile(release / tree)

    def _compile(self, tree: Path) -> None:
        """Write byte code, which the workers may not write themselves.

        A file that does not compile is no failure: many a package has some that nobody imports. If
        somebody does, the release is refused before any worker runs it, with a better message.
        """
        self.run(virtualenv.compile_command(tree))
