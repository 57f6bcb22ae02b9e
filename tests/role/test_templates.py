"""What units and site say for several data models, rendered by Ansible's own engine."""

import re

import pytest
from ansible.errors import AnsibleError

from tests.render import ADMIN, ENVIRONMENT_ID, MODELS, PUBLIC, RELEASE_ID, render, variables_for
from tests.role_files import ROLE, load_python

workers = load_python("library/aroundtheworld_workers.py")

SYSTEMD = "/etc/systemd/system"
TEMPLATES = sorted((ROLE / "templates").glob("*.j2"))


class Unit:
    """A unit file, section to name to values in their order."""

    def __init__(self, text):
        self.sections = {}
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            if line.startswith("[") and line.endswith("]"):
                section = self.sections.setdefault(line[1:-1], {})
            elif line and not line.startswith("#"):
                name, equals, value = line.partition("=")
                assert equals, line
                section.setdefault(name, []).append(value)

    def all(self, section, name):
        return self.sections.get(section, {}).get(name, [])

    def one(self, section, name):
        (value,) = self.all(section, name)
        return value

    def environment(self):
        return dict(value.split("=", 1) for value in self.all("Service", "Environment"))


def units_of(given, **more):
    variables = variables_for(given, **more)
    files = workers.split_units(render("units.j2", variables))
    return variables["__aroundtheworld_plan"], {
        str(path.relative_to(SYSTEMD)): Unit(text) for path, text in files.items()
    }


def parse_nginx(text):
    """Returns the directives of an nginx configuration, each its words and, last, its block."""
    stack, words = [[]], []
    for token in re.findall(r"#[^\n]*|\"(?:\\.|[^\"])*\"|'[^']*'|[{};]|[^\s{};\"']+", text):
        if token.startswith("#"):
            continue
        if token == ";":
            stack[-1].append(words)
            words = []
        elif token == "{":
            block = []
            stack[-1].append([*words, block])
            stack.append(block)
            words = []
        elif token == "}":
            assert words == []
            stack.pop()
        else:
            words.append(token.strip("\"'"))
    assert (len(stack), words) == (1, [])
    return stack[0]


def find(directives, *start):
    return [one[len(start) :] for one in directives if tuple(one[: len(start)]) == start]


def site_of(given, **more):
    variables = variables_for(given, **more)
    site = parse_nginx(render("site.conf.j2", variables))
    # A second one, for nginx's own numbers, only where there are metrics.
    server, *numbers = find(site, "server")
    assert len(numbers) == ("aroundtheworld_metrics_port" in given)
    return variables["__aroundtheworld_plan"], site, server[0]


every_model = pytest.mark.parametrize("model", MODELS)


@every_model
def test_each_worker_and_each_pool_has_its_unit_files_and_there_are_no_others(model):
    plan, units = units_of(MODELS[model])
    site = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    expected = [f"{site}@.socket", f"{site}@.service"]
    if MODELS[model].get("aroundtheworld_make_app", "given"):
        expected.append(f"{site}-prepare.service")
    if any(pool["command"] for pool in plan["pools"]):
        expected.append(f"{site}-trial.service")
    if MODELS[model].get("aroundtheworld_migrate_command", "given"):
        expected.append(f"{site}-migrate.service")
    expected.append(f"{site}-handover@.service")
    if "aroundtheworld_metrics_port" in MODELS[model]:
        expected += [f"{site}-metrics.socket", f"{site}-metrics.service"]
    for pool in plan["pools"]:
        expected += [f"{site}-{pool['name']}{infix}.slice" for infix in ("", ".handover")]
        expected += [f"{site}@{port}.service.d/pool.conf" for port in pool["ports"]]
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
        assert limits.one("Slice", "CPUWeight") == str(pool["cpu_weight"])
        assert limits.one("Slice", "MemoryHigh") == pool["memory_high"]
        assert limits.one("Slice", "MemoryMax") == pool["memory_max"]
        for port in pool["ports"]:
            unit = units[f"{site}@{port}.service.d/pool.conf"]
            assert unit.one("Service", "Slice") == f"{site}-{pool['name']}.slice"
            assert unit.one("Service", "Nice") == str(pool["nice"])
            assert unit.one("Service", "CPUSchedulingPolicy") == pool["cpu_scheduling"]
            assert unit.one("Service", "OOMScoreAdjust") == str(pool["oom_score_adjust"])
            assert unit.one("Service", "WatchdogSec") == str(pool["watchdog"])
            assert unit.one("Service", "TimeoutStartSec") == str(pool["start_timeout"])
            assert int(unit.one("Service", "TimeoutStopSec")) > pool["drain_timeout"]
            assert unit.one("Service", "WorkingDirectory") == f"{home}/releases/{RELEASE_ID}/app"
            environment = unit.environment()
            assert environment["AROUNDTHEWORLD_POOL"] == pool["name"]
            assert environment["AROUNDTHEWORLD_RELEASE"] == RELEASE_ID
            assert environment["AROUNDTHEWORLD_CONFIG"] == workers.CONFIG
            start = unit.one("Service", "ExecStart").split()
            if pool["command"]:
                assert start[0] == "/usr/bin/env"
                continue
            assert start[0] == f"{home}/environments/{ENVIRONMENT_ID}/bin/python"
            assert start[start.index("--drain-timeout") + 1] == str(pool["drain_timeout"])
            warn = MODELS[model].get("aroundtheworld_block_warn", 1)
            assert start[start.index("--block-warn") + 1] == str(warn)
            # Where each of the two units that share this drop-in has its private sockets.
            assert start[start.index("--control") + 1] == "${RUNTIME_DIRECTORY}/control.sock"
            assert start[start.index("--private-app") + 1] == "${RUNTIME_DIRECTORY}/app.sock"


