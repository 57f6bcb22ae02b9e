"""What the plan does with a host: for a deployment, a rollback and a removal."""

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from aroundtheworld_controller.variables import BadInputError
from tests.render import APP
from tests.role.refusals import pools
from tests.role_files import load_python, load_yaml

plugin = load_python("action_plugins/aroundtheworld_plan.py")

PLENTY = {"device": 1, "mount": "/", "bytes": 10**12, "inodes": 10**9}
HOST = {
    "distribution": "debian 12",
    "unfit": [],
    "taken_ports": [],
    "nginx": {"problems": [], "warnings": [], "ports": {}},
    "memory": 4 * 1024**3,
    "processes": 32768,
    "python": {
        "implementation": "cp", "version": "3.11", "platform": "x", "markers": {
            "python_full_version": "3.11.2", "python_version": "3.11", "sys_platform": "linux",
            "platform_system": "Linux", "implementation_name": "cpython", "os_name": "posix",
            "platform_machine": "x86_64", "platform_python_implementation": "CPython",
            "implementation_version": "3.11.2", "platform_release": "", "platform_version": "",
        },
    },
    "packages_missing": [],
    "packages_unfinished": [],
    "python3_apt": True,
    "acme": {"certificate": "", "key": "", "waiting": [], "is_own": False, "is_foreign": False},
    "ipv6": True,
    "hsts": 0,
    "tls": {"certificate": "", "problems": []},
    "current": "111111111111",
    "releases": {"111111111111": "e1", "222222222222": "e2"},
    "good_releases": ["222222222222"],
    "environments": [],
    "broken_environments": {},
    "room": dict.fromkeys(("home", "temporary", "settings", "programs", "lists"), PLENTY),
    "followed": None,
}  # fmt: skip
VARIABLES = {
    **load_yaml("defaults/main.yml"),
    **load_yaml("vars/main.yml"),
    **APP,
    "aroundtheworld_home": "/var/lib/tornado/x",
    "__aroundtheworld_packages": ["nginx"],
    "inventory_hostname": "web1",
    "ansible_play_hosts_all": ["web1"],
}


@pytest.fixture
def plan(monkeypatch):
    """Returns a function that makes a plan, and returns its result or raises."""
    calls = []

    def run(arguments, host=(), changes=(), check=False):
        action = plugin.ActionModule.__new__(plugin.ActionModule)
        action._task = SimpleNamespace(args=arguments, check_mode=check)
        action._loader = DataLoader()
        action._templar = Templar(action._loader, {})
        shell = SimpleNamespace(get_option=lambda name: "/tmp")
        action._connection = SimpleNamespace(_shell=shell)

        def module(name, arguments, task_vars):
            calls.append((name, arguments))
            return HOST | dict(host) if name == "host" else {}

        action.module = module
        calls.clear()
        return action.act(VARIABLES | dict(changes))

    monkeypatch.setattr(plugin, "fetch_wheels", lambda *_: None)
    run.calls = calls
    return run


DEPLOY = {"app_dir": APP["aroundtheworld_app_dir"]}
ROLLBACK = {"release": "previous"}
REMOVE = {"remove": True}
RESTORE = {"restore": True}
BESIDE = {"aroundtheworld_restore_to": "/root/yesterday"}


def test_a_deployment_is_planned_for_what_the_host_is(plan):
    result = plan(DEPLOY, {"nginx": {"problems": [], "warnings": ["careful"], "ports": {}}})
    assert len(result["release"]["id"]) == 12
    assert "tornado==" in result["environment"]["lock"]
    assert result["host"]["nginx"]["warnings"] == ["careful"]
    assert result["warnings"] == ["web1: careful"]
    assert (result["changed"], result["current"]) == (False, "111111111111")
    assert result["lock"]["doing"] == "deploy"
    assert [name for name, _ in plan.calls] == ["host"]


