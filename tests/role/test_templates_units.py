"""How the units follow from the variables of a site; test_promises_units.py has each line."""

import re

import pytest
from ansible.errors import AnsibleError
from ansible.module_utils.aroundtheworld.rollout.units import CONFIG

from tests.matrix import chosen
from tests.render import (
    ADMIN,
    ENVIRONMENT_ID,
    JOB,
    MODELS,
    PUBLIC,
    QUEUE,
    RELEASE_ID,
    render,
    variables_for,
)
from tests.role.rendered import unit_texts, units_of
from tests.role_files import ROLE

TEMPLATES = sorted((ROLE / "templates").rglob("*.j2"))

every_model = pytest.mark.parametrize("model", chosen(list(MODELS)))


@every_model
def test_each_worker_and_each_pool_has_its_unit_files_and_there_are_no_others(model):
    plan, units = units_of(MODELS[model])
    site = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    expected = [f"{site}@.socket", f"{site}@.service"]
    if MODELS[model].get("aroundtheworld_make_app", "by default"):
        expected.append(f"{site}-prepare.service")
    if any(pool["command"] for pool in plan["pools"]):
        expected.append(f"{site}-trial.service")
    if MODELS[model].get("aroundtheworld_migrate_command", "by default"):
        expected.append(f"{site}-migrate.service")
    if "aroundtheworld_schema_check_command" in MODELS[model]:
        expected.append(f"{site}-schema.service")
    expected.append(f"{site}-handover@.service")
    if "aroundtheworld_metrics_port" in MODELS[model]:
        expected += [f"{site}-metrics.socket", f"{site}-metrics.service"]
    for pool in plan["pools"]:
        expected += [f"{site}-{pool['name']}{infix}.slice" for infix in ("", ".handover")]
        expected += [f"{site}@{port}.service.d/pool.conf" for port in pool["ports"]]
    for pool in plan["queues"]:
        expected.append(f"{site}-{pool['name']}.slice")
        numbers = range(1, pool["processes"] + 1)
        expected += [f"{site}@{pool['name']}-{number}.service.d/pool.conf" for number in numbers]
    for pool in plan["jobs"]:
        expected.append(f"{site}-{pool['name']}.slice")
        expected += [f"{site}-job-{pool['name']}.{kind}" for kind in ("service", "timer")]
    assert sorted(units) == sorted(expected)


@every_model
def test_a_worker_gets_the_settings_of_its_pool(model):
    plan, units = units_of(MODELS[model])
    site = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    home = MODELS[model].get("aroundtheworld_home", f"/var/lib/tornado/{site}")
    for pool in plan["pools"]:
        limits = units[f"{site}-{pool['name']}.slice"]
        stand_ins = units[f"{site}-{pool['name']}.handover.slice"]
        assert stand_ins.sections["Slice"] == limits.sections["Slice"]
        assert limits.value("Slice", "CPUWeight") == str(pool["cpu_weight"])
        assert limits.value("Slice", "IOWeight") == str(pool["io_weight"])
        assert limits.value("Slice", "MemoryHigh") == pool["memory_high"]
        assert limits.value("Slice", "MemoryMax") == pool["memory_max"]
        assert limits.value("Slice", "TasksMax") == str(pool["tasks_max"])
        for port in pool["ports"]:
            unit = units[f"{site}@{port}.service.d/pool.conf"]
            assert unit.value("Service", "Slice") == f"{site}-{pool['name']}.slice"
            assert unit.value("Service", "Nice") == str(pool["nice"])
            assert unit.value("Service", "CPUSchedulingPolicy") == pool["cpu_scheduling"]
            assert unit.value("Service", "OOMScoreAdjust") == str(pool["oom_score_adjust"])
            assert unit.value("Service", "WatchdogSec") == str(pool["watchdog"])
            assert unit.value("Service", "TimeoutStartSec") == str(pool["start_timeout"])
            longest = max(pool["drain_timeout"], pool["stream_timeout"])
            assert int(unit.value("Service", "TimeoutStopSec")) > longest
            assert unit.value("Service", "WorkingDirectory") == f"{home}/releases/{RELEASE_ID}/app"
            environment = unit.environment()
            assert environment["AROUNDTHEWORLD_POOL"] == pool["name"]
            assert environment["AROUNDTHEWORLD_RELEASE"] == RELEASE_ID
            assert environment["AROUNDTHEWORLD_CONFIG"] == CONFIG
            start = unit.value("Service", "ExecStart").split()
            if pool["command"]:
                assert start[0] == "/usr/bin/env"
                continue
            assert start[0] == f"{home}/environments/{ENVIRONMENT_ID}/bin/python"
            assert start[start.index("--drain-timeout") + 1] == str(pool["drain_timeout"])
            warn = MODELS[model].get("aroundtheworld_block_warn", 1)
            assert start[start.index("--block-warn") + 1] == str(warn)
            assert ("--stream" in start) == pool["stream"]
            spread = ["--stream-timeout", str(pool["stream_timeout"])]
            assert (" ".join(spread) in " ".join(start)) == (spread[1] != "10")
            hidden = model == "patient"  # an older runner warns of the option, so not without need
            if not pool["stream"] and spread[1] == "10":
                assert start[-2:-1] == (["truncated"] if hidden else [str(warn)])
            assert ("--log-addresses" in start) == hidden


