"""Check all variables, then derive from them what the other tasks need.

Runs on the controller and changes nothing, but from here on this run owns the site. First the
variables are checked against ``meta/argument_specs.yml`` and the rules that a type cannot express,
then the app directory and its lockfile are read, and only then the host module takes the site,
which must be nobody else's, and observes the host. All problems of one kind are reported together,
each with the variable's name, its value and what is allowed.

Variables are read where they are, so that a misspelt one is seen too; of the app's source, the
argument ``app_dir`` names the directory, and ``app_revision`` the commit. There are five programs:
with the argument ``release`` a rollback, to that release on the host, or to the one before for
``previous``, and the app does not matter; with the argument ``remove`` a removal, which only a run
or person that has the site can prevent; with ``backup`` a backup; with ``restore`` one is read; and
otherwise a deployment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars, is_alone, is_first
from aroundtheworld_controller.app.left_out import sentence
from aroundtheworld_controller.app.project import is_own
from aroundtheworld_controller.app.project_wheel import with_project
from aroundtheworld_controller.app.release import describe_release
from aroundtheworld_controller.cache import cache_directory
from aroundtheworld_controller.data.databases import DATABASES
from aroundtheworld_controller.data.restores import TO
from aroundtheworld_controller.data.undo import WITH_DATA, about_copy, copy_to_go_back_to
from aroundtheworld_controller.hosts import (
    REMOVE_DATA,
    data_problems,
    host_problems,
    release_to_go_back_to,
    unfinished_problems,
)
from aroundtheworld_controller.nginx.acme import lineage_problems
from aroundtheworld_controller.nginx.headers import decided_headers
from aroundtheworld_controller.nginx.passwords import password_warnings
from aroundtheworld_controller.nginx.proxies import decided_proxies
from aroundtheworld_controller.nginx.tls import (
    Certificate,
    brought_certificate,
    given_problems,
    host_certificate_problems,
    host_files,
    hsts_problems,
    http2_warnings,
)
from aroundtheworld_controller.packages.build_tools import BuildFailure
from aroundtheworld_controller.packages.lockfile import environment_for
from aroundtheworld_controller.packages.own_packages import BUILD, build_problems, with_own
from aroundtheworld_controller.packages.own_wheels import WHEELS, chosen, host_tags, own_wheels
from aroundtheworld_controller.packages.python_versions import python_problems
from aroundtheworld_controller.packages.wheels import fetch_wheels, platforms
from aroundtheworld_controller.plan import Site, describe_site, make_plan, room_needed
from aroundtheworld_controller.pool_rules import limit_problems
from aroundtheworld_controller.room import room_problems
from aroundtheworld_controller.rules import hook_problems
from aroundtheworld_controller.runs.fleet import Fleet
from aroundtheworld_controller.runs.ownership import become_problem, with_site
from aroundtheworld_controller.runs.run import owner
from aroundtheworld_controller.variables import PREFIX, BadInputError, refuse

display = Display()


class ActionModule(RoleAction):
    """The task ``aroundtheworld_plan``; its result holds pools, release, environment and host."""

    _requires_connection = True

    def act(self, task_vars: TaskVars) -> Result:
        """Return the plan of the program that the arguments name."""
        if self._task.args.get("remove"):
            return self._removal(task_vars)
        if self._task.args.get("backup"):
            return self._backup(task_vars)
        if self._task.args.get("restore"):
            return self._restore(task_vars)
        program = self._rollback if self._task.args.get("release") else self._deployment
        if is_alone(task_vars) or self._task.check_mode:
            return program(task_vars)
        return self._announced(program, task_vars)

    def _removal(self, task_vars: TaskVars) -> Result:
        site, name = self._site(task_vars), task_vars["inventory_hostname"]

        def plan(host: Result) -> Result:
            if not site.variables[REMOVE_DATA]:
                refuse(data_problems(host, name))
            return {"changed": False}

        return self._with_host(site, "removal", task_vars, plan)

    def _backup(self, task_vars: TaskVars) -> Result:
        site, name = self._site(task_vars), task_vars["inventory_hostname"]
        site = replace(site, claim={**site.claim, "backup": True})

        def plan(host: Result) -> Result:
            # A backup leaves nginx alone.
            self._check_host(site, {**host, "nginx": {**host["nginx"], "problems": []}}, task_vars)
            release = host["current"]
            if not release:
                raise BadInputError(
                    f"{name}: there is nothing to back up; no release of {site.name} is deployed "
                    f"in {site.variables['aroundtheworld_home']}."
                )
            return make_plan(site, {"id": release}, {"id": host["releases"][release]}, host)

        return self._with_host(site, "backup", task_vars, plan)

    def _restore(self, task_vars: TaskVars) -> Result:
        site = self._site(task_vars)
        if site.variables[TO]:
            # The host may be one that never had the site, and nothing of it is changed.
            facts = ("packages_missing", "python3_apt")

            def plan(host: Result) -> Result:
                return {"changed": False, "host": {fact: host[fact] for fact in facts}}

            return self._with_host(site, "restore", task_vars, plan)
        self._check_hooks(site)
        self._check_page(task_vars)
        certificate = self._certificate(site, task_vars)

        def plan_in_place(host: Result) -> Result:
            # A restore takes back one that was cut off, and leaves the nginx of a site alone.
            known: Result = {**host, "restore_cut_off": ""}
            if release := host["current"]:
                known["nginx"] = {**host["nginx"], "problems": []}
            self._check_host(site, known, task_vars)
            environment = host["releases"].get(release, "")
            text = certificate.text if certificate else ""
            result = make_plan(site, {"id": release}, {"id": environment}, host, text)
            if certificate:
                result["tls"]["source"] = certificate.source
            return result

        return self._with_host(site, "restore", task_vars, plan_in_place)

    def _rollback(self, task_vars: TaskVars) -> Result:
        site = self._site(task_vars)
        self._check_hooks(site)
        name = task_vars["inventory_hostname"]

        def plan(host: Result) -> Result:
            # A rollback leaves nginx alone.
            self._check_host(site, {**host, "nginx": {**host["nginx"], "problems": []}}, task_vars)
            wanted = self._task.args["release"]
            with_data = site.variables[WITH_DATA]
            if with_data and host["undoing"] and wanted == "previous":
                wanted = host["undoing"]  # the run that was cut off had chosen it
            release = release_to_go_back_to(wanted, host, name)
            result = make_plan(site, {"id": release}, {"id": host["releases"][release]}, host)
            return {**result, "undo": self._undo(release, host, site, task_vars)}

        return self._with_host(site, "rollback", task_vars, plan)

    def _undo(self, release: str, host: Mapping[str, Any], site: Site, task_vars: TaskVars) -> str:
        """Return the copy of the databases to go back to, if this run does; tell what is lost."""
        if not site.variables[WITH_DATA]:
            return ""
        databases, name = site.variables[DATABASES], task_vars["inventory_hostname"]
        if not is_alone(task_vars) and any(each["kind"] == "postgresql" for each in databases):
            raise BadInputError(
                f"{WITH_DATA}: true is not allowed for several hosts at once when a database is on "
                "a server, which all of them use. Stop the site on the others, and name one by "
                f"--limit {name}."
            )
        copy = copy_to_go_back_to(release, host, name)
        display.display(about_copy(copy, [each["name"] for each in databases], name))
        return str(copy["name"])

    def _deployment(self, task_vars: TaskVars) -> Result:
        site = self._site(task_vars)
        if site.variables[WITH_DATA]:
            raise BadInputError(
                f"{WITH_DATA}: true is not allowed in a deployment; it is for --tags rollback."
            )
        self._check_hooks(site)
        self._check_page(task_vars)
        app = {"aroundtheworld_app_dir": self._task.args.get("app_dir", "")}
        release, lockfile = describe_release(
            {**site.variables, **app}, self._task.args.get("app_revision")
        )
        requirements, name = lockfile.requirements, task_vars["inventory_hostname"]
        own = own_wheels(site.variables[WHEELS], requirements)
        refuse(build_problems(site.variables[BUILD], requirements, own, release["project"]))
        names = [name for name in site.variables[BUILD] if not is_own(name, release["project"])]
        certificate = self._certificate(site, task_vars)

        def plan(host: Result) -> Result:
            refuse(unfinished_problems(host, name))
            self._check_host(site, host, task_vars)
            refuse(host_certificate_problems(site.variables, host))
            python = host["python"]
            refuse(
                [
                    *python_problems(lockfile.pythons, python, name),
                    *lockfile.problems_for(python["markers"]),
                ]
            )
            tags = host_tags(python, platforms(python)) if own else []
            environment = with_own(
                environment_for(requirements, python), names, [*chosen(own, tags)]
            )
            wheels = None
            if environment["id"] not in host["environments"]:
                wheels = fetch_wheels(environment, python, cache_directory(), lockfile)
            new, brought = release["id"] not in host["releases"], release
            if release["lib"] == "wheel" and new:
                brought = self._with_project(release)
            refuse(room_problems(room_needed(site, brought, wheels, host), host["room"], name))
            if release["left_out"] and new and is_first(task_vars):
                display.display(sentence(release["id"], release["left_out"]))
            text = certificate.text if certificate else ""
            result = make_plan(site, brought, environment, host, text)
            refuse(hsts_problems(site.variables, result["tls"], host))
            if certificate:
                result["tls"]["source"] = certificate.source
            warnings = [*host["nginx"]["warnings"], *http2_warnings(result["tls"], host)]
            if warnings := [*warnings, *password_warnings(site.variables)]:
                result["warnings"] = [f"{name}: {line}" for line in warnings]
            return result

        return self._with_host(site, "deploy", task_vars, plan)

    def _with_project(self, release: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return with_project(release, cache_directory())
        except BuildFailure as failure:
            raise AnsibleActionFail(
                f"{BUILD}: {release['project']}, the app's own project, cannot be built on the "
                f"controller: {failure}"
            ) from None

    def _site(self, task_vars: TaskVars) -> Site:
        names = (name for name in task_vars if name.startswith(PREFIX))
        return describe_site({name: self.value(name, task_vars) for name in names})

    def _certificate(self, site: Site, task_vars: TaskVars) -> Certificate | None:
        """Return the certificate that this run brings to the host, if it does."""
        name = task_vars["inventory_hostname"]
        address = str(self._templar.template(task_vars.get("ansible_host", name)))
        refuse(given_problems(site.variables))
        return brought_certificate(site.variables, address, cache_directory() / "ca")

    def _check_hooks(self, site: Site) -> None:
        hooks = site.variables["aroundtheworld_hooks"]
        refuse(hook_problems(hooks, self._loader.load_from_file))

    def _check_page(self, task_vars: TaskVars) -> None:
        try:
            self.value("__aroundtheworld_error_page", task_vars)
        except AnsibleError as error:
            path = self.value("aroundtheworld_error_page", task_vars)
            problem = f"aroundtheworld_error_page: {path!r} cannot be rendered: {error}"
            raise BadInputError(problem) from None

    def _check_host(self, site: Site, host: Mapping[str, Any], task_vars: TaskVars) -> None:
        name = task_vars["inventory_hostname"]
        distributions = self.value("__aroundtheworld_distributions", task_vars)
        problems = list(host_problems(host, name, distributions))
        problems += lineage_problems(site.variables, host, name)
        refuse([*problems, *limit_problems(site.pools, host, name)])

    def _with_host(
        self, site: Site, verb: str, task_vars: TaskVars, plan: Callable[[Result], Result]
    ) -> Result:
        """Take the site on its host, and return what `plan` makes of what was observed there.

        When nothing comes of the plan, the site is released.
        """
        name, variables = task_vars["inventory_hostname"], site.variables
        lock = owner(site.name, name, verb)
        arguments = {
            "site": site.name,
            "home": variables["aroundtheworld_home"],
            "address": variables["aroundtheworld_listen_address"],
            "worker_ports": [port for pool in site.pools for port in pool["ports"]],
            "claim": site.claim,
            "metrics": {
                "address": variables["aroundtheworld_metrics_address"],
                "port": variables["aroundtheworld_metrics_port"],
            },
            "tls": host_files(variables),
            "remove_default": variables["aroundtheworld_remove_default_site"],
            "decided": [*decided_headers(variables), *decided_proxies(variables)],
            "packages": self.value("__aroundtheworld_packages", task_vars),
            # Whoever goes back or removes the site does not install anything.
            "app_packages": variables["aroundtheworld_packages"]
            if verb == "deploy" or (verb == "restore" and not variables[TO])
            else [],
            "temporary": self._connection._shell.get_option("remote_tmp"),
            "lock": lock,
        }

        def observe(instead_of: str) -> Result:
            try:
                return self.module("host", {**arguments, "instead_of": instead_of}, task_vars)
            except AnsibleError as error:
                # Ansible's own message about sudo's password does not say what to do.
                failed = {"failed": True, "msg": str(error)}
                if become_problem(failed, name):
                    return failed
                raise

        host = with_site(observe, name, variables["aroundtheworld_lock_wait"])
        if host.get("failed") or host.get("unreachable"):
            self._release(lock, task_vars)
            return host
        try:
            result = plan(host)
        except (BadInputError, AnsibleActionFail):
            self._release(lock, task_vars)
            raise
        return {**result, "who": lock["who"], "lock": lock}

    def _release(self, lock: Mapping[str, Any], task_vars: TaskVars) -> None:
        if not self._task.check_mode:
            arguments = {"site": lock["site"], "state": "released", "lock": lock}
            self.module("lock", arguments, task_vars)

    def _announced(self, program: Callable[[TaskVars], Result], task_vars: TaskVars) -> Result:
        """Return the plan, and tell the other hosts of this run what became of it."""
        name = task_vars["inventory_hostname"]
        fleet = Fleet(str(self.value("aroundtheworld_site", task_vars)))
        try:
            result = program(task_vars)
        except (BadInputError, AnsibleActionFail) as failure:
            fleet.note(name, "failed", why=str(failure))
            raise
        if result.get("failed"):
            fleet.note(name, "failed", why=str(result.get("msg", "")))
        elif not result.get("unreachable"):
            fleet.note(name, "planned", current=result["current"])
        return result