@pytest.mark.parametrize(
    ("arguments", "asked"), [(DEPLOY, ["ffmpeg"]), (ROLLBACK, []), (REMOVE, [])]
)
def test_only_a_deployment_needs_the_apps_packages(plan, arguments, asked):
    plan(arguments, changes={"aroundtheworld_packages": ["ffmpeg"]})
    assert plan.calls[0][1]["app_packages"] == asked


def test_a_restore_onto_a_site_keeps_its_release_and_leaves_nginx_alone(plan):
    result = plan(RESTORE, {"nginx": {"problems": ["not ours"], "warnings": [], "ports": {}}})
    assert (result["release"], result["environment"]) == (
        {"id": "111111111111"},
        {"id": "e1"},
    )
    assert result["lock"]["doing"] == "restore"


def test_a_bare_host_is_looked_at_as_for_a_deployment_but_for_the_app(plan):
    bare = {"current": "", "releases": {}}
    result = plan(
        RESTORE, bare, {"aroundtheworld_app_dir": "/nowhere", "aroundtheworld_packages": ["ffmpeg"]}
    )
    assert result["release"] == {"id": ""}
    assert plan.calls[0][1]["app_packages"] == ["ffmpeg"]
    with pytest.raises(BadInputError, match="not ours"):
        plan(RESTORE, {**bare, "nginx": {"problems": ["not ours"], "warnings": [], "ports": {}}})


def test_a_backup_laid_beside_needs_nothing_of_the_host(plan):
    result = plan(RESTORE, {"unfit": ["full"], "restore_cut_off": "cut off"}, BESIDE)
    assert set(result) == {"changed", "host", "who", "lock"}
    assert plan.calls[0][1]["app_packages"] == []


@pytest.mark.parametrize("arguments", [DEPLOY, ROLLBACK, {"backup": True}])
def test_while_a_restore_is_half_done_nothing_else_changes_the_site(plan, arguments):
    with pytest.raises(BadInputError, match="cut off"):
        plan(arguments, {"restore_cut_off": "A restore was cut off."})
    plan(RESTORE, {"restore_cut_off": "A restore was cut off."})


def test_an_app_for_another_python_is_refused_and_the_host_named(plan, tmp_path):
    (tmp_path / "shop.py").touch()
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.12"\n')
    (tmp_path / "requirements.txt").write_text("a ; sys_platform == 'linux'\n")
    with pytest.raises(BadInputError) as refused:
        plan({"app_dir": str(tmp_path)}, changes={"aroundtheworld_make_app": "shop:make_app"})
    python, line = refused.value.problems
    assert "web1 has Python 3.11.2, but requires-python in pyproject.toml is '>=3.12'" in python
    assert "line 1 reads" in line
    assert [name for name, _ in plan.calls] == ["host", "lock"]


@pytest.mark.parametrize(
    ("host", "changes", "told"),
    [
        ({}, {}, True),
        ({}, {"ansible_play_hosts_all": ["web0", "web1"]}, False),
        ({"releases": None}, {}, False),
    ],
    ids=["a new release", "not the first host", "a release that is there"],
)
def test_what_is_not_in_a_new_release_is_told_once(
    plan, monkeypatch, tmp_path, host, changes, told
):
    (tmp_path / "tests").mkdir()
    (tmp_path / "shop.py").touch()
    (tmp_path / "requirements.txt").write_text(f"tornado==6.5 --hash=sha256:{'0' * 64}\n")
    arguments = {"app_dir": str(tmp_path)}
    changes |= {"aroundtheworld_make_app": "shop:make_app"}
    if host:
        host = {"releases": {plan(arguments, changes=changes)["release"]["id"]: "e1"}}
    said = []
    monkeypatch.setattr(plugin.display, "display", said.append)
    plan(arguments, host, changes, check=True)
    assert [line.endswith("by aroundtheworld_app_exclude: tests") for line in said] == [True] * told


ACME = {"aroundtheworld_tls": "acme", "aroundtheworld_server_names": ["shop.example"]}
PROXIES = {"aroundtheworld_trusted_proxies": ["192.0.2.1"]}


