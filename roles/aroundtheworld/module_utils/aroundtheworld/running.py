"""Which units of a site run, known by the files that the site wrote down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import DROP_IN, ROOT, SystemLayout
from ansible.module_utils.aroundtheworld.systemd import Systemd


class Running:
    """Finds which units of a site to stop, and no other's."""

    def __init__(
        self, systemd: Systemd, site: str, files: Sequence[Path], root: Path = ROOT
    ) -> None:
        """Take the files that the site has; `groups` asks systemd."""
        self.systemd, self.files, self.layout = systemd, files, SystemLayout(site, root)
        self.names = self._names()

    def groups(self) -> list[list[str]]:
        """Return the units that run, in groups that stop at once, in order.

        Sockets and timers are first, because a connection to one would start its service again;
        slices are last, those of the pools before the one around them.
        """
        kinds = ((".socket", ".timer"), ".service", ".slice")
        sockets, services, slices = (
            sorted(name for name in self.names if name.endswith(kind)) for kind in kinds
        )
        around = self.layout.site_slice
        return [
            self._running(sockets),
            [*self._running(services), *self._transient()],
            [name for name in self._running(slices) if not self._is_others(name)],
            [name for name in self._running([around]) if self.files and not self._is_others(name)],
        ]

    def _names(self) -> set[str]:
        """Return the names of all units that the site may have in memory."""
        layout = self.layout
        names = {path.name for path in self.files if path.parent == layout.units}
        for path in self.files:
            if path.name == DROP_IN:
                name = path.parent.name.removesuffix(".d")
                names.add(name)
                # Of each worker there is a socket and maybe a stand-in.
                prefix, _, port = name.removesuffix(".service").partition("@")
                if prefix == layout.name:
                    names |= {layout.socket(port), layout.stand_in(port)}
        return {name for name in names if "@." not in name}

    def _running(self, names: Sequence[str]) -> list[str]:
        """Return those units, or units of these patterns, that are not simply inactive."""
        if not names:
            return []
        out = self.systemd.call("list-units", "--all", "--plain", "--no-legend", *names)
        units = (line.split() for line in out.splitlines() if line.strip())
        return [name for name, _, active, *_ in units if active != "inactive"]

    def _transient(self) -> Iterator[str]:
        """Yield the services without a unit file that run the app's commands.

        They are the site's when they have its environment file.
        """
        environment = self.layout.environment_file
        for name in self._running(
            [f"{self.layout.name}-run-*.service", "migration-check-*.service"]
        ):
            about = self.systemd.call(
                "show", "--property=EnvironmentFiles", "--", name, check=False
            )
            if f"EnvironmentFiles={environment} " in about:
                yield name

    def _is_others(self, name: str) -> bool:
        """Tell whether a slice is not the site's, or holds units that are not.

        The slice around the pools has no file, unless an operator wrote one for how the site as a
        whole yields to the rest of the host.
        """
        about = self.systemd.call("show", "--property=FragmentPath,RequiredBy", "--", name)
        values = dict(line.partition("=")[::2] for line in about.splitlines())
        file = values.get("FragmentPath", "")
        inside = set(values.get("RequiredBy", "").split()) - self.names
        return bool(file and Path(file) not in self.files) or bool(self._running(sorted(inside)))
