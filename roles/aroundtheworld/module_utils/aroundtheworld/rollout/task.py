"""What the task `aroundtheworld_workers` does: observe, plan, act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.aroundtheworld.changelog import last_good
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.rollout import migration, signals
from ansible.module_utils.aroundtheworld.rollout.expected import read_expected
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.observed import Observed, observe
from ansible.module_utils.aroundtheworld.rollout.orphans import find_orphans, remove_orphans
from ansible.module_utils.aroundtheworld.rollout.phases import Phases
from ansible.module_utils.aroundtheworld.rollout.plan import make_plan
from ansible.module_utils.aroundtheworld.rollout.rollout import Change, Rollout
from ansible.module_utils.aroundtheworld.rollout.undo import Undo
from ansible.module_utils.aroundtheworld.rollout.units import unified_diff
from ansible.module_utils.aroundtheworld.rollout.verify import verify
from ansible.module_utils.aroundtheworld.systemd import HostError

OPTIONS: dict[str, dict[str, Any]] = {
    "site": {"type": "str", "required": True},
    "home": {"type": "path", "required": True},
    "release": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "units": {"type": "str", "required": True},
    "workers": {"type": "list", "elements": "dict", "required": True},
    "watch": {"type": "list", "elements": "path", "default": []},
    "key": {"type": "path", "required": True, "no_log": False},
    "health_timeout": {"type": "int", "default": 5},
    "canary_seconds": {"type": "int", "default": 0},
    "keep_releases": {"type": "int", "default": 5},
    "migrate": {"type": "bool", "default": False},
    "data": {"type": "dict", "default": {}},
    "undo": {"type": "str", "default": ""},
    "closing": {"type": "dict", "default": {}},
    "verb": {"type": "str", "default": "deploy"},
    "who": {"type": "str", "default": "somebody"},
    "lock": LOCK,
    "begin": {"type": "bool", "default": True},
    "remove_orphans": {"type": "bool", "default": False},
}


def carry_out(
    host: Host, options: Mapping[str, Any], report: Callable[[str], None], *, check_mode: bool
) -> dict[str, Any]:
    """Observe, plan and act; return the module's result.

    Args:
        host: The site on its host.
        options: The module's.
        report: What is called with the name of each phase that begins.
        check_mode: Whether nothing is to be changed.

    Raises:
        HostError: It failed, and was reverted.
    """
    phases = Phases(report)
    undo = Undo(host, options, phases)
    if check_mode or not options["begin"] or options["remove_orphans"]:
        return _roll_out(host, options, phases, undo, check_mode=check_mode)
    try:
        with signals.raised():
            undo.recover()
            return undo.around(
                lambda: _roll_out(host, options, phases, undo, check_mode=check_mode)
            )
    except signals.InterruptedRun as interruption:
        raise HostError(f"The run was stopped: {interruption}. Run again.") from None


def _roll_out(
    host: Host, options: Mapping[str, Any], phases: Phases, undo: Undo, *, check_mode: bool
) -> dict[str, Any]:
    """Observe, plan and act, on the databases as they are by now; return the module's result."""
    site = host.site
    expected = read_expected(site, options, make_key=not check_mode)
    observed = observe(host, expected)
    migrate = _migrates(site, observed, options)
    plan = make_plan(site, expected, observed, migrate=migrate, with_data=bool(undo.copy))
    orphans = find_orphans(site, expected, observed)
    if options["remove_orphans"]:
        steps, diff = [f"remove {name}" for name in sorted(orphans)], ""
    else:
        steps = [*undo.steps(), *plan.steps(site)]
        diff = "".join(
            unified_diff(path, observed.texts[path], text) for path, text in plan.write.items()
        )
    if plan.write and not options["remove_orphans"]:
        verify(host, expected, plan.write)
    if steps and not options["begin"]:
        return {"changed": False, "pending": True, "current": observed.release}
    if steps and not check_mode:
        if options["remove_orphans"]:
            remove_orphans(host, orphans)
        else:
            change = Change(
                verb=options["verb"],
                who=options["who"],
                proven=_is_proven(site, observed, options),
                canary_seconds=options["canary_seconds"],
                keep_releases=options["keep_releases"],
                data=options["data"],
            )
            Rollout(host, expected, observed, plan, change, phases, undo).run()
    return {
        "changed": bool(steps),
        "current": site.current_release(),
        "steps": steps,
        "replace": [
            {"worker": worker.instance, "pool": worker.pool, "why": why}
            for worker, why in plan.replace.items()
        ],
        "phases": phases.done,
        "orphans": sorted(orphans),
        "lost": undo.lost,
        "diff": {"prepared": "\n".join(filter(None, [diff, *steps]))} if steps else {},
    }


def _migrates(site: SiteLayout, observed: Observed, options: Mapping[str, Any]) -> bool:
    """Tell whether the database is to be migrated."""
    back = options["verb"] == "rollback"
    return options["migrate"] or migration.is_due(
        site.home, options["release"], observed.release, back=back
    )


def _is_proven(site: SiteLayout, observed: Observed, options: Mapping[str, Any]) -> bool:
    """Tell whether this is a rollback to a release that all workers ran, and that was not bad."""
    if options["verb"] != "rollback" or options["canary_seconds"]:
        return False
    return options["release"] in last_good(site.home, observed.release)
