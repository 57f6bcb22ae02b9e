"""Every mistake in a pool is answered with its place, what it is and what is allowed."""

import pytest

from aroundtheworld_controller.plan import describe_site
from aroundtheworld_controller.pool_rules import limit_problems
from tests.render import APP, JOB, QUEUE
from tests.role.refusals import A_NAME, A_PORT, DEFAULTS, case, pools, problems_with
from tests.role_files import load_yaml

A_PATH = "letters, digits, '-', '.', '_', '~' and single slashes, and no '.' or '..' between them"
OWN_PORT = "each worker needs its own port"
ONE_POOL = "a path belongs to one pool"
SETTINGS = load_yaml("meta/pool_settings.yml")


ONE_PROBLEM = [
    case("port zero", pools(public={"ports": [0]}), "pools[0].ports[0]: 0 ", A_PORT),
    case("port too high", pools(admin={"ports": [65536]}), "pools[1].ports[0]: 65536 ", A_PORT),
    case("port negative", pools(admin={"ports": [-1]}), "pools[1].ports[0]: -1 ", A_PORT),
    case(
        "port twice in a pool",
        pools(public={"ports": [10001, 10001]}),
        "pools[0].ports[1]: 10001 is already taken by aroundtheworld_pools[0].ports[0]",
        OWN_PORT,
    ),
    case(
        "port twice across pools",
        pools(admin={"ports": [10002]}),
        "pools[1].ports[0]: 10002 is already taken by aroundtheworld_pools[0].ports[1]",
        OWN_PORT,
    ),
    case(
        "port of nginx",
        {"aroundtheworld_http_port": 10004},
        "pools[1].ports[0]: 10004 is already taken by aroundtheworld_http_port",
        OWN_PORT,
    ),
    case(
        "pool without ports",
        pools(admin={"ports": []}),
        "pools[1].ports: [] ",
        "pool 'admin' needs at least one of its ports, or else a command that takes work from a",
    ),
    case(
        "pool without paths",
        pools(admin={"paths": []}),
        "pools[1].paths: [] ",
        "pool 'admin' needs at least one of its paths",
    ),
    *(
        case(
            f"path {path!r} of the role",
            pools(admin={"paths": [path]}),
            f"pools[1].paths[0]: {path!r} ",
            "below '/.aroundtheworld/' the role needs for itself",
        )
        for path in ("/.aroundtheworld", "/.aroundtheworld/", "/.aroundtheworld/nginx")
    ),
    case(
        "no pools",
        {"aroundtheworld_pools": []},
        "aroundtheworld_pools: no pool has '/'",
        "there are none",
    ),
    case(
        "no pool for the rest",
        pools(public={"paths": ["/shop"]}),
        "aroundtheworld_pools: no pool has '/' among its paths (/admin, /shop)",
        "exactly one must",
    ),
    case(
        "pool name twice",
        pools(admin={"name": "public"}),
        "pools[1].name: 'public' is already the name of aroundtheworld_pools[0]",
        "each needs its own",
    ),
    *(
        case(
            f"pool name {name!r}", pools(admin={"name": name}), f"pools[1].name: {name!r} ", A_NAME
        )
        for name in ("", "Admin", "ad-min", "ad min", "ad/min", "1st", "x" * 32, "admin\n", "ädmin")
    ),
    case(
        "path twice in a pool",
        pools(admin={"paths": ["/admin", "/admin"]}),
        "pools[1].paths[1]: '/admin' is already served by aroundtheworld_pools[1].paths[0]",
        ONE_POOL,
    ),
    case(
        "path twice, once with a slash behind",
        pools(public={"paths": ["/", "/admin/"]}),
        "pools[1].paths[0]: '/admin' is already served by aroundtheworld_pools[0].paths[1]",
        ONE_POOL,
    ),
    case(
        "two pools for the rest",
        pools(admin={"paths": ["/"]}),
        "pools[1].paths[0]: '/' is already served by aroundtheworld_pools[0].paths[0]",
        ONE_POOL,
    ),
    *(
        case(
            f"path {path!r}",
            pools(admin={"paths": [path]}),
            f"pools[1].paths[0]: {path!r} ",
            "a path begins with a slash",
        )
        for path in ("admin", "", "*", "~ /admin")
    ),
    *(
        case(
            f"path {path!r}",
            pools(admin={"paths": [path]}),
            f"pools[1].paths[0]: {path!r} ",
            A_PATH,
        )
        for path in (
            *(
                "/admin/../x",
                "/./admin",
                "/a b",
                "/admin//x",
                "/a;b",
                "/a{b}",
                "/a$b",
                "/%61",
                "/a?b",
            ),
            *("/admin\n", '/a"b', "/ädmin"),
        )
    ),
    *(
        case(
            f"{key} {value}",
            pools(admin={key: value, **({"rate": "1/s"} if key == "burst" else {})}),
            f"pools[1].{key}: {value} ",
            f"must be from {low} to {high}",
        )
        for key, setting in SETTINGS.items()
        if "range" in setting
        for low, high in [setting["range"]]
        for value in (low - 1, high + 1)
    ),
    *(
        case(
            f"{key} {value!r}",
            pools(admin={key: value}),
            f"pools[1].{key}: {value!r} ",
            "a share of the host's memory, as in '50%', or 'infinity'",
        )
        for key in ("memory_high", "memory_max")
        for value in ("lots", "0", "-1", "512 M", "512MB", "0%", "101%", "50 %", "")
    ),
    case(
        "a stream that is compressed",
        pools(admin={"stream": True, "compress": True}),
        "pools[1].compress: true is not allowed in pool 'admin', whose stream is true",
    ),
    case(
        "sticky pool that gives up too soon",
        pools(public={"sticky": "cookie", "read_timeout": 30}),
        "pools[0].read_timeout: 30 is not allowed in pool 'public'",
        "sticky and whose drain_timeout is 30",
    ),
    case(
        "blocking sticky pool",
        pools(admin={"sticky": "cookie"}),
        "pools[1].read_timeout: 300 is not allowed in pool 'admin'",
        "sticky and whose drain_timeout is 300",
    ),
    case(
        "no way to be sticky",
        pools(public={"sticky": "hash"}),
        "pools[0].sticky: 'hash' is not allowed",
        "none, cookie",
    ),
    case(
        "replay of a blocking pool",
        pools(admin={"replay": True}),
        "pools[1].replay: true is not allowed in pool 'admin'",
        "Leave it out",
    ),
    *(
        case(
            f"watchdog shorter than {more}",
            pools(admin={"watchdog": 30, **more}),
            f"pools[1].watchdog: 30 is not allowed in pool 'admin', which is blocking and whose "
            f"read_timeout is {patience}",
            f"Give 0, or at least {patience}",
        )
        for more, patience in (({}, 300), ({"read_timeout": 31}, 31))
    ),
    *(
        case(
            f"rate {value!r}",
            pools(admin={"rate": value}),
            f"pools[1].rate: {value!r} ",
            "from 1 to 999999, as in '10/s' or '30/m', or leave it out for any number",
        )
        for value in ("0/s", "10", "10r/s", "-1/s", "10/h", "1.5/s", "10/s\n", "1000000/s")
    ),
    *(
        case(
            f"max_body_size {value!r}",
            pools(admin={"max_body_size": value}),
            f"pools[1].max_body_size: {value!r} ",
            "a number with k, m or g behind it, as in '16m'",
        )
        for value in ("lots", "-1", "1t", "1 m", "1.5m", "1m\n")
    ),
    *(
        case(
            f"allow {value!r}",
            pools(admin={"allow": ["192.0.2.1", value]}),
            f"pools[1].allow[1]: {value!r} is not allowed; {expected}.",
        )
        for value, expected in (
            *(
                (typo, "it must be an address or a network, as in '192.0.2.10' or '2001:db8::/32'")
                for typo in (
                    "192.0.2.256",
                    "192.0.2",
                    "192.0.2.0/33",
                    "office",
                    "",
                    "192.0.2.1;",
                    "fe80::1%eth0",
                    "192.0.2.0-192.0.2.9",
                )
            ),
            ("192.0.2.7/24", "write the network '192.0.2.0/24', or the address '192.0.2.7'"),
            ("2001:db8::1/32", "write the network '2001:db8::/32', or the address '2001:db8::1'"),
            ("::ffff:192.0.2.7", "write it as IPv4, '192.0.2.7/32'"),
            ("0.0.0.0/0", "that is everybody"),
            ("::/0", "that is everybody"),
            ("2000::/3", "that is everybody"),
        )
    ),
    *(
        case(
            f"allow of everybody, {count} networks",
            pools(admin={"allow": ["192.0.2.7", "2001:db8::/32", *networks]}),
            f"pools[1].allow: {', '.join(map(repr, [own, *networks]))} is not allowed; that is",
        )
        for count, own, networks in (
            ("two", "192.0.2.7", ["0.0.0.0/1", "128.0.0.0/1"]),
            ("three", "192.0.2.7", ["128.0.0.0/2", "0.0.0.0/1", "192.0.0.0/2"]),
            ("four", "2001:db8::/32", ["2000::/5", "2800::/5", "3000::/5", "3800::/5"]),
        )
    ),
    case(
        "name that the site does not have",
        pools(admin={"server_names": ["b.example"]})
        | {"aroundtheworld_server_names": ["a.example", "_"]},
        "pools[1].server_names[0]: 'b.example' is not allowed; it must be one of "
        "aroundtheworld_server_names: a.example.",
    ),
    case(
        "every name for itself",
        pools(admin={"server_names": ["_"]}) | {"aroundtheworld_server_names": ["a.example", "_"]},
        "pools[1].server_names[0]: '_' is not allowed; it must be one of ",
    ),
    case(
        "names of the pool for the rest",
        pools(public={"server_names": ["a.example"]})
        | {"aroundtheworld_server_names": ["a.example", "_"]},
        "pools[0].server_names: a.example is not allowed in pool 'public', which serves '/'",
        "all names that no other pool has for itself",
    ),
    case(
        "names of two pools that are not the same",
        pools(
            {
                "name": "live",
                "ports": [10005],
                "paths": ["/live"],
                "server_names": ["a.example", "b.example"],
            },
            admin={"server_names": ["a.example"]},
        )
        | {"aroundtheworld_server_names": ["_", "a.example", "b.example"]},
        "pools[2].server_names: a.example, b.example is not allowed; pool 'admin' has a.example",
        "two pools share all of their names or none",
    ),
    *(
        case(
            f"port of its own {port}",
            pools(admin={"http_port": port}) | more,
            f"pools[1].{expected}",
        )
        for port, more, expected in (
            (80, {}, "http_port: 80 is not allowed; it is aroundtheworld_http_port, where the"),
            (443, {}, "http_port: 443 is not allowed; it is aroundtheworld_https_port, where the"),
            (10004, {}, "ports[0]: 10004 is already taken by aroundtheworld_pools[1].http_port"),
        )
    ),
    case(
        "port of its own of the pool for the rest",
        pools(public={"http_port": 8081}),
        "pools[0].http_port: 8081 is not allowed in pool 'public', which serves '/'",
    ),
    case(
        "port of its own and names",
        pools(admin={"http_port": 8081, "server_names": ["a.example"]})
        | {"aroundtheworld_server_names": ["_", "a.example"]},
        "pools[1].http_port: 8081 is not allowed beside server_names; pool 'admin' is either",
    ),
    case(
        "port of its own that metrics need",
        pools(admin={"http_port": 9146}) | {"aroundtheworld_metrics_port": 9145},
        "aroundtheworld_metrics_port: 9145 is not allowed, and needs the port after it, which is "
        "taken by aroundtheworld_pools[1].http_port",
    ),
    case(
        "no name left",
        pools(admin={"server_names": ["a.example"]})
        | {"aroundtheworld_server_names": ["a.example"]},
        "aroundtheworld_server_names: a.example are all names of pools for themselves",
        "leave one for the others",
    ),
    case(
        "policy of real time",
        pools(admin={"cpu_scheduling": "fifo"}),
        "pools[1].cpu_scheduling: 'fifo' is not allowed; allowed: other, batch, idle",
    ),
    *(
        case(
            f"command {value!r}",
            pools(admin={"command": value}),
            f"pools[1].command: {value!r} ",
            expected,
        )
        for value, expected in (
            (" ", "it must name a program"),
            ("gunicorn\nshop", "it must be one line"),
            ("gunicorn ; rm", "it has ';', which means something to a shell; there is no shell"),
            ("a\0", "it must be one line, without control characters"),
        )
    ),
    case(
        "command that binds an unknown port",
        pools(admin={"command": "serve --port 10004", "binds": True}),
        "pools[1].command: 'serve --port 10004' is not allowed in pool 'admin'",
        "must name the port as {port}",
    ),
    case(
        "command with a port that does not bind",
        pools(admin={"command": "serve --port {port}"}),
        "pools[1].command: 'serve --port {port}' is not allowed in pool 'admin'",
        "set binds: true if it binds its port itself",
    ),
    case(
        "binds without a command",
        pools(admin={"binds": True}),
        "pools[1].binds: true is not allowed without command",
        "the runner takes systemd's socket",
    ),
    case(
        "processes of a pool with ports",
        pools(admin={"processes": 2}),
        "pools[1].processes: 2 is not allowed in pool 'admin', which has ports, and a worker for",
    ),
    *(
        case(
            f"{next(iter(setting))} of a queue",
            pools(QUEUE | setting),
            f"pools[2].{next(iter(setting))}: {value} is not allowed in pool 'mail', which has no",
            "nobody can ask it for anything. Leave it out, or give it ports",
        )
        for setting, value in (
            ({"paths": ["/mail"]}, "['/mail']"),
            ({"path": "raw"}, "'raw'"),
            ({"sticky": "cookie"}, "'cookie'"),
            ({"binds": True}, "true"),
            ({"blocking": True}, "true"),
            ({"health_path": "/up"}, "'/up'"),
            ({"health_status": ["2xx"]}, "['2xx']"),
            ({"start_timeout": 5}, "5"),
            ({"stream_timeout": 5}, "5"),
            ({"read_timeout": 5}, "5"),
            ({"watchdog": 5}, "5"),
            ({"max_in_flight": 5}, "5"),
            ({"rate": "5/s"}, "'5/s'"),
            ({"burst": 5}, "5"),
            ({"max_body_size": "5m"}, "'5m'"),
            ({"client_timeout": 5}, "5"),
            ({"allow": ["192.0.2.1"]}, "['192.0.2.1']"),
            ({"compress": True}, "true"),
            ({"http_port": 8081}, "8081"),
            ({"websocket": True}, "true"),
            ({"stream": True}, "true"),
            ({"replay": True}, "true"),
            ({"open_in_maintenance": False}, "false"),
        )
    ),
    *(
        case(
            f"{word} of a queue",
            pools(QUEUE | {"command": f"work {word}"}),
            f"pools[2].command: 'work {word}' is not allowed in pool 'mail', which has no ports",
        )
        for word in ("{port}", "{address}")
    ),
    *(
        case(
            f"at {at!r}",
            pools(JOB | {"at": at}),
            f"pools[2].at[{place}]: {text!r} is not allowed; {expected}",
        )
        for at, place, text, expected in (
            *(
                (text, 0, text, "it must be a time in systemd's calendar")
                for text in (
                    "3am",
                    "0 3 * * *",
                    "tomorrow",
                    "@daily",
                    "UTC",
                    "",
                    "03:00\n",
                    "03:00;x",
                )
            ),
            (["03:00", "Mun 04:00"], 1, "Mun 04:00", "it must be a time in systemd's calendar"),
            (750, 0, "750", "it must be a time in systemd's calendar"),
            ("24:00", 0, "24:00", "its hour must be from 0 to 23"),
            ("*:60", 0, "*:60", "its minute must be from 0 to 59"),
            ("*-13-01", 0, "*-13-01", "its month must be from 1 to 12"),
            ("*-*-28..32", 0, "*-*-28..32", "its day must be from 1 to 31"),
        )
    ),
    case("at of yes", pools(JOB | {"at": True}), "pools[2].at: True is not allowed; it must be a"),
    case("at in a list", pools(JOB | {"at": [["03:00"]]}), "pools[2].at[0]: ['03:00'] is not"),
    case(
        "at of a pool with ports",
        pools(admin={"at": "03:00"}),
        "pools[1].at: ['03:00'] is not allowed in pool 'admin', which has ports, so that it serves",
    ),
    case(
        "at without a command",
        pools({"name": "nightly", "at": "03:00"}),
        "pools[2].ports: [] is not allowed; pool 'nightly' needs at least one of its ports, or",
    ),
    case(
        "processes of a job",
        pools(JOB | {"processes": 2}),
        "pools[2].processes: 2 is not allowed in pool 'nightly', which has at, and is never run",
    ),
    case(
        "run_timeout of a queue",
        pools(QUEUE | {"run_timeout": 60}),
        "pools[2].run_timeout: 60 is not allowed in pool 'mail', which has no at",
    ),
    case(
        "run_timeout of a pool with ports",
        pools(admin={"run_timeout": 60}),
        "pools[1].run_timeout: 60 is not allowed in pool 'admin', which has ports, and is no job",
    ),
    case(
        "burst of a job",
        pools(JOB | {"burst": 5}),
        "pools[2].burst: 5 is not allowed in pool 'nightly', which has no ports",
    ),
    case(
        "paths of a job",
        pools(JOB | {"paths": ["/nightly"]}),
        "pools[2].paths: ['/nightly'] is not allowed in pool 'nightly', which has no ports",
    ),
    case(
        "name of a queue twice",
        pools(QUEUE | {"name": "admin"}),
        "pools[2].name: 'admin' is already the name of aroundtheworld_pools[1]",
    ),
    case(
        "command of a queue",
        pools(QUEUE | {"command": "work | more"}),
        "pools[2].command: 'work | more' is not allowed; it has '|'",
    ),
    case(
        "memory of a queue",
        pools(QUEUE | {"memory_max": "lots"}),
        "pools[2].memory_max: 'lots' is not allowed; give",
    ),
    case(
        "directive of a queue",
        pools(QUEUE | {"unit": {"Restart": "no"}}),
        "pools[2].unit.Restart: is not allowed",
    ),
    case(
        "maintenance of a queue",
        pools(QUEUE) | {"aroundtheworld_maintenance": "mail"},
        "aroundtheworld_maintenance: 'mail' is not allowed; it must be 'public', 'all' or the name "
        "of a pool: public, admin.",
    ),
    case(
        "watchdog of a command",
        pools(public={"command": "serve", "watchdog": 30}),
        "pools[0].watchdog: 30 is not allowed in pool 'public'",
        "so leave it out",
    ),
    *(
        case(
            f"health path {value!r} of {where}",
            changes,
            f"health_path: {value!r} is not allowed",
            "must be a URL path, with a query or without",
        )
        for value in ("health", "/a b", "/a%20b", "/$a", "/a\n")
        for where, changes in (
            ("a pool", pools(admin={"health_path": value})),
            ("the site", {"aroundtheworld_health_path": value}),
        )
    ),
    *(
        case(
            f"health status {value!r} of {where}",
            changes,
            f"health_status[0]: {value!r} is not allowed",
            "must be a status from 200 to 599",
        )
        for value in ("ok", "2XX", "20", "100", "600", "xx2", "2xx,404", "200-299")
        for where, changes in (
            ("a pool", pools(admin={"health_status": [value]})),
            ("the site", {"aroundtheworld_health_status": [value]}),
        )
    ),
    case(
        "unknown pool key", pools(admin={"prots": [1]}), "pools[1].prots: ", "did you mean ports?"
    ),
    case("odd pool key", pools(admin={"zzz": 1}), "pools[1].zzz: ", "; allowed: allow, "),
]


