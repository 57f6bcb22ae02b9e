"""A person's hold: no run begins on a site until it ends, and it has a reason.

It is a file in the site's settings, so it outlives a reboot. Its keys are ``who``, ``since`` and
``reason``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.files import read_mapping, write_atomically
from ansible.module_utils.aroundtheworld.layout import ROOT, SystemLayout
from ansible.module_utils.aroundtheworld.systemd import HostError

Hold = Mapping[str, Any]


def read_hold(site: str) -> dict[str, Any]:
    """Return the hold of a site, or nothing when nobody holds it."""
    hold: dict[str, Any] = read_mapping(SystemLayout(site, ROOT).hold)
    return hold if hold.keys() >= {"who", "since", "reason"} else {}


def hold_state(hold: Hold) -> str:
    """Return who holds the site since when, and why."""
    return f"{hold['who']} has locked this site since {hold['since']}: {hold['reason']}."


def hold_refusal(hold: Hold) -> str:
    """Return why nobody may change the site."""
    return f"{hold_state(hold)} Nothing was changed; --tags unlock ends that lock."


def hold_site(site: str, who: str, reason: str) -> bool:
    """Have a person hold the site, and tell whether that is new.

    A run that owns the site goes on to its end; the next one is refused.

    Raises:
        HostError: Another person holds it already, or there is no such site.
    """
    hold = read_hold(site)
    if hold and hold["who"] != who:
        raise HostError(f"{hold_state(hold)} Nothing was changed.")
    if hold and hold["reason"] == reason:
        return False
    path = SystemLayout(site, ROOT).hold
    if not path.parent.is_dir():
        raise HostError(f"There is no site {site!r} on this host to lock: {path.parent} is missing")
    text = json.dumps({"who": who, "since": now(), "reason": reason}) + "\n"
    write_atomically(path, text, 0o600)
    return True


def end_hold(site: str) -> dict[str, Any]:
    """End the hold of a site, and return it; nothing when nobody holds the site."""
    hold = read_hold(site)
    if hold:
        SystemLayout(site, ROOT).hold.unlink()
    return hold