@every_model
def test_every_process_runs_as_the_sites_user(model):
    _, units = units_of(MODELS[model])
    user = MODELS[model].get("aroundtheworld_user", "tornado")
    users = {
        unit.value("Service", "User") for name, unit in units.items() if name.endswith(".service")
    }
    assert users == {user}


def test_a_command_gets_its_port_or_the_socket_and_notes_what_it_runs():
    _, units = units_of(MODELS["commands"])
    binds = units["aroundtheworld@10002.service.d/pool.conf"]
    takes = units["aroundtheworld@10004.service.d/pool.conf"]
    # systemd reads %% as %, as the operator wrote it.
    command = "/usr/bin/env app --port=10002 --on 127.0.0.1 --at %%d"
    assert binds.value("Service", "ExecStart") == command
    assert takes.value("Service", "ExecStart") == "/usr/bin/env gunicorn shop.admin:app"
    assert binds.all("Unit", "Requires") == []
    assert takes.all("Unit", "Requires") == ["aroundtheworld@%i.socket"]


def test_every_command_is_tried_before_any_worker_runs_it():
    _, units = units_of(MODELS["commands"])
    first, second = units["aroundtheworld-trial.service"].all("Service", "ExecStart")
    assert " -m aroundtheworld_runner.trial --pool public --path / " in first
    assert first.endswith(
        "--start-timeout 30 --binds -- /usr/bin/env app --port={port} --on {address} --at %%d"
    )
    assert "--path /admin/health?full=1 " in second
    assert second.endswith("--start-timeout 60 -- /usr/bin/env gunicorn shop.admin:app")


def test_blocking_and_other_pools_differ():
    _, units = units_of({})
    public = units["aroundtheworld@10001.service.d/pool.conf"]
    admin = units["aroundtheworld@10004.service.d/pool.conf"]
    assert public.value("Service", "WatchdogSec") != "0"
    assert admin.value("Service", "WatchdogSec") == "0"
    weights = [
        int(units[f"aroundtheworld-{pool}.slice"].value("Slice", "CPUWeight"))
        for pool in ("public", "admin")
    ]
    assert weights[0] > weights[1]


def test_no_template_knows_an_address():
    assert TEMPLATES
    for template in TEMPLATES:
        assert not re.search(r"\b127\.|localhost|::1", template.read_text()), template.name


