"""Close a site and open it: the switch, the timer that ends it, and what is open to the pools."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data.journal import restore_cut_off
from ansible.module_utils.aroundtheworld.files import read_exactly
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance.end import End
from ansible.module_utils.aroundtheworld.maintenance.state import read_state
from ansible.module_utils.aroundtheworld.maintenance.streams import end_streams
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing, Switch
from ansible.module_utils.aroundtheworld.systemd import Systemd

Parameters = Mapping[str, Any]
Result = dict[str, Any]


class RefusedError(Exception):
    """The site cannot be closed like this; the message is for a person."""


def close_site(
    layout: SiteLayout, systemd: Systemd, parameters: Parameters, *, check_mode: bool
) -> Result:
    """Close the site; returns the module's result.

    Raises:
        RefusedError: Nothing was changed, because the host does not fit.
        HostError: systemd fails.
    """
    nginx = _configuration(layout)
    names = [pool["name"] for pool in parameters["pools"]]
    if parameters["scope"] == "all":  # also one that is in no inventory any more
        names += [name for name in closable(nginx) if name not in names]
    texts = ("scope", "reason", "until", "retry_after", "page", "json", "who")
    closing = Closing(pools=names, **{name: parameters[name] for name in texts})
    notes = list(_notes(layout, nginx, closing, parameters["allow"]))
    switch, end = Switch(layout.home), End(layout, systemd)
    if closing.until and end.foreign:
        raise RefusedError(
            f"aroundtheworld_maintenance_until: this host has {end.foreign[0]}, which the role did "
            "not make and would overwrite. Give that unit another name, or close without an end."
        )
    before = read_state(layout.home)
    changed = switch.differs(closing) or end.differs(closing.until)
    after = switch.expected_state(closing)
    if changed and not check_mode:
        # First the end: a site that is closed and does not open is worse than the reverse.
        end.set(closing.until)
        switch.close(closing)
        if set(names) - set(before.get("pools", [])):
            notes += end_streams(layout, parameters["pools"])
        switch.note(after)
    return {
        "changed": changed,
        "notes": notes,
        "token": switch.token(),
        "https": _has_https(layout, parameters["name"]),
        "diff": {"before": _text(before), "after": _text(after) if changed else _text(before)},
    }


def _has_https(layout: SiteLayout, name: str) -> bool:
    """Tell whether nginx has a certificate for a name; one of a CA may still be to come."""
    lineage = Lineage(layout.name, layout.root)
    found = lineage.describe([name])
    return bool(found["certificate"]) and not (lineage.is_own and found["waiting"])


def open_site(
    layout: SiteLayout, systemd: Systemd, parameters: Parameters, *, check_mode: bool
) -> Result:
    """Open the site; returns the module's result, raises `HostError`."""
    del parameters
    switch, end = Switch(layout.home), End(layout, systemd)
    before = read_state(layout.home)
    changed = bool(before) or switch.directory.exists() or end.differs("")
    if changed and not check_mode:
        switch.open()
        end.set("")
        if not restore_cut_off(layout):  # of a restore whose workers an operator has started
            layout.standstill.unlink(missing_ok=True)
    return {"changed": changed, "notes": [], "diff": {"before": _text(before), "after": "open\n"}}


def _text(state: Parameters) -> str:
    """Return a state as a diff shows it."""
    lines = [f"{name}: {value}\n" for name, value in sorted(state.items()) if name != "since"]
    return "".join(["closed\n", *lines]) if state else "open\n"


def _configuration(layout: SiteLayout) -> str:
    """Return what the site has in nginx, and other files of its own."""
    files = belongings.files(layout.name, layout.root) or set(layout.nginx_files)
    return "".join(read_exactly(path) for path in files if path.suffix == ".conf")


def closable(nginx: str) -> list[str]:
    """Return the pools that can be closed on the host, each once."""
    return sorted(set(re.findall(r"\(-f \S+_closed/([a-z0-9_]+)\)", nginx)))


def _notes(layout: SiteLayout, nginx: str, closing: Closing, allow: list[str]) -> Iterator[str]:
    """Yield what does not take effect before a deployment; raises `RefusedError`."""
    if closing.until and closing.until <= now():
        here = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        raise RefusedError(
            f"aroundtheworld_maintenance_until: {closing.until} is in the past on this host, where "
            f"it is {here}."
        )
    if not layout.home.is_dir():
        raise RefusedError(f"there is no site in {layout.home}; deploy it first.")
    if f"{layout.switch}/keys/" not in nginx:
        if closing.scope != "public":
            raise RefusedError(
                f"aroundtheworld_maintenance: {closing.scope!r} takes effect only after a "
                "deployment with this version of the role. Deploy first, or close 'public'."
            )
        yield (
            "The former version of the role deployed this site, so nginx does not know the secret "
            "link, the JSON answer and the time of the end yet. The next deployment changes that."
        )
        return
    # Of several pools, a new one is closed as soon as the next deployment brings it.
    scope = closing.scope
    if scope not in ("public", "all") and scope not in closable(nginx):
        raise RefusedError(f"the pool {scope!r} is not on this host yet; deploy it first.")
    unknown = [network for network in allow if f"\n    {network} yes;\n" not in nginx]
    if unknown:
        yield (
            f"aroundtheworld_maintenance_allow: {', '.join(unknown)} may come in only after the "
            "next deployment. The secret link works now."
        )