@pytest.mark.parametrize(("changes", "are_plain"), [({}, True), (ACME, False), (PROXIES, False)])
def test_passwords_that_everybody_can_read_are_told_in_the_run_and_the_status(
    plan, changes, are_plain
):
    asks = pools(admin={"basic_auth": ["ada"]}) | {"aroundtheworld_passwords": {"ada": "x"}}
    found = plan(DEPLOY, changes=asks | changes)
    told = [line for line in found.get("warnings", []) if ".basic_auth: everybody on" in line]
    assert [line.partition(".basic")[0] for line in told] == [
        "web1: aroundtheworld_pools[1]"
    ] * are_plain
    access = {pool["name"]: pool["access"] for pool in found["pools"]}
    assert access["admin"] == "by password of ada" + ", which is not encrypted" * are_plain


def test_an_error_page_that_cannot_be_rendered_is_refused_before_the_host_is_asked(plan):
    broken = {"__aroundtheworld_error_page": trust_as_template("{{ error.titel }}")}
    with pytest.raises(BadInputError, match=r"^aroundtheworld_error_page: 'error.html.j2' cannot"):
        plan(DEPLOY, changes=broken)
    assert plan.calls == []


@pytest.mark.parametrize(
    ("release", "found"), [("previous", "222222222222"), ("111111111111",) * 2]
)
def test_a_rollback_leads_to_a_release_on_the_host_and_leaves_nginx_alone(plan, release, found):
    nginx = {"problems": ["nginx: no."], "warnings": ["nginx: careful."], "ports": {}}
    missing = {"aroundtheworld_app_dir": "/nowhere"}
    result = plan({"release": release}, {"nginx": nginx}, missing)
    assert result["release"] == {"id": found}
    assert result["environment"] == {"id": HOST["releases"][found]}
    assert "warnings" not in result
    assert result["lock"]["doing"] == "rollback"


WHY = "its packages are for Python 3.11, which starts 3.13 now"


def test_a_rollback_to_a_release_of_an_old_python_is_refused_with_the_way(plan):
    host = {"broken_environments": {"e2": WHY}}
    with pytest.raises(BadInputError) as refused:
        plan(ROLLBACK, host)
    (problem,) = refused.value.problems
    assert f"aroundtheworld_release: 222222222222 cannot run on web1: {WHY}. Deploy the" in problem
    assert "by `ansible-playbook site.yml`: that installs its packages for Python 3.11." in problem
    assert [name for name, _ in plan.calls] == ["host", "lock"]
    # And it is not taken for another one: an operator says which.
    releases = {**HOST["releases"], "333333333333": "e3"}
    good = ["222222222222", "333333333333"]
    with pytest.raises(BadInputError, match="-e aroundtheworld_release=333333333333 goes to"):
        plan(ROLLBACK, {**host, "releases": releases, "good_releases": good})
    assert plan(ROLLBACK, {"broken_environments": {"e1": WHY}})["release"]["id"] == "222222222222"


def test_an_upgrade_of_debian_that_was_cut_off_is_refused_but_a_rollback_is_not(plan):
    host = {"packages_unfinished": ["nginx", "python3-venv"]}
    with pytest.raises(BadInputError) as refused:
        plan(DEPLOY, host)
    (problem,) = refused.value.problems
    assert "web1: nginx, python3-venv are unpacked and not set up" in problem
    assert "`dpkg --configure -a`" in problem
    assert [name for name, _ in plan.calls] == ["host", "lock"]
    plan(ROLLBACK, host)


def test_a_rollback_knows_that_nginx_has_a_certificate(plan):
    in_use = {"certificate": "/etc/shop/tls/certificate-1.pem", "key": "/etc/shop/tls/key-1.pem"}
    host = {"acme": {**HOST["acme"], **in_use}}
    result = plan(ROLLBACK, host, {"aroundtheworld_tls": "local"})
    assert {kind: result["tls"][kind] for kind in in_use} == in_use
    assert plan(ROLLBACK, host)["tls"]["certificate"] == ""