@pytest.mark.parametrize("names", [[], ["cookie_secret"], ["cookie_secret", "mail_password"]])
def test_a_secret_reaches_worker_and_preparation_as_a_file(names):
    _, units = units_of({"aroundtheworld_secrets": dict.fromkeys(names, "48151623")})
    for unit in (units["aroundtheworld@.service"], units["aroundtheworld-prepare.service"]):
        assert unit.all("Service", "LoadCredential") == [
            f"{name}:/etc/aroundtheworld/secrets/{name}" for name in names
        ]
        files = {key: value for key, value in unit.environment().items() if key.endswith("_FILE")}
        assert files == {f"{name.upper()}_FILE": f"%d/{name}" for name in names}


@pytest.mark.parametrize("template", ["units.j2", "site.conf.j2", "run.sh.j2"])
def test_values_of_secrets_and_of_the_environment_are_in_no_file_for_others(template):
    variables = {
        "aroundtheworld_secrets": {"cookie_secret": "48151623"},
        "aroundtheworld_environment": {"DATABASE_URL": "postgresql://ada:48151623@db/shop"},
    }
    assert "48151623" not in render(template, variables_for(variables))


def test_without_a_migrate_command_nothing_migrates():
    _, units = units_of({"aroundtheworld_migrate_command": ""})
    assert "aroundtheworld-migrate.service" not in units


def test_without_a_limit_a_migration_waits_for_locks_as_long_as_it_takes():
    _, units = units_of({"aroundtheworld_migrate_lock_timeout": 0})
    command = units["aroundtheworld-migrate.service"].value("Service", "ExecStart")
    assert command == "/usr/bin/env python -m aroundtheworld migrate"


def test_a_percent_sign_in_the_migrate_command_stays_one():
    _, units = units_of({"aroundtheworld_migrate_command": "date +%Y"})
    command = units["aroundtheworld-migrate.service"].value("Service", "ExecStart")
    assert command.endswith("date +%%Y")


@pytest.mark.parametrize("template", ["units.j2", "site.conf.j2", "run.sh.j2"])
def test_a_name_that_is_not_defined_is_an_error(template):
    variables = variables_for({})
    del variables["aroundtheworld_home"]
    with pytest.raises(AnsibleError, match="aroundtheworld_home"):
        render(template, variables)


def test_blocking_workers_are_replaced_first():
    plan = variables_for(MODELS["several_paths"])["__aroundtheworld_plan"]
    assert plan["workers"] == [
        {
            "instance": str(port),
            "pool": pool,
            "blocking": pool == "admin",
            "kind": "runner",
            "health": {
                "path": "/",
                "host": "localhost",
                "scheme": "http",
                "statuses": ["2xx", "3xx"],
            },
            "start_timeout": 60 if pool == "admin" else 30,
            "sticky": False,
        }
        for pool, ports in (
            ("admin", [10004]),
            ("public", [10001, 10002, 10003]),
            ("api", [10005, 10006]),
        )
        for port in ports
    ]


def test_queues_come_first_and_nginx_knows_nothing_of_them():
    complete = variables_for(MODELS["queues"])
    plan = complete["__aroundtheworld_plan"]
    names = [worker["instance"] for worker in plan["workers"]]
    assert names == ["mail-1", "mail-2", "sms-1", "10004", "10001", "10002", "10003"]
    assert {worker["kind"] for worker in plan["workers"][:3]} == {"queue"}
    assert plan["claim"]["pools"] == ["public", "admin"]
    without = variables_for({**MODELS["queues"], "aroundtheworld_pools": [PUBLIC, ADMIN]})
    assert render("site.conf.j2", complete) == render("site.conf.j2", without)


def test_a_release_changes_of_a_job_its_service_alone():
    complete = variables_for({"aroundtheworld_pools": [PUBLIC, JOB]})
    before = unit_texts(complete)
    complete["__aroundtheworld_plan"]["release"]["id"] = "222222222222"
    after = unit_texts(complete)
    changed = {path for path, text in after.items() if before[path] != text and "-job-" in path}
    assert changed == {"aroundtheworld-job-nightly.service"}
    assert "nightly" not in render("site.conf.j2", complete)
    workers = complete["__aroundtheworld_plan"]["workers"]
    assert {worker["pool"] for worker in workers} == {"public"}