@every_model
def test_every_process_runs_as_the_sites_user_in_the_sandbox(model):
    _, units = units_of(MODELS[model])
    user = MODELS[model].get("aroundtheworld_user", "tornado")
    for name in units:
        if not name.endswith(".service") or "-metrics" in name:
            continue
        assert units[name].one("Service", "User") == user
        assert units[name].one("Service", "CapabilityBoundingSet") == ""
        assert units[name].one("Service", "ProtectSystem") == "strict"


def test_a_stand_in_holds_and_has_private_sockets_of_its_own():
    _, units = units_of({})
    worker, stand_in = units["aroundtheworld@.service"], units["aroundtheworld-handover@.service"]
    assert worker.one("Service", "RuntimeDirectory") == "aroundtheworld/%i"
    assert stand_in.one("Service", "RuntimeDirectory") == "aroundtheworld/handover-%i"
    assert stand_in.one("Service", "Sockets") == "aroundtheworld@%i.socket"
    assert (worker.environment()["HOLD"], stand_in.environment()["HOLD"]) == ("", "--hold")


def test_a_command_gets_its_port_or_the_socket_and_notes_what_it_runs():
    _, units = units_of(MODELS["commands"])
    binds = units["aroundtheworld@10002.service.d/pool.conf"]
    takes = units["aroundtheworld@10004.service.d/pool.conf"]
    # systemd reads %% as %, as the operator wrote it.
    command = "/usr/bin/env app --port=10002 --on 127.0.0.1 --at %%d"
    assert binds.one("Service", "ExecStart") == command
    assert takes.one("Service", "ExecStart") == "/usr/bin/env gunicorn shop.admin:app"
    assert binds.all("Unit", "Requires") == []
    assert takes.all("Unit", "Requires") == ["aroundtheworld@%i.socket"]
    for unit in (binds, takes):
        assert unit.one("Service", "Type") == "exec"
        assert unit.one("Service", "WatchdogSec") == "0"
        assert "/runs" in unit.one("Service", "ExecStartPre")
    kinds = [one.environment()["AROUNDTHEWORLD_KIND"] for one in (binds, takes)]
    assert kinds == ["binds", "takes"]


def test_every_command_is_tried_before_any_worker_runs_it():
    _, units = units_of(MODELS["commands"])
    first, second = units["aroundtheworld-trial.service"].all("Service", "ExecStart")
    assert " -m aroundtheworld_runner.trial --pool public --path / " in first
    assert first.endswith(
        "--start-timeout 30 --binds -- /usr/bin/env app --port={port} --on {address} --at %%d"
    )
    assert "--path /admin/health?full=1 " in second
    assert second.endswith("--start-timeout 60 -- /usr/bin/env gunicorn shop.admin:app")


def test_no_connection_to_a_command_is_kept():
    pools = [ADMIN | {"command": "serve"}, PUBLIC]
    _, site, _ = site_of({"aroundtheworld_pools": pools})
    kept = {one[0]: find(one[1], "keepalive") for one in find(site, "upstream")}
    assert kept == {"aroundtheworld_admin_backends": [], "aroundtheworld_backends": [["48"]]}