def test_a_removal_only_takes_the_site(plan):
    unfit = {"unfit": ["aroundtheworld_user: no."], "distribution": "debian 11"}
    hooks = {"aroundtheworld_hooks": {"before_release": "/nowhere.yml"}}
    result = plan(REMOVE, unfit, hooks)
    assert set(result) == {"changed", "who", "lock"}
    assert result["lock"]["doing"] == "removal"


@pytest.mark.parametrize(
    ("state", "way_on"),
    [
        ({"restore_cut_off": "A restore was cut off."}, "A restore was cut off. Then remove"),
        ({"undo_cut_off": "The way back was cut off."}, "The way back was cut off. Then remove"),
    ],
)
def test_a_removal_waits_for_the_data_to_be_in_its_place(plan, state, way_on):
    with pytest.raises(plugin.BadInputError, match=way_on):
        plan(REMOVE, state)
    assert plan.calls[-1][0] == "lock"
    assert plan(REMOVE, state, {"aroundtheworld_remove_data": True})["changed"] is False


@pytest.mark.parametrize("arguments", [DEPLOY, ROLLBACK], ids=["deploy", "rollback"])
@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ({"unfit": ["aroundtheworld_user: no."]}, "aroundtheworld_user: no."),
        ({"memory": 1}, "memory_max"),
    ],
)
def test_a_host_that_is_not_fit_is_refused_and_released(plan, arguments, host, problem):
    pools = [{"name": "a", "ports": [1], "paths": ["/"], "memory_max": "1G"}]
    with pytest.raises(plugin.BadInputError, match=problem):
        plan(arguments, host, {"aroundtheworld_pools": pools})
    (_, lock) = plan.calls[-1]
    assert [name for name, _ in plan.calls] == ["host", "lock"]
    assert (lock["state"], lock["lock"]) == ("released", plan.calls[0][1]["lock"])


def test_a_dry_run_took_nothing_and_releases_nothing(plan):
    with pytest.raises(plugin.BadInputError):
        plan(DEPLOY, {"unfit": ["no."]}, check=True)
    assert [name for name, _ in plan.calls] == ["host"]


def test_wheels_that_cannot_be_had_release_the_site(plan, monkeypatch):
    def fail(*_):
        raise AnsibleActionFail("no index")

    monkeypatch.setattr(plugin, "fetch_wheels", fail)
    with pytest.raises(AnsibleActionFail, match="no index"):
        plan(DEPLOY)
    assert [name for name, _ in plan.calls] == ["host", "lock"]


def test_a_host_module_that_fails_is_the_result_and_the_site_is_released(plan):
    result = plan(DEPLOY, {"failed": True, "msg": "no python"})
    assert result["msg"] == "no python"
    assert [name for name, _ in plan.calls] == ["host", "lock"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aroundtheworld_build": ["sqlalchmy"]}, "did you mean sqlalchemy"),
        ({"aroundtheworld_wheels": "/nowhere"}, "'/nowhere' is not a directory on the controller"),
    ],
)
def test_packages_of_ones_own_are_checked_before_the_host_is_asked(plan, changes, problem):
    with pytest.raises(plugin.BadInputError, match=problem):
        plan(DEPLOY, changes=changes)
    assert plan.calls == []


@pytest.mark.parametrize("arguments", [DEPLOY, ROLLBACK], ids=["deploy", "rollback"])
def test_bad_input_does_not_reach_the_host(plan, arguments):
    hooks = {"aroundtheworld_hooks": {"before_workers": "/nowhere.yml"}}
    with pytest.raises(plugin.BadInputError, match="is not a file on the controller"):
        plan(arguments, changes=hooks)
    with pytest.raises(plugin.BadInputError, match="aroundtheworld_http_port"):
        plan(arguments, changes={"aroundtheworld_http_port": "x"})
    assert plan.calls == []