def test_a_job_may_take_its_time_unless_its_pool_says_otherwise():
    _, units = units_of({"aroundtheworld_pools": [PUBLIC, JOB]})
    unit = units["aroundtheworld-job-nightly.service"]
    assert unit.value("Service", "TimeoutStartSec") == "infinity"


def test_what_is_not_tried_has_no_say_in_the_trial():
    pools = [PUBLIC, {**ADMIN, "command": "serve"}, {**QUEUE, "unit": {"LimitCORE": 7}}]
    _, units = units_of({"aroundtheworld_pools": pools})
    assert units["aroundtheworld-trial.service"].all("Service", "LimitCORE") == []
    _, units = units_of({"aroundtheworld_pools": [PUBLIC, QUEUE]})
    assert "aroundtheworld-trial.service" not in units


def test_another_number_of_workers_replaces_none_of_the_others():
    before, after = (
        unit_texts(variables_for({"aroundtheworld_pools": [PUBLIC, {**QUEUE, "processes": count}]}))
        for count in (2, 3)
    )
    assert {path: text for path, text in after.items() if path in before} == before


@pytest.mark.parametrize(("drain_timeout", "seconds"), [(0, "1"), (900, "900")])
def test_a_worker_of_a_queue_has_its_own_time_to_end(drain_timeout, seconds):
    pool = {**QUEUE, "drain_timeout": drain_timeout}
    _, units = units_of({"aroundtheworld_pools": [PUBLIC, pool]})
    unit = units["aroundtheworld@mail-1.service.d/pool.conf"]
    assert unit.value("Service", "TimeoutStopSec") == seconds


def test_metrics_listen_where_the_operator_says():
    _, units = units_of(MODELS["metrics"])
    socket = units["aroundtheworld-metrics.socket"]
    assert socket.value("Socket", "ListenStream") == "[fd00::5]:9145"


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({}, "localhost"),
        ({"server_names": ["_", "shop.example.org", "www.example.org"]}, "shop.example.org"),
        ({"server_names": ["shop.example.org"], "http_port": 8080}, "shop.example.org:8080"),
    ],
)
def test_a_health_check_asks_for_the_site_by_its_own_name(variables, host):
    pools = [PUBLIC, ADMIN | {"health_path": "/admin/up", "health_status": [401]}]
    variables = {f"aroundtheworld_{name}": value for name, value in variables.items()}
    plan = variables_for({"aroundtheworld_pools": pools, **variables})["__aroundtheworld_plan"]
    admin, public = (worker["health"] for worker in plan["workers"][:2])
    assert public == {"path": "/", "host": host, "scheme": "http", "statuses": ["2xx", "3xx"]}
    assert admin == {"path": "/admin/up", "host": host, "scheme": "http", "statuses": ["401"]}


def test_a_command_is_tried_by_the_same_rule():
    pool = ADMIN | {"command": "serve", "health_status": ["2xx", 404]}
    names = {"aroundtheworld_server_names": ["shop.example.org"]}
    _, units = units_of({"aroundtheworld_pools": [PUBLIC, pool], **names})
    trial = units["aroundtheworld-trial.service"].value("Service", "ExecStart")
    assert "AROUNDTHEWORLD_HEALTH_HOST=shop.example.org " in trial
    assert "AROUNDTHEWORLD_HEALTH_STATUS=2xx,404 " in trial


def test_no_worker_is_replaced_because_visitors_may_do_less():
    limits = {
        "rate": "1/s",
        "max_body_size": "1g",
        "client_timeout": 3,
        "allow": ["192.0.2.1"],
        "basic_auth": ["ada"],
        "server_names": ["admin.example"],
    }
    names = {"aroundtheworld_server_names": ["_", "admin.example"]}
    before = names | {"aroundtheworld_pools": [PUBLIC, ADMIN]}
    after = names | {
        "aroundtheworld_pools": [PUBLIC, {**ADMIN, **limits}],
        "aroundtheworld_passwords": {"ada": "secret"},
    }
    assert unit_texts(variables_for(before)) == unit_texts(variables_for(after))