@pytest.mark.parametrize(("changes", "parts"), ONE_PROBLEM)
def test_a_mistake_is_named_shown_and_answered(changes, parts):
    (problem,) = problems_with(changes)
    for part in parts:
        assert part in problem


def test_a_path_that_only_begins_as_the_roles_own_do_is_an_apps():
    assert problems_with(pools(admin={"paths": ["/.aroundtheworlds", "/.well-known"]})) == []


def test_every_setting_for_visitors_is_refused_in_a_queue_by_a_test():
    tried = {parameters.id.removesuffix(" of a queue") for parameters in ONE_PROBLEM}
    # Of these, the names, passwords and certificates have to fit as well.
    left = {"basic_auth", "server_names", "client_ca"}
    assert {key for key, setting in SETTINGS.items() if setting.get("serving")} - left <= tried


def test_an_app_is_not_needed_where_every_pool_has_a_command():
    changes = pools(public={"command": "serve"}, admin={"command": "serve {port}", "binds": True})
    assert problems_with(changes | {"aroundtheworld_make_app": ""}) == []


ALLOWED = [
    pools(public={"ports": [1, 65535]}),
    pools(admin={"paths": ["/admin/", "/reports/yearly", "/a.b-c_d~e", "/.well-known"]}),
    pools(admin={"memory_max": "512M", "name": "a1_b", "watchdog": 0}),
    pools(QUEUE | {"processes": 64, "drain_timeout": 3600, "nice": 19, "memory_high": "10%"}),
    *(
        pools(JOB | {"at": at, "run_timeout": 604800})
        for at in (
            *("03:00", "*-*-* 03:00:00", "daily", "weekly UTC", "Mon..Fri 08:00", "*:00/15"),
            *("Mon,Wed *-*-* 08:00 Europe/Berlin", "*-*~3/1", "*-02~01", "12..14:00", "Sat"),
            *("Thu,Fri 2026-*-1,5 11:12:13", "2027-01-01", "*-*-*  03:00", "22:00..45/5"),
            ["03:00", "Sun 12:00"],
        )
    ),
    pools(QUEUE | {"ports": [], "paths": [], "blocking": False, "unit": {"LimitNOFILE": 1024}}),
]


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_what_is_right_is_accepted(changes):
    assert problems_with(changes) == []