def test_blocking_and_other_pools_differ():
    _, units = units_of({})
    public = units["aroundtheworld@10001.service.d/pool.conf"]
    admin = units["aroundtheworld@10004.service.d/pool.conf"]
    assert public.one("Service", "WatchdogSec") != "0"
    assert admin.one("Service", "WatchdogSec") == "0"
    weights = [
        int(units[f"aroundtheworld-{pool}.slice"].one("Slice", "CPUWeight"))
        for pool in ("public", "admin")
    ]
    assert weights[0] > weights[1]


@pytest.mark.parametrize(
    ("address", "stream"),
    [("127.0.0.1", "127.0.0.1:%i"), ("10.0.0.5", "10.0.0.5:%i"), ("::1", "[::1]:%i")],
)
def test_workers_and_nginx_agree_on_the_address(address, stream):
    given = {"aroundtheworld_listen_address": address}
    _, units = units_of(given)
    assert units["aroundtheworld@.socket"].one("Socket", "ListenStream") == stream
    _, site, _ = site_of(given)
    servers = find(find(site, "upstream", "aroundtheworld_backends")[0][0], "server")
    assert [server[0] for server in servers] == [
        stream.replace("%i", str(port)) for port in (10001, 10002, 10003)
    ]


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
    given = {
        "aroundtheworld_secrets": {"cookie_secret": "48151623"},
        "aroundtheworld_environment": {"DATABASE_URL": "postgresql://ada:48151623@db/shop"},
    }
    assert "48151623" not in render(template, variables_for(given))


def test_the_preparation_imports_the_app_and_another_unit_migrates():
    units = units_of({"aroundtheworld_import_timeout": 7, "aroundtheworld_migrate_timeout": 8})[1]
    prepare, migrate = (units[f"aroundtheworld-{step}.service"] for step in ("prepare", "migrate"))
    command = prepare.one("Service", "ExecStart")
    assert command.endswith(" -m aroundtheworld_runner aroundtheworld.app:make_app --check")
    assert migrate.one("Service", "ExecStart").endswith("python -m aroundtheworld migrate")
    assert prepare.one("Service", "TimeoutStartSec") == "7"
    assert migrate.one("Service", "TimeoutStartSec") == "8"


def test_without_a_migrate_command_nothing_migrates():
    assert (
        "aroundtheworld-migrate.service" not in units_of({"aroundtheworld_migrate_command": ""})[1]
    )


def test_a_percent_sign_in_the_migrate_command_stays_one():
    given = {"aroundtheworld_migrate_command": "date +%Y"}
    unit = units_of(given)[1]["aroundtheworld-migrate.service"]
    assert unit.one("Service", "ExecStart").endswith("date +%%Y")


def test_workers_and_preparation_share_one_sandbox():
    _, units = units_of({})
    worker = units["aroundtheworld@.service"].sections["Service"]
    prepare = units["aroundtheworld-prepare.service"].sections["Service"]
    sandbox = Unit("[Service]\n" + render("process.j2", variables_for({}))).sections["Service"]
    assert {"ProtectSystem", "NoNewPrivileges", "SystemCallFilter", "User"} <= set(sandbox)
    for name, values in sandbox.items():
        assert worker[name][-len(values) :] == values
        assert prepare[name][-len(values) :] == values


@every_model
def test_nginx_sends_each_path_to_its_pool_and_all_workers_are_listed(model):
    site_name = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    plan, site, server = site_of(MODELS[model])
    upstreams = {one[0]: one[1] for one in find(site, "upstream")}
    assert set(upstreams) == {pool["upstream"] for pool in plan["pools"]}
    for pool in plan["pools"]:
        servers = find(upstreams[pool["upstream"]], "server")
        assert servers == [[server, "max_fails=0"] for server in pool["servers"]]
        for path in pool["paths"]:
            for match in [["/"]] if path == "/" else [["=", path], [f"{path}/"]]:
                ((block,),) = find(server_locations(server), *match)
                assert find(block, "proxy_pass") == [[f"http://{pool['upstream']}{match[-1]}"]]
                assert find(block, "proxy_read_timeout") == [[f"{pool['read_timeout']}s"]]
                replays = ["error", "timeout"] if pool["replay"] else ["off"]
                assert find(block, "proxy_next_upstream") == [replays]
                # The watchdog ends a worker that has been blocked for two thirds of it, or later.
                limit = find(block, "proxy_next_upstream_timeout")
                watchdog = pool["watchdog"] or 3600
                assert not pool["replay"] or 0 < int(limit[0][0].rstrip("s")) < watchdog * 2 / 3
                allowed = [[f"{site_name}_{pool['name']}_in_flight", str(pool["max_in_flight"])]]
                assert find(block, "limit_conn") == (allowed if pool["max_in_flight"] else [])
                assert bool(find(block, "if")) is not pool["open_in_maintenance"]


