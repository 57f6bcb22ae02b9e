"""What a backup of a site has to know, as its program reads it on the host."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.files import read_mapping
from ansible.module_utils.aroundtheworld.layout import ROOT, SiteLayout, SystemLayout
from ansible.module_utils.aroundtheworld.systemd import HostError


@dataclass(frozen=True)
class Settings:
    """The settings of a site's backups.

    Attributes:
        site: The site's name.
        home: Its home.
        user: Whom its workers run as.
        repository: Where the backups are, as restic takes it.
        at: When there is one, as systemd's calendar takes it, or an empty text.
        keep: How many to keep, by ``last``, ``daily``, ``weekly`` and ``monthly``.
        drill_at: When a backup is tried, in the same way.
        databases: Each with ``name``, ``kind`` and ``place``.
        process: How a process of the site is run, as `Process` has it.
    """

    site: str
    home: str
    user: str
    repository: str
    at: str
    keep: Mapping[str, int]
    databases: Sequence[Mapping[str, str]]
    process: Sequence[str]
    drill_at: str = ""

    @property
    def layout(self) -> SiteLayout:
        """Return where everything of the site is."""
        return SiteLayout(Path(self.home), self.site)

    def text(self) -> str:
        """Return the settings as they are in their file."""
        return json.dumps(vars(self), indent=2, sort_keys=True) + "\n"


def settings_path(layout: SystemLayout) -> Path:
    """Return the file with the settings."""
    return Path(layout.backup_settings, "settings.json")


def password_path(layout: SystemLayout) -> Path:
    """Return the file with the password of the repository."""
    return Path(layout.backup_settings, "password")


def variables_path(layout: SystemLayout) -> Path:
    """Return the file with the credentials of a server that has the repository."""
    return Path(layout.backup_settings, "environment.json")


def read_variables(layout: SystemLayout) -> dict[str, str]:
    """Return the credentials as variables of restic's environment; none when it needs none."""
    return {str(name): str(value) for name, value in read_mapping(variables_path(layout)).items()}


def restic_for(settings: Settings) -> Restic:
    """Return the repository of a site's backups, as its program on the host asks it.

    The site serves meanwhile, so half of the processors are left to it: what works at the lowest
    priority still slows down whatever begins where it runs.
    """
    layout = settings.layout
    cache = layout.backup / "cache"
    processors = max(1, len(os.sched_getaffinity(0)) // 2)
    variables = {"GOMAXPROCS": str(processors), **read_variables(layout)}
    return Restic(settings.repository, password_path(layout), cache, variables=variables)


def read_settings(site: str, root: Path = ROOT) -> Settings:
    """Return the settings of a site's backups; raises `HostError` when there are none."""
    try:
        found: dict[str, Any] = json.loads(settings_path(SystemLayout(site, root)).read_text())
        return Settings(**found)
    except (OSError, TypeError, ValueError) as error:
        raise HostError(
            f"There are no settings for backups of this site ({error}). Run the playbook with "
            "--tags backup, which writes them."
        ) from None
