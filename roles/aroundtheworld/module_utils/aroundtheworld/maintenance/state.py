"""What is known of a closed site: since when, until when, what and why."""

from __future__ import annotations

import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.files import read_mapping
from ansible.module_utils.aroundtheworld.layout import HomeLayout

STATE = "state.json"


def state_text(state: dict[str, Any]) -> str:
    """Return the state as it is in its file."""
    return json.dumps(state, indent=2, sort_keys=True) + "\n"


def read_state(home: Path) -> dict[str, Any]:
    """Return the state of a closed site, or nothing when it is open.

    It has ``since``, ``until`` (empty without an end), ``scope``, ``pools``, ``reason`` and
    ``who``. Of a site that was closed by hand, or by a former version of the role, only ``since``
    is known.
    """
    layout = HomeLayout(home)
    with contextlib.suppress(OSError):
        written = layout.maintenance.stat().st_mtime
        since = datetime.datetime.fromtimestamp(int(written), datetime.UTC).isoformat()
        unknown: dict[str, Any] = {"until": "", "scope": "", "pools": [], "reason": "", "who": ""}
        state = {"since": since, **unknown}
        if (layout.switch / "switch").is_symlink():
            found = read_mapping(layout.switch / STATE)
            state |= {key: value for key, value in found.items() if key in state}
        return state
    return {}
