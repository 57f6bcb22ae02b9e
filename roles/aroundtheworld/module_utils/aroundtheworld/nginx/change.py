"""One change of what nginx serves: all of it, or nothing.

What is on disk is what nginx runs. So whatever fails between the first file and the site's own
answer, also a signal to this process, puts every file back as it was, and nginx too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.files import (
    link_atomically,
    read_exactly,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.layout import ETC
from ansible.module_utils.aroundtheworld.nginx import service, site
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Configuration,
    Run,
    complaint,
    program,
    read_configuration,
)
from ansible.module_utils.aroundtheworld.nginx.service import Service
from ansible.module_utils.aroundtheworld.nginx.site import NGINX, Place, Questions
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError
from ansible.module_utils.aroundtheworld.systemd import HostError

SERVED_SECONDS = 3.0  # until the site answers with the new configuration, once nginx has it
AGAIN_SECONDS = 0.1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# A site is part of the http block; what Debian's nginx.conf sets around it is no matter of syntax.
ALONE = """\
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    include {etc}/mime.types;
    include {site};
}}
"""


class Link(str):
    """What a symbolic link leads to."""

    __slots__ = ()


# What is at a path: a file's text, a link, or nothing.
State = str | Link | None


def read_state(path: Path) -> State:
    """Return what is at the path."""
    if path.is_symlink():
        return Link(path.readlink())
    return read_exactly(path) if path.exists() else None


def write_state(path: Path, state: State) -> None:
    """Have this at the path, at once."""
    if state is None:
        path.unlink(missing_ok=True)
    elif isinstance(state, Link):
        link_atomically(path, state)
    else:
        write_atomically(path, state, 0o644)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have a signal that would end this process raise `HostError` in the block instead."""

    def stop(number: int, _: FrameType | None) -> None:
        raise HostError(f"this run was ended by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class SiteChange:
    """How nginx comes to serve a site as its content says; without content, not any more."""

    def __init__(
        self,
        run: Run,
        name: str,
        content: str,
        *,
        remove_default: bool = False,
        nginx: Path = NGINX,
        etc: Path = ETC,
    ) -> None:
        """Read the state; nothing is changed yet.

        Raises:
            HostError: This nginx reads no directory that the site could be in.
        """
        self.run, self.name, self.nginx, self.etc = run, name, nginx, etc
        self.content = site.identified(content)
        self.service = Service(run)
        self.configuration = self._configuration()
        self.place = self._place()
        self.before_text = read_text(self.place.file)
        self.default = nginx / "sites-enabled" / "default"
        self.wanted: dict[Path, State] = dict(self._wanted(remove_default=remove_default))
        self.before = {path: read_state(path) for path in self.wanted}
        self.questions = (
            Questions.of(self.content, name)
            if content
            else Questions.of(self.before_text, name) or Questions.of_claim(name, etc)
        )

    def _configuration(self) -> Configuration | None:
        """Return nginx's configuration, if there is an nginx and it accepts what there is."""
        if not program():
            return None
        try:
            return read_configuration(self.run)
        except ConfigurationError:  # what it has against it is said when all of it is tried
            return None

    def _place(self) -> Place:
        usual = site.debian(self.name, self.nginx)
        if found := site.find_place(self.configuration, self.name, self.nginx):
            return found
        if self.content and self.configuration:
            raise HostError(site.no_place(self.configuration))
        return usual

    def _wanted(self, *, remove_default: bool) -> Iterator[tuple[Path, State]]:
        """Yield what should be at which path, in the order in which it is done."""
        note, place = self.etc / self.name / site.NOTE, self.place
        if self.content:
            yield place.file, self.content
            if place.link:
                yield place.link, Link(place.file)
        for path in self._former():
            yield path, None
        if self.content and remove_default and site.default_is_on(self.run, self.nginx):
            # The note first: that it is off by the site's doing must never be forgotten.
            if note.parent.is_dir():
                yield note, site.note_text(str(self.default.readlink()))
            yield self.default, None
        target = "" if self.content else site.read_note(self.name, self.etc)
        if not target:
            return
        yield note, None
        if heirs := site.heirs(self.name, self.etc):
            # Their visitors have come to where it was; the last of the sites switches it on again.
            yield self.etc / heirs[0] / site.NOTE, site.note_text(target)
        elif not os.path.lexists(self.default) and site.default_is_debians(self.run, self.nginx):
            yield self.default, Link(target)

    def _former(self) -> Iterator[Path]:
        """Yield where the site's files are that should not be, links before what they lead to."""
        usual = site.debian(self.name, self.nginx)
        known = [usual.read, self.place.read, self.nginx / "conf.d" / f"{self.name}.conf"]
        here = {self.place.file, self.place.link} if self.content else set()
        for path in dict.fromkeys([*known, usual.file, self.place.file]):
            if path not in here and os.path.lexists(path) and self._is_own(path):
                yield path

    def _is_own(self, path: Path) -> bool:
        """Tell whether a path of the site's name is the site's; a broken link there is."""
        if path.is_symlink() and path.readlink() == site.debian(self.name, self.nginx).file:
            return True
        listed = belongings.files(self.name, root=self.etc.parent)
        return path in listed or bool(site.is_own(path, self.name))

    # --- What there is to do ---

    @property
    def stale(self) -> list[Path]:
        """Return the paths that are not as they should be."""
        return [path for path, state in self.wanted.items() if self.before[path] != state]

    def steps(self) -> list[str]:
        """Return what `carry_out` will do, in order, each a sentence."""
        steps = []
        for path in self.stale:
            state = self.wanted[path]
            verb = "link" if isinstance(state, Link) else "remove" if state is None else "write"
            if path.name != site.NOTE:
                steps.append(f"{verb} {path}")
        if not self.content:
            served = self.questions is not None and service.serves_any(self.questions)
            return [*steps, "reload nginx.service"] if self.service.active and (
                steps or served
            ) else steps  # fmt: skip
        if not self.service.enabled:
            steps.append("enable nginx.service")
        if not self.service.active:
            steps.append("start nginx.service")
        elif self.stale or not self._served():
            steps.append("reload nginx.service")
        return steps

    def _served(self) -> bool:
        return self.questions is not None and not service.wrong_answers(self.questions)

    # --- Doing it ---

    def carry_out(self) -> None:
        """Do it; raises `HostError`, and leaves everything as it was, when that cannot be."""
        if self.content and self.stale:
            self._try_alone()
        with interruptible():
            try:
                self._carry_out(self.wanted)
            except HostError:
                # A removal does not depend on whether the welcome page can come back.
                if self.content or not isinstance(self.wanted.get(self.default), Link):
                    raise
                del self.wanted[self.default]
                self._carry_out(self.wanted)

    def _carry_out(self, wanted: dict[Path, State]) -> None:
        told: list[str] = []
        try:
            self._write_down(wanted)
            for path, state in wanted.items():
                if self.before[path] != state:
                    write_state(path, state)
            if self.service.active or self.content:
                self._tell(told)
            gone = [
                path for path, state in wanted.items() if state is None and path != self.default
            ]
            belongings.give_up(self.name, gone, root=self.etc.parent)
        except BaseException as error:
            left = self._put_back(wanted, told)
            if isinstance(error, (HostError, OSError)):
                raise HostError(f"{error}\n{left}") from None
            raise

    def _write_down(self, wanted: dict[Path, State]) -> None:
        """Write down what files the site, or the one that has its note from now on, will have."""
        for path, state in wanted.items():
            if state is not None and path != self.default:
                owner = path.parent.name if path.name == site.NOTE else self.name
                belongings.take(owner, [path], root=self.etc.parent)

    def _tell(self, told: list[str]) -> None:
        """Have nginx run what is on disk, and note in `told` what it was told."""
        if problem := self.service.try_all():
            raise HostError(
                "nginx does not accept the site together with the rest of its configuration. It "
                f"said:\n{problem}"
            )
        if self.content and not self.service.enabled:
            told.append("enable")
            self.service.call("enable")
        if self.service.active:
            told.append("reload")
            self.service.reload(self.configuration)
            told.append("taken")
        else:
            told.append("start")
            self.service.call("start")
        if self.content:
            self._await_site()

    def _await_site(self) -> None:
        """Return when the site itself answers to each of its names."""
        if self.questions is None:
            return
        deadline = time.monotonic() + SERVED_SECONDS
        while wrong := service.wrong_answers(self.questions):
            if time.monotonic() > deadline:
                configuration = self._configuration() or self.configuration
                lines = [service.explain(one, self.questions, configuration) for one in wrong[:3]]
                raise HostError("\n".join(["nginx does not serve the site.", *lines]))
            time.sleep(AGAIN_SECONDS)

    def _put_back(self, wanted: dict[Path, State], told: list[str]) -> str:
        """Have files and nginx as they were before, and return the sentence about that."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for path in reversed(list(wanted)):
            with contextlib.suppress(OSError):
                if read_state(path) != self.before[path]:
                    write_state(path, self.before[path])
        try:
            if "start" in told:
                self.service.call("stop")
            if "enable" in told:
                self.service.call("disable")
            if "reload" in told and not self.service.try_all():
                # Also when it seems to have gone on as before: it may only have been slow.
                self.service.reload(self.configuration, seconds=10)
        except HostError as error:
            if "taken" in told:
                return f"Its files are as they were, but nginx still runs the new ones: {error}"
        return "All is as it was before; nginx goes on with that."

    def _try_alone(self) -> None:
        """Raise `HostError` when nginx does not accept the content by itself."""
        with tempfile.TemporaryDirectory() as directory:
            path, main = Path(directory, "site.conf"), Path(directory, "nginx.conf")
            path.write_text(self.content)
            main.write_text(ALONE.format(directory=directory, etc=self.nginx, site=path))
            code, out, error = self.run(["nginx", "-t", "-q", "-c", str(main)])
        if code:
            raise HostError(
                "nginx does not accept the site's configuration; nothing was changed. It said:\n"
                f"{complaint(error or out)}"
            )


def read_text(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    try:
        return str(read_exactly(path))
    except OSError:
        return ""