MACHINE = {"memory": 4 * 1024**3, "processes": 32768}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"memory_max": "5G"}, "memory_max: '5G' of pool 'admin' is more than h has (4096M); give"),
        (
            {"memory_high": "4097M", "memory_max": "infinity"},
            "memory_high: '4097M' of pool 'admin' is more than h has",
        ),
        (
            {"memory_max": "1G", "memory_high": "2G"},
            "memory_high: '2G' of pool 'admin' is more than",
        ),
        ({"memory_high": "51%"}, "memory_high: '51%' of pool 'admin' is more than its memory_max"),
        ({"memory_max": "4294967297"}, "memory_max: '4294967297' of pool 'admin' is more than h"),
        ({"tasks_max": 32769}, "tasks_max: 32769 of pool 'admin' is more than h can have (32768)"),
    ],
)
def test_a_limit_larger_than_the_host_is_named_with_its_pool(settings, expected):
    site = describe_site(DEFAULTS | APP | pools(admin=settings))
    (problem,) = limit_problems(site.pools, MACHINE, "h")
    assert problem.startswith(f"aroundtheworld_pools[1].{expected}")


@pytest.mark.parametrize("limit", ["4G", "100%", "infinity", "4194304K", "4294967296"])
def test_a_limit_as_large_as_the_host_is_allowed(limit):
    settings = {"memory_max": limit, "memory_high": limit}
    site = describe_site(DEFAULTS | APP | pools(admin=settings))
    assert list(limit_problems(site.pools, MACHINE, "h")) == []
