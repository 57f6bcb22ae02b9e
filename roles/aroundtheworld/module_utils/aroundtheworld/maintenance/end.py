"""The timer that opens a site at the end of its maintenance, whether or not anybody is there."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.files import (
    link_atomically,
    read_exactly,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import Systemd

# Nothing of a release runs here, because it runs as root. A request that found the site closed
# still gets its page.
SERVICE = """{mark}
[Unit]
Description={site}: opens at the end of its maintenance
# After a boot, its home may come later.
RequiresMountsFor={layout.home}

[Service]
Type=oneshot
ExecStart=/usr/bin/rm -f {layout.maintenance}
ExecStart=/usr/bin/sleep 1
ExecStart=/usr/bin/rm -rf {layout.switch}
ProtectSystem=strict
ReadWritePaths={layout.home}
PrivateDevices=yes
PrivateNetwork=yes
NoNewPrivileges=yes
"""
# A host that was down at that time makes up for it at its next boot.
TIMER = """{mark}
[Unit]
Description={site}: the end of its maintenance

[Timer]
OnCalendar={until}
AccuracySec=1s
Persistent=yes

[Install]
WantedBy=timers.target
"""


class End:
    """Sets and cancels the end of a site's maintenance."""

    def __init__(self, layout: SiteLayout, systemd: Systemd) -> None:
        """Take where the site's files are, and how to call systemd."""
        self.layout, self.systemd = layout, systemd
        self.timer = layout.units / layout.end("timer")
        self.link = layout.units / "timers.target.wants" / self.timer.name

    @property
    def foreign(self) -> list[Path]:
        """Return unit files of these names that somebody else made, for tasks of their own."""
        return [
            path
            for path in self.layout.end_files
            if path.exists() and not belongings.is_marked(path, self.layout.name)
        ]

    def texts(self, until: str) -> dict[Path, str]:
        """Return the unit files for an end; without one there are none."""
        if not until:
            return {}
        values = {
            "mark": belongings.mark(self.layout.name),
            "site": self.layout.name,
            "layout": self.layout,
            # systemd takes UTC and no offset.
            "until": until.replace("T", " ").replace("+00:00", " UTC"),
        }
        texts = (SERVICE.format(**values), TIMER.format(**values))
        return dict(zip(self.layout.end_files, texts, strict=True))

    def differs(self, until: str) -> bool:
        """Tell whether the end is another one."""
        if not until and self.foreign:
            return False
        texts = self.texts(until)
        files = [read_exactly(path) != texts.get(path, "") for path in self.layout.end_files]
        return any(files) or self.link.is_symlink() != bool(until)

    def set(self, until: str) -> None:
        """Have the site open then, or not by itself."""
        if not self.differs(until):
            return
        names = [path.name for path in reversed(self.layout.end_files)]
        # First, and made again last: with it, the timer counts as one that was started.
        self.link.unlink(missing_ok=True)
        if any(path.exists() for path in self.layout.end_files):
            self.systemd.call("stop", "--", *names, check=False)
        files = [*self.layout.end_files, self.layout.end_stamp]
        if not until:
            for path in (self.link, *files):
                belongings.remove_file(path)
            self.systemd.call("daemon-reload")
            belongings.give_up(self.layout.name, files, root=self.layout.root)
            return
        belongings.take(self.layout.name, files, root=self.layout.root)
        for path, text in self.texts(until).items():
            write_atomically(path, text, 0o644)
        # When the timer last elapsed, for systemd: before the end. Otherwise a timer that starts
        # only after its end, on a host that is slow, would never elapse.
        moment = min(time.time(), datetime.datetime.fromisoformat(until).timestamp()) - 1
        self.layout.end_stamp.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.layout.end_stamp.touch()
        os.utime(self.layout.end_stamp, (moment, moment))
        self.systemd.call("daemon-reload")
        self.systemd.call("start", "--", self.timer.name)
        self.link.parent.mkdir(exist_ok=True)
        link_atomically(self.link, self.timer)
