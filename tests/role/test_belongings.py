"""What a site has on its host, by what it wrote down, and by what an older role left there."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.aroundtheworld import belongings, running
from ansible.module_utils.aroundtheworld.host import names
from ansible.module_utils.aroundtheworld.layout import SystemLayout

from tests import readme
from tests.matrix import chosen
from tests.render import MODELS, render, variables_for
from tests.role_files import load_yaml

UNITS = "etc/systemd/system"
# As commit 9b2a007 wrote them, cut to what there is to know them by.
OLD = {
    f"{UNITS}/shop@.socket": "Description=shop: listening socket of the worker on port %i\n",
    f"{UNITS}/shop@.service": "[Service]\nType=notify\nEnvironment=AROUNDTHEWORLD_PORT=%i\n",
    f"{UNITS}/shop-handover@.service": "[Service]\nEnvironment=AROUNDTHEWORLD_PORT=%i\n",
    f"{UNITS}/shop-prepare.service": (
        "[Unit]\nDescription=shop: what a release needs before any worker runs it\n"
    ),
    f"{UNITS}/shop-metrics.socket": (
        "ConditionPathExists=/srv/shop/releases/1/runner/aroundtheworld_exporter.py\n"
    ),
    f"{UNITS}/shop-metrics.service": (
        "ExecStart=/usr/bin/python3 /srv/shop/releases/1/runner/aroundtheworld_exporter.py shop\n"
    ),
    f"{UNITS}/shop-public.slice": "Description=shop: all workers of the public pool\n",
    f"{UNITS}/shop@10001.service.d/pool.conf": "Environment=AROUNDTHEWORLD_POOL=public\n",
    "usr/local/sbin/shop-run": (
        "#!/bin/sh\n# Ansible managed\n"
        "# Runs a command the way the workers of the current release run: as their user\n"
    ),
    "etc/nginx/sites-available/shop.conf": "# Ansible managed\nlog_format shop escape=json\n",
    "etc/nginx/sites-enabled/shop.conf": "# Ansible managed\nlog_format shop escape=json\n",
}
# Left from a run that was cut off: no claim lists them any more.
LEFT = {
    f"{UNITS}/shop-admin.slice": "Description=shop: all workers of the admin pool\n",
    f"{UNITS}/shop@10004.service.d/pool.conf": "Environment=AROUNDTHEWORLD_POOL=admin\n",
    f"{UNITS}/shop-handover@10004.service.d/pool.conf": "Environment=AROUNDTHEWORLD_POOL=admin\n",
}
# An operator's, called alike.
OPERATORS = {
    f"{UNITS}/shop-backup.slice": "Description=shop: all that copies\n",
    f"{UNITS}/shop-backup.service": "ExecStart=/usr/local/bin/backup\n",
    f"{UNITS}/shop@10009.service": "ExecStart=/usr/bin/sleep 1\n",
    f"{UNITS}/shop@10001.service.d/override.conf": "Environment=AROUNDTHEWORLD_POOL=public\n",
    f"{UNITS}/shop-public.slice.d/override.conf": "Description=shop: all workers of the x pool\n",
}


def claim(**more):
    sockets = [
        {"address": "127.0.0.1", "port": 10001, "variable": "aroundtheworld_pools"},
        {"address": "127.0.0.1", "port": 9145, "variable": "aroundtheworld_metrics_port"},
    ]
    rest = {"http_port": 80, "server_names": ["_"], "pools": ["public"], "sockets": sockets}
    return {"site": "shop", "home": "/srv/shop", "user": "shopkeeper"} | rest | more


def make(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_claim(root, **more):
    make(root, {"etc/shop/aroundtheworld.json": json.dumps(claim(**more))})


def listed(root):
    return {str(path.relative_to(root)) for path in belongings.files("shop", root)}


def test_a_site_of_an_older_role_gets_its_list_from_its_claim_and_the_marks(tmp_path):
    make(tmp_path, OLD | LEFT | OPERATORS)
    write_claim(tmp_path)
    assert listed(tmp_path) == OLD.keys() | LEFT.keys()
    assert str(tmp_path / "etc/shop") in belongings.has("shop", tmp_path)["directories"]


def test_what_leads_to_the_usual_home_is_the_sites_and_to_another_it_is_not(tmp_path, monkeypatch):
    usual = tmp_path / "var/lib/tornado"
    monkeypatch.setattr(belongings, "USUAL", usual)
    for home, own in ((usual / "shop", True), (tmp_path / "srv/sites/shop", False)):
        home.mkdir(parents=True)
        write_claim(tmp_path, home=str(home))
        directories = belongings.has("shop", tmp_path)["directories"]
        assert str(home) in directories
        assert (str(home.parent) in directories) is own


def test_without_a_claim_only_the_marks_tell(tmp_path):
    make(tmp_path, OLD | LEFT | OPERATORS)
    found = {str(path.relative_to(tmp_path)) for path in belongings.marked_files("shop", tmp_path)}
    assert found == OLD.keys() | LEFT.keys()
    assert belongings.marked_files("sho", tmp_path) == []


def test_a_file_of_an_older_role_that_was_edited_is_the_sites_all_the_same(tmp_path):
    make(tmp_path, OLD | {f"{UNITS}/shop-public.slice": "Description=edited\n"})
    write_claim(tmp_path)
    assert f"{UNITS}/shop-public.slice" in listed(tmp_path)


def test_a_worker_of_which_only_its_socket_is_left_is_the_sites(tmp_path):
    write_claim(tmp_path)
    assert listed(tmp_path) == {f"{UNITS}/shop@10001.service.d/pool.conf"}


def test_of_a_removed_site_only_what_carries_the_mark_is_left(tmp_path):
    operators = {f"{UNITS}/shop@.service": "[Service]\n", "usr/local/sbin/shop-run": "#!/bin/sh\n"}
    make(tmp_path, operators | LEFT)
    write_claim(tmp_path, sockets=[], pools=[])
    assert listed(tmp_path) == LEFT.keys()


def test_taking_writes_down_once_and_keeps_what_there_was(tmp_path):
    make(tmp_path, OLD)
    write_claim(tmp_path)
    before = listed(tmp_path)
    more = tmp_path / "etc/nginx/conf.d/shop.conf"
    belongings.take("shop", [more], root=tmp_path)
    assert listed(tmp_path) == before | {"etc/nginx/conf.d/shop.conf"}
    path = tmp_path / "etc/shop/aroundtheworld.json"
    assert json.loads(path.read_text())["pools"] == ["public"]
    written = path.stat().st_mtime_ns
    belongings.take("shop", [more], root=tmp_path)
    assert path.stat().st_mtime_ns == written
    belongings.give_up("shop", [more], root=tmp_path)
    assert listed(tmp_path) == before


def test_a_run_and_who_closes_the_site_meanwhile_both_write_down_what_they_make(tmp_path):
    layout = SystemLayout("shop", tmp_path)
    layout.etc.mkdir(parents=True)
    claim = {"site": "shop", "home": "/srv/shop", "sockets": [], "pools": []}
    layout.claim.write_text(json.dumps(claim | {"has": belongings.nothing()}))
    files = [tmp_path / str(number) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: belongings.take("shop", [file], root=tmp_path), files))
    assert belongings.files("shop", tmp_path) == set(files)


def test_units_are_known_by_the_files_that_are_written_down(tmp_path):
    make(tmp_path, OLD | LEFT | OPERATORS)
    write_claim(tmp_path)
    files = sorted(belongings.files("shop", tmp_path))
    assert running.Running(None, "shop", files, tmp_path).names == {
        *(f"shop@{port}.{kind}" for port in (10001, 10004) for kind in ("service", "socket")),
        *(f"shop-handover@{port}.service" for port in (10001, 10004)),
        *("shop-prepare.service", "shop-metrics.service", "shop-metrics.socket"),
        *("shop-public.slice", "shop-admin.slice"),
    }


def test_links_are_known_by_where_they_lead(tmp_path):
    units = tmp_path / UNITS
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True)
    for name, target in (
        ("shop@10001.service", str(units / "shop@.service")),
        ("shop@10002.service", "../shop@.service"),
        ("shop-backup.service", str(units / "shop-backup.service")),
        ("shop@10003.service", "/usr/lib/systemd/system/other@.service"),
        ("shop@10004.service", "/usr/lib/systemd/system/shop@.service"),
    ):
        (wants / name).symlink_to(target)
    found = {path.name for path in belongings.links([units / "shop@.service"], units)}
    assert found == {"shop@10001.service", "shop@10002.service"}


@pytest.mark.parametrize(
    "name", ["access.log", "error.log.1", "access.log.2.gz", "error.log-20261126"]
)
def test_logs_of_former_days_are_known(tmp_path, name):
    make(tmp_path, {f"var/log/nginx/shop.{name}": ""})
    assert len(belongings.log_files("shop", tmp_path)) == 1


@pytest.mark.parametrize(
    "name", ["shop.access.log.html", "shop.access.logs", "shop.com.access.log"]
)
def test_what_is_called_nearly_as_a_log_is_not_one(tmp_path, name):
    make(tmp_path, {f"var/log/nginx/{name}": ""})
    assert belongings.log_files("shop", tmp_path) == []


def test_a_drop_in_goes_and_an_operators_beside_it_stays(tmp_path):
    first, second, nginx = "shop@1.service.d", "shop@2.service.d", "conf.d"
    make(tmp_path, {f"{name}/pool.conf": "" for name in (first, second, nginx)})
    make(tmp_path, {f"{second}/override.conf": ""})
    for name in (first, second, nginx):
        belongings.remove_file(tmp_path / name / "pool.conf")
    assert {path.name for path in tmp_path.rglob("*")} == {second, "override.conf", nginx}


def test_the_directory_of_links_goes_with_the_last_of_them(tmp_path):
    make(tmp_path, {"a.wants/shop@1.socket": "", "b.wants/shop@1.socket": "", "b.wants/ssh": ""})
    for name in ("a.wants", "b.wants"):
        belongings.remove_file(tmp_path / name / "shop@1.socket")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.wants", "ssh"]


@pytest.mark.parametrize("model", chosen(list(MODELS)))
def test_every_file_that_is_written_is_planned_and_carries_the_mark(model):
    variables = variables_for(MODELS[model])
    mine = variables["__aroundtheworld_plan"]["claim"]
    text = render("units.j2", variables)
    mark = belongings.mark(mine["site"])
    found = re.findall(r"^# (/etc/systemd/system/\S+)\n(.*)$", text, re.M)
    assert {line for _, line in found} == {mark}
    planned = {str(path) for path in belongings.planned_files(mine)}
    units = {path for path in planned if path.startswith("/etc/systemd/")}
    written = {path for path, _ in found}
    # A step without anything to do has no unit, but may get one.
    steps = ("prepare", "migrate", "schema", "trial")
    maybe = {f"/etc/systemd/system/{mine['site']}-{step}.service" for step in steps}
    assert written - maybe == units - maybe
    assert written <= units
    for template in ("run.sh.j2", "site.conf.j2"):
        assert mark in render(template, variables).splitlines()[:3], template


@pytest.mark.parametrize("model", MODELS)
def test_the_readme_has_every_file_and_no_other(model):
    mine = variables_for(MODELS[model])["__aroundtheworld_plan"]["claim"]
    planned = [str(path) for path in belongings.planned_files(mine)]

    def covered(row):
        return {path for path in planned if readme.is_covered(path, row, mine["site"])}

    assert set(planned) == set().union(*map(covered, readme.promised()))
    # Links are made by systemd; the plan has no list of them.
    files = [row for row in readme.always() if row.startswith(("/etc/systemd/", "/usr/"))]
    assert [row for row in files if ".wants" not in row and not covered(row)] == []


def test_role_and_modules_agree_on_the_mark():
    mark = load_yaml("vars/main.yml")["__aroundtheworld_mark"]
    assert mark.replace("{{ aroundtheworld_site }}", "shop") == belongings.mark("shop")


# --- Names ----------------------------------------------------------------------------------------

FOREIGN = {
    "a service of the system": "usr/lib/systemd/system/shop@.service",
    "a socket of the system": "usr/lib/systemd/system/shop@.socket",
    "a slice of the system": "usr/lib/systemd/system/shop.slice",
    "a unit of an old init script": "run/systemd/generator.late/shop@.service",
    "a slice of the moment": "run/systemd/transient/shop.slice",
    "a unit of the operator's own packages": "usr/local/lib/systemd/system/shop-prepare.service",
    "a service of the operator": "etc/systemd/system/shop@.service",
    "a slice of the operator": "etc/systemd/system/shop.slice",
    "a pool's slice of the operator": "etc/systemd/system/shop-public.slice",
    "a drop-in of the operator": "etc/systemd/system/shop@10001.service.d/pool.conf",
    "a command of the operator": "usr/local/sbin/shop-run",
    "settings of another program": "etc/shop/shop.conf",
    "a site of the operator": "etc/nginx/sites-available/shop.conf",
    "a link of the operator": "etc/nginx/sites-enabled/shop.conf",
    "a directory of another daemon": "run/shop/daemon.sock",
    "an entry of another program's logs": "etc/logrotate.d/shop",
    "logs of an operator's site": "var/log/nginx/shop/access.log",
}


@pytest.mark.parametrize("path", FOREIGN.values(), ids=FOREIGN)
def test_what_is_there_already_is_not_overwritten(tmp_path, path):
    assert list(names.name_problems(claim(), tmp_path)) == []
    make(tmp_path, {path: "of somebody"})
    problems = list(names.name_problems(claim(), tmp_path))
    assert problems
    parents = path.rpartition("/")[0]
    assert any(f"/{path}" in problem or parents in problem for problem in problems)


def test_a_dangling_link_is_not_overwritten_either(tmp_path):
    link = tmp_path / "etc/nginx/sites-enabled/shop.conf"
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere")
    (problem,) = names.name_problems(claim(), tmp_path)
    assert str(link) in problem


@pytest.mark.parametrize("path", OPERATORS)
def test_what_only_is_called_alike_does_not_keep_a_site_off(tmp_path, path):
    make(tmp_path, {path: OPERATORS[path]})
    assert list(names.name_problems(claim(), tmp_path)) == []


def test_a_site_of_an_older_role_is_in_nobodys_way(tmp_path):
    make(tmp_path, OLD | LEFT | {"run/shop/10001/control.sock": "", "etc/shop/environment": ""})
    write_claim(tmp_path)
    assert list(names.name_problems(claim(), tmp_path)) == []
    # Not even a site from before there were claims.
    (tmp_path / "etc/shop/aroundtheworld.json").unlink()
    (tmp_path / "etc/shop/secrets").mkdir()
    assert list(names.name_problems(claim(), tmp_path)) == []


def test_a_file_with_the_sites_mark_is_its_own_though_nobody_wrote_it_down(tmp_path):
    write_claim(tmp_path, has=belongings.nothing())
    path = "etc/nginx/sites-available/shop.conf"
    make(tmp_path, {path: f"{belongings.mark('shop')}\nserver {{}}\n"})
    assert list(names.name_problems(claim(), tmp_path)) == []
    make(tmp_path, {path: f"{belongings.mark('shopping')}\nserver {{}}\n"})
    (problem,) = names.name_problems(claim(), tmp_path)
    assert path in problem


def test_a_new_pool_of_a_site_does_not_take_an_operators_slice(tmp_path):
    make(tmp_path, OLD | OPERATORS)
    write_claim(tmp_path)
    (problem,) = names.name_problems(claim(pools=["public", "backup"]), tmp_path)
    assert "etc/systemd/system/shop-backup.slice" in problem


def test_what_an_operator_sets_of_the_site_as_a_whole_is_welcome(tmp_path):
    make(tmp_path, OLD | {f"{UNITS}/shop.slice": "[Slice]\nCPUWeight=50\n"})
    write_claim(tmp_path)
    assert list(names.name_problems(claim(), tmp_path)) == []


@pytest.mark.parametrize(
    "site", ["system", "machine", "user", "session", "init", "app", "background", "dbus"]
)
def test_names_of_systemd_are_refused(tmp_path, site):
    (problem,) = names.name_problems(claim(site=site), tmp_path)
    assert f"aroundtheworld_site: {site!r} is not allowed; systemd has units of its own" in problem


@pytest.mark.parametrize(
    "unit",
    [
        "ssh.service",
        "ssh@.service",
        "ssh.socket",
        "ssh-import.service",
        "ssh-.slice.d",
        "ssh.target",
    ],
)
def test_names_of_packages_units_are_refused(tmp_path, unit):
    make(
        tmp_path,
        {
            f"usr/lib/systemd/system/{unit}/x"
            if unit.endswith(".d")
            else f"usr/lib/systemd/system/{unit}": ""
        },
    )
    (problem, *_) = names.name_problems(claim(site="ssh"), tmp_path)
    assert f"this host has {unit} from a Debian package" in problem
    assert list(names.name_problems(claim(site="ss"), tmp_path)) == []
    assert list(names.name_problems(claim(site="ssh_x"), tmp_path)) == []
