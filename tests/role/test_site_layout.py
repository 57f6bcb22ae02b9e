"""Where everything of a site is: the role's modules know it from `layout.py`.

Programs that cannot import it name some of the same places: the variables and templates on the
controller, what shows a rollout there, and the exporter, which travels with a release. They agree.
"""

from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import LOCKS
from ansible.module_utils.aroundtheworld.maintenance.switch import Switch
from ansible.module_utils.aroundtheworld.maintenance.toggle import closable
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from aroundtheworld_controller.output import progress
from aroundtheworld_metrics.families import Families
from aroundtheworld_metrics.site import Paths, Site, _add_release
from tests.render import render, variables_for
from tests.role.rendered import units_of
from tests.role_files import load_yaml

SHOP = {"aroundtheworld_site": "shop", "aroundtheworld_home": "/srv/shop"}


@pytest.fixture
def layout():
    return SiteLayout(Path("/srv/shop"), "shop")


def value_of(template):
    """A text of YAML as a run of the site has it."""
    return Templar(DataLoader(), variables_for(SHOP)).template(trust_as_template(template))


def task_of(file, module):
    """The arguments of the first task with this module, as YAML has them."""
    return next(task[module] for task in load_yaml(f"tasks/{file}") if module in task)


def test_units_and_their_sockets_are_where_modules_look_for_them(layout):
    _, units = units_of(SHOP)
    for name, unit in (
        (layout.service, layout.service("")),
        (layout.stand_in, layout.stand_in("")),
    ):
        directory = units[unit].value("Service", "RuntimeDirectory")
        assert f"/run/{directory}/control.sock" == str(layout.private(name("%i"), "control"))
    drop_in = layout.drop_in(layout.service(10001)).relative_to(layout.units)
    command = units[str(drop_in)].value("Service", "ExecStart")
    for socket in ("control", "app"):
        file = layout.private(layout.service(10001), socket).name
        assert f"${{RUNTIME_DIRECTORY}}/{file} " in command


def test_processes_find_release_environment_and_secrets(layout):
    plan, units = units_of({**SHOP, "aroundtheworld_secrets": {"mail": "x"}})
    unit = units[layout.step("prepare")]
    release = layout.release(plan["release"]["id"])
    assert unit.value("Service", "WorkingDirectory") == f"{release}/app"
    environment = layout.environment(plan["environment"]["id"])
    assert unit.value("Service", "ExecStart").startswith(f"{environment}/bin/python ")
    assert unit.value("Service", "EnvironmentFile") == str(layout.environment_file)
    assert unit.value("Service", "LoadCredential") == f"mail:{layout.secrets}/mail"
    assert unit.value("Service", "ReadWritePaths") == str(layout.shared)


def test_the_directories_that_are_made_are_those_of_the_layout(layout):
    directories = load_yaml("vars/main.yml")["__aroundtheworld_directories"]
    made = [value_of(directory["path"]) for directory in directories]
    expected = [layout.home, layout.releases, layout.environments, layout.shared]
    expected += [layout.etc, layout.secrets, layout.passwords, layout.tls, layout.logs]
    assert made == list(map(str, expected))


def test_workers_restart_for_what_is_in_the_sites_settings(layout):
    workers = task_of("workers.yml", "aroundtheworld_workers")
    watched = [str(layout.environment_file), str(layout.secrets)]
    assert [value_of(path) for path in workers["watch"]] == watched
    for task in (workers, task_of("nginx.yml", "aroundtheworld_workers")):
        assert value_of(task["key"]) == str(layout.settings_key)


def test_the_page_that_closes_a_site_is_one_file(layout):
    page = str(layout.maintenance)
    site = render("site.conf.j2", variables_for(SHOP))
    assert f"(-f {page})" in site
    assert f"alias {page};" in site
    switch = Switch(layout.home)
    assert f"root {switch.link};" in site
    assert f"(-f {switch.keys}/$w10001_key)" in site
    assert closable(site) == ["admin", "public"]


def test_nginx_serves_static_files_and_logs_where_modules_look(layout):
    static = [{"url": "/static/", "directory": "shop/static"}]
    site = render("site.conf.j2", variables_for({**SHOP, "aroundtheworld_static": static}))
    assert f"root {layout.assets};" in site
    assert f"access_log {layout.logs}/access.log " in site
    assert f"error_log {layout.logs}/error.log;" in site
    assert f"\n{layout.logs}/*.log {{\n" in render("logrotate.j2", variables_for(SHOP))


def test_the_controller_reads_the_record_that_hosts_write():
    assert str(progress.LOCKS) == str(LOCKS)


def test_the_exporter_finds_release_log_and_sockets(tmp_path):
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    layout.release("1").mkdir(parents=True)
    layout.current.symlink_to("releases/1")
    layout.maintenance.touch()
    layout.log.write_text('{"verb": "deploy", "to": "1", "time": "2026-01-01T00:00:00+00:00"}\n')
    families = Families("shop")
    _add_release(families, layout.home)
    samples = {sample.name: sample for family in families.all.values() for sample in family.samples}
    assert samples["aroundtheworld_release_info"].labels["release"] == "1"
    assert samples["aroundtheworld_maintenance"].value == 1
    assert samples["aroundtheworld_deploy_last_info"].labels["to"] == "1"
    site = Site("shop", [], "", Paths(layout.home, layout.run.parent))
    worker = type("Worker", (), {"instance": "10001"})
    assert site._control(worker) == layout.private(layout.service(10001), "control")