def test_who_is_not_let_into_a_busy_pool_is_told_so_at_once():
    _, site, server = site_of({})
    zones = find(site, "limit_conn_zone")
    # One key for all, or each visitor would be let in as often as that.
    assert zones == [["$server_name", "zone=aroundtheworld_admin_in_flight:64k"]]
    ((block,),) = find(server_locations(server), "/admin/")
    assert find(block, "limit_conn_status") == [["429"]]
    # The site's own page for 503 is not inherited by a location that names one of its own.
    assert find(block, "error_page") == [
        ["429", "=503", "@admin_busy"],
        ["503", "/.aroundtheworld/closed"],
    ]
    ((busy,),) = find(server_locations(server), "@admin_busy")
    assert ["Retry-After", "5", "always"] in find(busy, "add_header")
    ((status, page),) = find(busy, "return")
    assert status == "503"
    assert "The dashboard is busy" in page
    assert not {"'", "$"} & set(page)


def test_a_websocket_may_be_quiet_for_long():
    pools = [PUBLIC, {"name": "live", "ports": [10005], "paths": ["/live"], "websocket": True}]
    _, _, server = site_of({"aroundtheworld_pools": pools})
    ((block,),) = find(server_locations(server), "/live/")
    assert find(block, "proxy_read_timeout") == [["86400s"]]
    pools[1]["read_timeout"] = 90
    _, _, server = site_of({"aroundtheworld_pools": pools})
    ((block,),) = find(server_locations(server), "/live/")
    assert find(block, "proxy_read_timeout") == [["90s"]]


def test_no_location_matches_more_than_its_path():
    _, _, server = site_of({})
    assert sorted(one[:-1] for one in server_locations(server)) == [
        ["/"],
        ["/admin/"],
        ["=", "/.aroundtheworld/closed"],
        ["=", "/.aroundtheworld/nginx"],
        ["=", "/admin"],
        ["@admin_busy"],
        ["~", "//"],
    ]


def server_locations(server):
    return find(server, "location")


def test_the_pool_that_serves_the_rest_is_the_upstream_without_a_name():
    plan, _, _ = site_of({})
    assert [pool["upstream"] for pool in plan["pools"]] == [
        "aroundtheworld_backends",
        "aroundtheworld_admin_backends",
    ]


def test_a_closed_site_says_when_to_come_back_and_is_not_kept():
    _, _, server = site_of({"aroundtheworld_maintenance_retry_after": 90})
    assert find(server, "error_page") == [["503", "/.aroundtheworld/closed"]]
    ((page,),) = find(server_locations(server), "=", "/.aroundtheworld/closed")
    assert find(page, "add_header") == [
        ["Retry-After", "90", "always"],
        ["Cache-Control", "no-store", "always"],
    ]
    assert find(page, "internal") == [[]]


@pytest.mark.parametrize(
    ("names", "host", "listen"),
    [
        (["_"], {"ipv6": True}, [["80", "default_server"], ["[::]:80", "default_server"]]),
        (["_"], {"ipv6": False}, [["80", "default_server"]]),
        (["a.example", "b.example"], {"ipv6": True}, [["80"], ["[::]:80"]]),
        # A neighbour has all of IPv4 and IPv6 in one socket, beside which there is no other.
        (["_"], {"dual_stack": True}, [["[::]:80", "default_server"]]),
        (["a.example"], {"ipv6": False, "dual_stack": True}, [["[::]:80"]]),
    ],
)
def test_only_a_site_for_every_name_is_the_default_server(names, host, listen):
    _, _, server = site_of({"aroundtheworld_server_names": names}, **host)
    assert find(server, "listen") == listen
    assert find(server, "server_name") == [names]


