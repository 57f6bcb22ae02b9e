"""Check everything that the role was given, then derive from it what the other tasks need.

Runs on the controller and changes nothing, but from here on this run owns the site. First the
variables are held against ``meta/argument_specs.yml`` and the rules that a type cannot express,
then the app directory and its lock file are read, and only then is the host asked: for the site,
which must be nobody else's, and about itself. All problems of one kind are reported together, each
with the variable's name, what was given and what is allowed.

Variables are read where they are, so that a misspelt one is seen too; of the app's source, the
argument
``app_dir`` says what directory it is in by now. With the argument ``release`` the plan is to go
back: to that release on the host, or to the one before for ``previous``; the app then does not
matter. With the argument ``remove`` the plan is that the site goes: of the host, only what speaks
against that matters.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.cache import cache_directory
from aroundtheworld_controller.content import describe_release
from aroundtheworld_controller.fleet import Fleet
from aroundtheworld_controller.hosts import host_problems, release_to_go_back_to
from aroundtheworld_controller.lockfile import environment_for
from aroundtheworld_controller.ownership import become_problem, with_site
from aroundtheworld_controller.pool_rules import limit_problems
from aroundtheworld_controller.pools import (
    derive_claim,
    derive_commands,
    derive_pools,
    derive_static,
    restart_order,
)
from aroundtheworld_controller.room import Need, needs, room_problems
from aroundtheworld_controller.rules import check_variables, hook_problems
from aroundtheworld_controller.run import owner
from aroundtheworld_controller.variables import PREFIX, BadInputError, converted, load_spec, plain
from aroundtheworld_controller.wheels import fetch_wheels

# What the other tasks need to know about the host.
HOST_FACTS = ("python", "packages_missing", "python3_apt", "ipv6", "nginx")


class ActionModule(ActionBase):
    """The task ``aroundtheworld_plan``; its result holds pools, release, environment and host."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the plan, and have the other hosts of this run know what became of it."""
        task_vars = task_vars or {}
        alone = len(task_vars.get("ansible_play_hosts_all", ())) < 2
        if alone or self._task.check_mode or self._task.args.get("remove"):
            return self._plan(tmp, task_vars)
        name = task_vars["inventory_hostname"]
        fleet = Fleet(str(self._value("aroundtheworld_site", task_vars)))
        try:
            result = self._plan(tmp, task_vars)
        except AnsibleActionFail as failure:
            fleet.note(name, "failed", why=str(failure))
            raise
        if result.get("failed"):
            fleet.note(name, "failed", why=str(result.get("msg", "")))
        elif not result.get("unreachable"):
            fleet.note(name, "planned", current=result["current"])
        return result

    def _plan(self, tmp: str | None, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan, or fail with everything that has to be mended first."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        spec = load_spec()
        given = {
            name: converted(self._value(name, task_vars), spec.get(name, {"type": "any"}))
            for name in task_vars
            if name.startswith(PREFIX)
        }
        back_to, removing = (self._task.args.get(key, "") for key in ("release", "remove"))
        app = {"aroundtheworld_app_dir": self._task.args.get("app_dir", "")}
        try:
            check_variables(given)
            hooks = given["aroundtheworld_hooks"]
            if not removing and (
                problems := list(hook_problems(hooks, self._loader.load_from_file))
            ):
                raise BadInputError(*problems)
            release = {} if back_to or removing else describe_release({**given, **app})
        except BadInputError as bad:
            raise AnsibleActionFail(self._refusal(bad.problems)) from None
        pools = derive_pools(
            given,
            self._value("__aroundtheworld_pool_defaults", task_vars),
            self._value("__aroundtheworld_blocking_pool_defaults", task_vars),
            self._value("__aroundtheworld_websocket_pool_defaults", task_vars),
        )
        claim = derive_claim(given, pools)
        name = task_vars["inventory_hostname"]
        doing = "removal" if removing else "rollback" if back_to else "deploy"
        lock = owner(given["aroundtheworld_site"], name, doing)
        arguments = {
            "site": given["aroundtheworld_site"],
            "home": given["aroundtheworld_home"],
            "address": given["aroundtheworld_listen_address"],
            "worker_ports": [port for pool in pools for port in pool["ports"]],
            "http_port": given["aroundtheworld_http_port"],
            "claim": claim,
            "metrics": {
                "address": given["aroundtheworld_metrics_address"],
                "port": given["aroundtheworld_metrics_port"],
            },
            "remove_default": given["aroundtheworld_remove_default_site"],
            "packages": self._value("__aroundtheworld_packages", task_vars),
            "temporary": self._connection._shell.get_option("remote_tmp"),
            "lock": lock,
        }

        def ask(instead_of: str) -> dict[str, Any]:
            try:
                said: dict[str, Any] = self._execute_module(
                    module_name="aroundtheworld_host",
                    module_args={**arguments, "instead_of": instead_of},
                    task_vars=task_vars,
                )
            except AnsibleError as error:
                # Ansible's own words of sudo's password do not say what to do.
                failed = {"failed": True, "msg": str(error)}
                if become_problem(failed, name):
                    return failed
                raise
            return said

        distributions = self._value("__aroundtheworld_distributions", task_vars)
        who = lock["who"]
        try:
            host = with_site(ask, name, given["aroundtheworld_lock_wait"])
        except BadInputError as bad:
            raise AnsibleActionFail(self._refusal(bad.problems)) from None
        try:
            if host.get("failed") or host.get("unreachable"):
                self._release(lock, task_vars)
                return host
            if removing:
                return {**result, "changed": False, "who": who, "lock": lock}
            if back_to:  # which leaves nginx alone, so nothing there may be in its way
                host["nginx"]["problems"] = []
            problems = list(host_problems(host, name, distributions))
            if problems := [*problems, *limit_problems(pools, host, name)]:
                raise BadInputError(*problems)
            if back_to:
                release = {"id": release_to_go_back_to(back_to, host, name)}
                environment = {"id": host["releases"][release["id"]]}
            else:
                environment = environment_for(release.pop("requirements"), host["python"])
                static = given["aroundtheworld_static"]
                taken = self._room_taken(release, environment, static, claim, host)
                if problems := list(room_problems(taken, host["room"], name)):
                    raise BadInputError(*problems)
        except BadInputError as bad:
            self._release(lock, task_vars)
            raise AnsibleActionFail(self._refusal(bad.problems)) from None
        result.update(
            changed=False,
            pools=pools,
            commands=derive_commands(given),
            workers=restart_order(pools),
            static=derive_static(given, pools),
            release=release,
            environment=environment,
            claim=claim,
            host={key: host[key] for key in HOST_FACTS},
            current=host["current"],
            who=who,
            lock=lock,
        )
        if host["nginx"]["warnings"] and not back_to:
            result["warnings"] = [f"{name}: {line}" for line in host["nginx"]["warnings"]]
        return result

    @staticmethod
    def _room_taken(
        release: Mapping[str, Any],
        environment: Mapping[str, str],
        static: Sequence[Mapping[str, str]],
        claim: Mapping[str, Any],
        host: Mapping[str, Any],
    ) -> dict[str, dict[str, Need]]:
        """Return what the deployment takes on the host; the wheels are fetched to know that."""
        new = environment["id"] not in host["environments"]
        wheels = fetch_wheels(environment, host["python"], cache_directory()) if new else None
        units = 8 + len(claim["pools"]) + 4 * len(claim["sockets"])
        return needs(
            trees={} if release["id"] in host["releases"] else release["trees"],
            static=static,
            wheels=wheels,
            settings=0 if host["current"] else units,
            packages=bool(host["packages_missing"]),
        )

    def _release(self, lock: Mapping[str, Any], task_vars: dict[str, Any]) -> None:
        """Let the site go again, because nothing comes of the plan."""
        if not self._task.check_mode:
            arguments = {"site": lock["site"], "state": "released", "lock": lock}
            self._execute_module(
                module_name="aroundtheworld_lock", module_args=arguments, task_vars=task_vars
            )

    def _value(self, name: str, task_vars: Mapping[str, Any]) -> Any:  # noqa: ANN401
        return plain(self._templar.template(task_vars[name]))

    @staticmethod
    def _refusal(problems: Sequence[str]) -> str:
        return "Nothing was changed, because of this:\n" + "\n".join(
            f"  - {one}" for one in problems
        )
