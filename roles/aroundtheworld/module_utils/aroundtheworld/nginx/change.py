"""One change of what nginx serves: all of it, or nothing.

What is on disk is what nginx runs. So any failure between the first file and the site's own
response, also a signal to this process, puts every file back as it was, and nginx too.
"""

from __future__ import annotations

import contextlib
import grp
import os
import signal
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import FrameType

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import ETC
from ansible.module_utils.aroundtheworld.nginx import service, site
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Configuration,
    Run,
    complaint,
    program,
    read_configuration,
)
from ansible.module_utils.aroundtheworld.nginx.expected import Directories, expected_states
from ansible.module_utils.aroundtheworld.nginx.service import Service
from ansible.module_utils.aroundtheworld.nginx.site import NGINX, Place, Probe
from ansible.module_utils.aroundtheworld.nginx.states import (
    Link,
    Private,
    Shared,
    State,
    differ,
    read_state,
    read_text,
    write_state,
)
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError
from ansible.module_utils.aroundtheworld.systemd import HostError

GROUP = "www-data"  # of nginx's processes, where its configuration has no other
# Until the site answers with the new configuration, once nginx has it: time for two slow answers.
SERVED_SECONDS = 12.0
AGAIN_SECONDS = 0.1
REVERT_SECONDS = 10.0  # for nginx to read the former configuration again
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# A site is part of the http block; what Debian's nginx.conf sets there is not a matter of syntax.
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
    """The change after which nginx serves a site by its content; without content, not any more."""

    def __init__(
        self,
        run: Run,
        name: str,
        content: str,
        *,
        remove_default: bool = False,
        private: Mapping[str, str] | None = None,
        passwords: Mapping[str, str] | None = None,
        nginx: Path = NGINX,
        etc: Path = ETC,
    ) -> None:
        """Read the state; nothing is changed yet.

        Raises:
            HostError: This nginx reads no directory that the site could be in.
        """
        self.run, self.name = run, name
        self.where = Directories(nginx, etc)
        self.content = site.identified(content)
        self.service = Service(run)
        self.configuration = readable_configuration(run)
        self.place = find_place(self.configuration, name, nginx, needed=bool(content))
        self.content_before = read_text(self.place.file)
        self.expected = expected_states(
            run,
            name,
            self.content,
            self.place,
            self.where,
            remove_default=remove_default,
            private=private or {},
            passwords=passwords or {},
        )
        self.before = {path: read_state(path) for path in self.expected}
        self.probes = (
            Probe.all_of(self.content, name)
            if content
            else Probe.all_of(self.content_before, name) or Probe.all_of_claim(name, etc)
        )

    # --- What there is to do ---

    @property
    def stale(self) -> list[Path]:
        """Return the paths that are not as they should be."""
        return [path for path, state in self.expected.items() if differ(self.before[path], state)]

    def steps(self) -> list[str]:
        """Return what `carry_out` will do, in order, each a sentence."""
        steps = []
        for path in self.stale:
            state = self.expected[path]
            verb = "link" if isinstance(state, Link) else "remove" if state is None else "write"
            if path.name != site.NOTE:
                steps.append(f"{verb} {path}")
        if not self.content:
            served = any(map(service.serves_any, self.probes))
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
        return bool(self.probes) and not any(map(service.wrong_responses, self.probes))

    # --- Doing it ---

    def carry_out(self) -> None:
        """Do it.

        Raises:
            HostError: That cannot be; everything is as it was.
        """
        with interruptible():
            try:
                self._carry_out(self.expected)
            except HostError:
                # A removal does not depend on whether the welcome page can come back.
                default = self.where.default
                if self.content or not isinstance(self.expected.get(default), Link):
                    raise
                self._carry_out(
                    {path: state for path, state in self.expected.items() if path != default}
                )

    def _carry_out(self, states: dict[Path, State]) -> None:
        done: list[str] = []
        try:
            # What the site's configuration names; nginx tries that alone before it lands.
            private = {path: state for path, state in states.items() if isinstance(state, Private)}
            self._write(private)
            if self.content and self.stale:
                self._try_alone()
            # nginx asks for passwords until it has read that it need not.
            late = [path for path, state in states.items() if self._is_password(path, state)]
            self._write(
                {path: state for path, state in states.items() if path not in private}, late
            )
            if self.service.active or self.content:
                self._have_nginx_serve(done)
            for path in late:
                write_state(path, None)
            gone = [
                path
                for path, state in states.items()
                if state is None and path != self.where.default
            ]
            belongings.give_up(self.name, gone, root=self.where.etc.parent)
            if self.content:
                # By looking at its former configuration, nginx made the former logs again.
                for log in belongings.former_logs(self.name, self.where.etc.parent):
                    if not log.stat().st_size:
                        log.unlink()
        except BaseException as error:
            outcome = self._put_back(states, done)
            if isinstance(error, (HostError, OSError)):
                raise HostError(f"{error}\n{outcome}") from None
            raise

    def _write(self, states: dict[Path, State], late: Collection[Path] = ()) -> None:
        self._write_down(states)
        for path, state in states.items():
            if path not in late and differ(self.before[path], state):
                write_state(path, state, self.group)

    def _is_password(self, path: Path, state: State) -> bool:
        """Tell whether this is a file of passwords that goes."""
        return state is None and isinstance(self.before[path], Shared)

    @property
    def group(self) -> int:
        """Return the group of nginx's processes, -1 without an nginx or another user than root."""
        top = self.configuration.top if self.configuration else ()
        users = [directive.args[-1] for directive in top if directive.name == "user"]
        try:
            return grp.getgrnam(users[0] if users else GROUP).gr_gid if os.geteuid() == 0 else -1
        except KeyError:  # in check mode, before the package is installed
            return -1

    def _write_down(self, states: dict[Path, State]) -> None:
        """Write down what files the site, or the one that has its note from now on, will have."""
        for path, state in states.items():
            if state is not None and path != self.where.default:
                owner = path.parent.name if path.name == site.NOTE else self.name
                belongings.take(owner, [path], root=self.where.etc.parent)

    def _have_nginx_serve(self, done: list[str]) -> None:
        """Have nginx serve what is on disk, and note in `done` each step that was begun."""
        if problem := self.service.try_all():
            raise HostError(
                "nginx does not accept the site together with the rest of its configuration:\n"
                f"{problem}"
            )
        if self.content and not self.service.enabled:
            done.append("enable")
            self.service.call("enable")
        if self.service.active:
            done.append("reload")
            self.service.reload(self.configuration)
            done.append("reloaded")
        else:
            done.append("start")
            self.service.call("start")
        if self.content:
            self._await_site()

    def _await_site(self) -> None:
        """Return when the site itself responds to each of its names, on each of its ports."""
        deadline = time.monotonic() + SERVED_SECONDS
        for probe in self.probes:
            while wrong := service.wrong_responses(probe):
                if time.monotonic() > deadline:
                    configuration = readable_configuration(self.run) or self.configuration
                    lines = [
                        service.explain(response, probe, configuration) for response in wrong[:3]
                    ]
                    raise HostError("\n".join(["nginx does not serve the site.", *lines]))
                time.sleep(AGAIN_SECONDS)

    def _put_back(self, states: dict[Path, State], done: list[str]) -> str:
        """Put files and nginx back as they were before, and return the sentence about that."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for path in reversed(list(states)):
            with contextlib.suppress(OSError):
                if differ(read_state(path), self.before[path]):
                    write_state(path, self.before[path], self.group)
        try:
            if "start" in done:
                self.service.call("stop")
            if "enable" in done:
                self.service.call("disable")
            if "reload" in done and not self.service.try_all():
                # Also when it seems to have gone on as before: it may only have been slow.
                self.service.reload(self.configuration, REVERT_SECONDS)
        except HostError as error:
            if "reloaded" in done:
                return (
                    f"Its files are as they were before, but nginx still runs the new ones: {error}"
                )
        return "Everything is as it was before, and nginx continues with that."

    def _try_alone(self) -> None:
        """Raise `HostError` when nginx does not accept the content by itself."""
        with tempfile.TemporaryDirectory() as directory:
            path, main = Path(directory, "site.conf"), Path(directory, "nginx.conf")
            path.write_text(self.content)
            main.write_text(ALONE.format(directory=directory, etc=self.where.nginx, site=path))
            code, output, error = self.run(["nginx", "-t", "-q", "-c", str(main)])
        if code:
            raise HostError(
                f"nginx does not accept the site's configuration:\n{complaint(error or output)}"
            )


def readable_configuration(run: Run) -> Configuration | None:
    """Return nginx's configuration, if there is an nginx and it accepts what there is."""
    if not program():
        return None
    try:
        return read_configuration(run)
    except ConfigurationError:  # nginx says what is wrong when all of it is tried
        return None


def find_place(
    configuration: Configuration | None, name: str, nginx: Path, *, needed: bool
) -> Place:
    """Return where a site's configuration is; raises `HostError` when it is needed and nowhere."""
    if found := site.find_place(configuration, name, nginx):
        return found
    if needed and configuration:
        raise HostError(site.no_place(configuration))
    return site.debian(name, nginx)
