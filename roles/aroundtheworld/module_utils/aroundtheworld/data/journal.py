"""How far a restore came, for the next run, and for whoever would change the site meanwhile.

The file has ``phase``, ``backup`` (which one, in words), ``id``, ``time``, ``had`` (the places in
which there was something), ``secrets`` (names of those that changed) and ``databases``.
"""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.aroundtheworld.files import read_mapping, write_atomically
from ansible.module_utils.aroundtheworld.layout import HomeLayout

STOPPING, EXCHANGING, DONE = "stopping", "exchanging", "done"


def read_journal(layout: HomeLayout) -> dict[str, Any]:
    """Return what is known of the last restore, or nothing."""
    return dict(read_mapping(layout.restore_journal))


def write_journal(layout: HomeLayout, journal: dict[str, Any]) -> None:
    """Write down how far a restore came."""
    write_atomically(layout.restore_journal, json.dumps(journal) + "\n", 0o600)


def restore_cut_off(layout: HomeLayout) -> str:
    """Return why nothing but a restore may change the site now, or an empty text."""
    journal = read_journal(layout)
    if journal.get("phase") not in (STOPPING, EXCHANGING):
        return ""
    return (
        f"A restore of the backup {journal.get('backup')} was cut off, and the site stands still. "
        "--tags restore takes that back, and restores again."
    )