@every_model
def test_a_second_site_on_the_host_shares_no_name_with_this_one(model):
    """Everything that nginx or systemd knows by name begins with the site's."""
    site_name = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    _, site, _ = site_of(MODELS[model])
    names = [one[0] for kind in ("upstream", "log_format") for one in find(site, kind)]
    names += [one[1].lstrip("$") for one in find(site, "map")]
    names += [one[1].removeprefix("zone=") for one in find(site, "limit_conn_zone")]
    assert len(names) >= 4
    assert all(name.startswith(site_name) for name in names)


def test_text_given_on_the_command_line_renders_as_numbers_do():
    texts = {"aroundtheworld_http_port": "8080", "aroundtheworld_maintenance_retry_after": "90"}
    numbers = {name: int(value) for name, value in texts.items()}
    assert render("site.conf.j2", variables_for(texts)) == render(
        "site.conf.j2", variables_for(numbers)
    )


@pytest.mark.parametrize("template", ["units.j2", "site.conf.j2", "run.sh.j2"])
def test_a_name_that_is_not_defined_is_an_error(template):
    variables = variables_for({})
    del variables["aroundtheworld_home"]
    with pytest.raises(AnsibleError, match="aroundtheworld_home"):
        render(template, variables)


def test_blocking_workers_are_exchanged_first():
    plan = variables_for(MODELS["several_paths"])["__aroundtheworld_plan"]
    assert plan["workers"] == [
        {
            "port": port,
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
        }
        for pool, ports in (
            ("admin", [10004]),
            ("public", [10001, 10002, 10003]),
            ("api", [10005, 10006]),
        )
        for port in ports
    ]


def test_metrics_listen_where_they_may_and_know_every_worker():
    given = MODELS["metrics"] | {
        "aroundtheworld_pools": [
            PUBLIC,
            ADMIN,
            {"name": "flask", "ports": [10005], "paths": ["/flask"], "command": "gunicorn shop"},
        ],
    }
    _, units = units_of(given)
    assert units["aroundtheworld-metrics.socket"].one("Socket", "ListenStream") == "[fd00::5]:9145"
    service = units["aroundtheworld-metrics.service"]
    assert service.one("Service", "ExecStart").split()[4:] == [
        "aroundtheworld",
        "/var/lib/tornado/aroundtheworld",
        "127.0.0.1:9146",
        "public:10001,10002,10003",
        "admin:10004:blocking",
        "flask:10005:command",
    ]
    assert service.all("Service", "LoadCredential") == []
    assert service.all("Service", "EnvironmentFile") == []
    assert service.all("Service", "ReadWritePaths") == []
    assert service.one("Service", "ProtectSystem") == "strict"
    assert service.one("Service", "CapabilityBoundingSet") == ""


def test_nginx_tells_its_own_numbers_on_the_host_alone():
    site = parse_nginx(render("site.conf.j2", variables_for(MODELS["metrics"])))
    numbers = find(site, "server")[1][0]
    assert find(numbers, "listen") == [["127.0.0.1:9146"]]
    assert find(numbers, "location", "=", "/nginx") == [
        [[["stub_status"], ["allow", "127.0.0.1"], ["deny", "all"]]]
    ]
    assert find(numbers, "location", "/") == [[[["return", "404"]]]]


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
    given = {f"aroundtheworld_{name}": value for name, value in variables.items()}
    plan = variables_for({"aroundtheworld_pools": pools, **given})["__aroundtheworld_plan"]
    admin, public = (worker["health"] for worker in plan["workers"][:2])
    assert public == {"path": "/", "host": host, "scheme": "http", "statuses": ["2xx", "3xx"]}
    assert admin == {"path": "/admin/up", "host": host, "scheme": "http", "statuses": ["401"]}


def test_a_command_is_tried_by_the_same_rule():
    pool = ADMIN | {"command": "serve", "health_status": ["2xx", 404]}
    names = {"aroundtheworld_server_names": ["shop.example.org"]}
    text = render(
        "trial.service.j2", variables_for({"aroundtheworld_pools": [PUBLIC, pool], **names})
    )
    trial = next(line for line in text.splitlines() if "runner.trial" in line)
    assert "AROUNDTHEWORLD_HEALTH_HOST=shop.example.org " in trial
    assert "AROUNDTHEWORLD_HEALTH_STATUS=2xx,404 " in trial
