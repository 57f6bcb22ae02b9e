"""Every mistake is answered with the variable's name, what was given and what is allowed."""

import pytest

from aroundtheworld_controller.content import describe_release
from aroundtheworld_controller.hosts import host_problems
from aroundtheworld_controller.pool_rules import RANGES, limit_problems
from aroundtheworld_controller.pools import derive_pools
from aroundtheworld_controller.rules import check_variables
from aroundtheworld_controller.variables import TYPES, BadInputError, converted
from tests.render import ADMIN, APP, PUBLIC
from tests.role_files import load_options, load_yaml

DEFAULTS = load_yaml("defaults/main.yml") | {"aroundtheworld_home": "/var/lib/tornado/x"}
SETTINGS = load_yaml("vars/main.yml")
FAMILIES = ("", "blocking_", "websocket_")
HASH = "--hash=sha256:" + "0" * 64


def problems_with(given):
    options = load_options()
    variables = {
        name: converted(value, options.get(name, {"type": "any"}))
        for name, value in (DEFAULTS | APP | given).items()
    }
    try:
        check_variables(variables)
    except BadInputError as bad:
        return bad.problems
    return []


def pools(*changes, public=(), admin=()):
    return {"aroundtheworld_pools": [PUBLIC | dict(public), ADMIN | dict(admin), *changes]}


def test_a_path_that_only_begins_as_the_roles_own_do_is_an_apps():
    assert problems_with(pools(admin={"paths": ["/.aroundtheworlds", "/.well-known"]})) == []


def case(identity, given, *said):
    return pytest.param(given, said, id=identity)


A_PORT = "a port is a whole number from 1 to 65535"
A_NAME = "at most 30 lower-case letters, digits and '_'"
A_PATH = "letters, digits, '-', '.', '_', '~' and single slashes, and no '.' or '..' between them"
A_HOST = "one host name of letters, digits, '-' and '.'"
A_VARIABLE = "must have letters, digits and '_' only, and not begin with a digit"
OWN_PORT = "each worker needs its own port"
ONE_POOL = "a path belongs to one pool"

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
        "metrics port of a worker",
        {"aroundtheworld_metrics_port": 10004},
        "aroundtheworld_metrics_port: 10004 ",
        "it is taken by a worker of the pool 'admin'",
    ),
    case(
        "metrics port before a worker's",
        {"aroundtheworld_metrics_port": 10000},
        "aroundtheworld_metrics_port: 10000 ",
        "needs the port after it, which is taken by a worker of the pool 'public'",
    ),
    case(
        "metrics port before nginx's",
        {"aroundtheworld_metrics_port": 79},
        "aroundtheworld_metrics_port: 79 ",
        "which is taken by aroundtheworld_http_port",
    ),
    case(
        "metrics port too high",
        {"aroundtheworld_metrics_port": 65535},
        "aroundtheworld_metrics_port: 65535 ",
        "it must be from 1 to 65534, or 0 for no metrics",
    ),
    *(
        case(
            f"metrics on {address}",
            {"aroundtheworld_metrics_address": address},
            f"aroundtheworld_metrics_address: {address!r} ",
            "It must be a loopback or private address of the host",
        )
        for address in ("0.0.0.0", "::", "8.8.8.8", "2a01:4f8::1")
    ),
    case(
        "metrics on a name",
        {"aroundtheworld_metrics_address": "localhost"},
        "aroundtheworld_metrics_address: 'localhost' ",
        "it must be an IPv4 or IPv6 address of the host",
    ),
    case("http port", {"aroundtheworld_http_port": 0}, "aroundtheworld_http_port: 0 ", A_PORT),
    case(
        "pool without ports",
        pools(admin={"ports": []}),
        "pools[1].ports: [] ",
        "pool 'admin' needs at least one of its ports",
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
        "static files at a path of the role",
        {"aroundtheworld_static": [{"url": "/.aroundtheworld/x/", "directory": "x"}]},
        "aroundtheworld_static[0].url: '/.aroundtheworld/x/' ",
        "the role needs for itself",
    ),
    case(
        "no pools",
        {"aroundtheworld_pools": []},
        "aroundtheworld_pools: no pool has '/'",
        "none given",
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
            pools(admin={key: value}),
            f"pools[1].{key}: {value} ",
            f"must be from {low} to {high}",
        )
        for key, (low, high) in RANGES.items()
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
    case(
        "policy of real time",
        pools(admin={"cpu_scheduling": "fifo"}),
        "pools[1].cpu_scheduling: 'fifo' is not allowed; allowed: other, batch, idle",
    ),
    case(
        "no make_app",
        {"aroundtheworld_make_app": ""},
        "aroundtheworld_make_app: is missing",
        "of the pools without a command is made (public, admin), as in 'shop.web:make_app'",
    ),
    *(
        case(
            f"command {value!r}",
            pools(admin={"command": value}),
            f"pools[1].command: {value!r} ",
            said,
        )
        for value, said in (
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
        "pools[1].binds: true is not allowed in pool 'admin'",
        "has no command",
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
            given,
            f"health_path: {value!r} is not allowed",
            "must be a URL path, with a query or without",
        )
        for value in ("health", "/a b", "/a%20b", "/$a", "/a\n")
        for where, given in (
            ("a pool", pools(admin={"health_path": value})),
            ("the site", {"aroundtheworld_health_path": value}),
        )
    ),
    *(
        case(
            f"health status {value!r} of {where}",
            given,
            f"health_status[0]: {value!r} is not allowed",
            "must be a status from 200 to 599",
        )
        for value in ("ok", "2XX", "20", "100", "600", "xx2", "2xx,404", "200-299")
        for where, given in (
            ("a pool", pools(admin={"health_status": [value]})),
            ("the site", {"aroundtheworld_health_status": [value]}),
        )
    ),
    case(
        "no health status",
        {"aroundtheworld_health_status": []},
        "aroundtheworld_health_status: [] is not allowed",
    ),
    case(
        "unknown pool key", pools(admin={"prots": [1]}), "pools[1].prots: ", "did you mean ports?"
    ),
    case("odd pool key", pools(admin={"zzz": 1}), "pools[1].zzz: ", "allowed: binds, blocking"),
    case(
        "misspelt variable",
        {"aroundtheworld_http_prot": 81},
        "aroundtheworld_http_prot: there is no such variable",
        "did you mean aroundtheworld_http_port?",
    ),
    *(
        case(
            f"server name {name!r}",
            {"aroundtheworld_server_names": ["a.example", name]},
            f"aroundtheworld_server_names[1]: {name!r} ",
            A_HOST,
        )
        for name in (
            *(
                "",
                "a b",
                "a.example\n",
                "a.example;",
                "a{b",
                "a}b",
                "$host",
                "~^a",
                "a'b",
                'a"b',
                "a\\b",
            ),
            *("a..b", "-a.example", "a#b", "ä.example", "a" * 64 + ".example"),
        )
    ),
    case(
        "no server names",
        {"aroundtheworld_server_names": []},
        "aroundtheworld_server_names: [] ",
        "give host names",
    ),
    *(
        case(
            f"make_app {value!r}",
            {"aroundtheworld_make_app": value},
            f"aroundtheworld_make_app: {value!r} ",
            "names a module and a callable in it, as in 'shop.web:make_app'",
        )
        for value in (
            *(
                "shop",
                "shop:",
                ":make_app",
                "shop.web.make_app",
                "shop..web:make_app",
                "shop.:make",
            ),
            *(
                "shop:make_app()",
                "shop:make-app",
                "shop web:make_app",
                "shop:make_app --check",
                "s:m\n",
            ),
        )
    ),
    *(
        case(
            f"listen address {value!r}",
            {"aroundtheworld_listen_address": value},
            f"aroundtheworld_listen_address: {value!r} ",
            "must be an IPv4 or IPv6 address of the host",
        )
        for value in ("", "localhost", "127.0.0.1:80", "[::1]", "fe80::1%eth0", "127.0.0.256")
    ),
    case(
        "listen address in other words",  # systemd would say it otherwise, for ever different
        {"aroundtheworld_listen_address": "0:0:0:0:0:0:0:1"},
        "aroundtheworld_listen_address: '0:0:0:0:0:0:0:1' ",
        "write it as '::1'",
    ),
    *(
        case(
            f"site {value!r}",
            {"aroundtheworld_site": value},
            f"aroundtheworld_site: {value!r} ",
            A_NAME,
        )
        for value in ("", "Shop", "my-shop", "my shop", "../x", "shop;", "_shop")
    ),
    *(
        case(
            f"user {value!r}",
            {"aroundtheworld_user": value},
            f"aroundtheworld_user: {value!r} ",
            "at most 30 lower-case letters, digits, '_' and '-'",
        )
        for value in ("", "Shop", "my shop", "../x", "shop;", "-shop", "1shop", "s" * 32)
    ),
    *(
        case(
            f"home {value!r}",
            {"aroundtheworld_home": value},
            f"aroundtheworld_home: {value!r} ",
            "must be an absolute path",
        )
        for value in (
            "",
            "/",
            "/srv",
            "srv/shop",
            "/srv/../etc",
            "/srv/my shop",
            "/srv/%i",
            "/srv/a;b",
        )
    ),
    *(
        case(
            f"max_body_size {value!r}",
            {"aroundtheworld_max_body_size": value},
            f"aroundtheworld_max_body_size: {value!r} ",
            "k, m or g behind it, as in '16m'",
        )
        for value in ("", "lots", "16 m", "16mb", "-1", "1t", "16m;")
    ),
    case(
        "retry_after",
        {"aroundtheworld_maintenance_retry_after": -1},
        "aroundtheworld_maintenance_retry_after: -1 ",
        "a number of seconds from 0",
    ),
    *(
        case(
            f"block_warn {value}",
            {"aroundtheworld_block_warn": value},
            f"aroundtheworld_block_warn: {value!r} is not allowed",
            said,
        )
        for value, said in (
            (-0.5, "a number of seconds from 0"),
            (float("nan"), "a number of seconds from 0"),
            ("1s", "it must be a number"),
            (True, "it must be a number"),
        )
    ),
    case(
        "migrate_check_command",
        {"aroundtheworld_migrate_check_command": "look 'here"},
        'aroundtheworld_migrate_check_command: "look \'here" ',
        "a ' opens a quotation that nothing closes",
    ),
    case(
        "migrate_command",
        {"aroundtheworld_migrate_command": "a\nExecStart=b"},
        "aroundtheworld_migrate_command: 'a\\nExecStart=b' ",
        "must be one line",
    ),
    *(
        case(
            f"name of a variable {name!r}",
            {"aroundtheworld_environment": {name: "x"}},
            f"aroundtheworld_environment: the name {name!r} ",
            A_VARIABLE,
        )
        for name in ("", "1ST", "MY-NAME", "A B", "A=B", 'A"', "A\nB", 1)
    ),
    *(
        case(
            f"name of a secret {name!r}",
            {"aroundtheworld_secrets": {name: "x"}},
            f"aroundtheworld_secrets: the name {name!r} ",
            A_VARIABLE,
        )
        for name in ("", "../x", "my-secret", "a:b", 1)
    ),
]


@pytest.mark.parametrize(("given", "said"), ONE_PROBLEM)
def test_a_mistake_is_named_shown_and_answered(given, said):
    (problem,) = problems_with(given)
    for part in said:
        assert part in problem


MACHINE = {"memory": 4 * 1024**3, "processes": 32768}


@pytest.mark.parametrize(
    ("settings", "said"),
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
def test_a_limit_larger_than_the_host_is_named_with_its_pool(settings, said):
    given = DEFAULTS | APP | pools(admin=settings)
    families = [SETTINGS[f"__aroundtheworld_{one}pool_defaults"] for one in FAMILIES]
    (problem,) = limit_problems(derive_pools(given, *families), MACHINE, "h")
    assert problem.startswith(f"aroundtheworld_pools[1].{said}")


@pytest.mark.parametrize("limit", ["4G", "100%", "infinity", "4194304K", "4294967296"])
def test_a_limit_as_large_as_the_host_is_allowed(limit):
    given = DEFAULTS | APP | pools(admin={"memory_max": limit, "memory_high": limit})
    families = [SETTINGS[f"__aroundtheworld_{one}pool_defaults"] for one in FAMILIES]
    assert list(limit_problems(derive_pools(given, *families), MACHINE, "h")) == []


NOT_OF_TYPE = {
    "str": [None, True, 1.5, [], {}],
    "path": [None, True, 5, [], {}],
    "int": [None, True, 1.5, "eighty", "80.0", "", [], {}],
    "float": [None, True, "eighty", "1e3", ".5", "", [], {}],
    "bool": [None, 0, 1, "maybe", "", [], {}],
    "list": [None, True, 5, "a,b", {}],
    "dict": [None, True, 5, "a=b", []],
}


@pytest.mark.parametrize("name", load_options())
def test_a_wrong_type_is_named_shown_and_answered(name):
    option = load_options()[name]
    for value in NOT_OF_TYPE[option["type"]]:
        (problem,) = problems_with({name: value})
        shown = f"a value of type {type(value).__name__}" if option.get("no_log") else repr(value)
        assert problem == (
            f"{name}: {shown} is not allowed; it must be {TYPES[option['type']][1]}."
        )


@pytest.mark.parametrize("key", load_options()["aroundtheworld_pools"]["options"])
def test_a_wrong_type_in_a_pool_is_named_shown_and_answered(key):
    kind = load_options()["aroundtheworld_pools"]["options"][key]["type"]
    for value in NOT_OF_TYPE[kind]:
        (problem,) = problems_with(pools(admin={key: value}))
        assert problem == (
            f"aroundtheworld_pools[1].{key}: {value!r} is not allowed; it must be {TYPES[kind][1]}."
        )


@pytest.mark.parametrize(
    ("given", "where", "kind"),
    [
        (pools(5), "aroundtheworld_pools[2]: 5 ", "a mapping"),
        (pools(public={"ports": [10001, "x"]}), "aroundtheworld_pools[0].ports[1]: 'x' ", "number"),
        (pools(public={"paths": ["/", None]}), "aroundtheworld_pools[0].paths[1]: None ", "a text"),
        (
            {"aroundtheworld_server_names": [True]},
            "aroundtheworld_server_names[0]: True ",
            "a text",
        ),
        ({"aroundtheworld_app_exclude": [[]]}, "aroundtheworld_app_exclude[0]: [] ", "a text"),
    ],
)
def test_a_wrong_type_in_a_list_is_named_with_its_place(given, where, kind):
    (problem,) = problems_with(given)
    assert where in problem
    assert kind in problem


@pytest.mark.parametrize("key", ["name", "ports", "paths"])
def test_what_a_pool_must_have_is_named(key):
    pool = {name: value for name, value in ADMIN.items() if name != key}
    (problem,) = problems_with({"aroundtheworld_pools": [PUBLIC, pool]})
    assert f"aroundtheworld_pools[1].{key}: is missing; it must be a" in problem


def test_an_app_is_not_needed_where_every_pool_has_a_command():
    given = pools(public={"command": "serve"}, admin={"command": "serve {port}", "binds": True})
    assert problems_with(given | {"aroundtheworld_make_app": ""}) == []


def test_all_mistakes_are_reported_at_once():
    problems = problems_with(
        pools(public={"ports": [0]}, admin={"paths": ["admin"]})
        | {"aroundtheworld_site": "My Shop", "aroundtheworld_http_port": 0}
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "aroundtheworld_site",
        "aroundtheworld_http_port",
        "aroundtheworld_pools[0].ports[0]",
        "aroundtheworld_pools[1].paths[0]",
    ]


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        (
            {"cookie_secret": ""},
            "aroundtheworld_secrets.cookie_secret: an empty text is not allowed",
        ),
        (
            {"cookie_secret": 48151623},
            "aroundtheworld_secrets.cookie_secret: a value of type int is not",
        ),
        (
            {"cookie_secret": ["48151623"]},
            "aroundtheworld_secrets.cookie_secret: a value of type list is",
        ),
        (
            ["48151623"],
            "aroundtheworld_secrets: a value of type list is not allowed; it must be a map",
        ),
        (
            "cookie_secret=48151623",
            "aroundtheworld_secrets: a value of type str is not allowed; it must be a map",
        ),
        ({"cookie-secret": "48151623"}, "aroundtheworld_secrets: the name 'cookie-secret'"),
    ],
)
def test_the_value_of_a_secret_is_never_shown(secrets, said):
    (problem,) = problems_with({"aroundtheworld_secrets": secrets})
    assert said in problem
    assert "48151623" not in problem


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "a value of type bool is not allowed; it must be a text or a number. Put"),
        (None, "a value of type NoneType is not allowed; it must be a text or a number"),
        (["48151623"], "a value of type list is not allowed; it must be a text or a number"),
        ("48151623\0", "a NUL character is not allowed"),
    ],
)
def test_the_value_of_an_apps_variable_is_never_shown(value, said):
    (problem,) = problems_with({"aroundtheworld_environment": {"DATABASE_URL": value}})
    assert f"aroundtheworld_environment.DATABASE_URL: {said}" in problem
    assert "48151623" not in problem


ALLOWED = [
    {"aroundtheworld_user": "_shop"},
    {"aroundtheworld_user": "shop-app"},
    {},
    pools(public={"ports": [1, 65535]}),
    pools(admin={"paths": ["/admin/", "/reports/yearly", "/a.b-c_d~e", "/.well-known"]}),
    pools(admin={"memory_max": "512M", "name": "a1_b", "watchdog": 0}),
    {"aroundtheworld_server_names": ["_"]},
    {
        "aroundtheworld_server_names": [
            "example.org",
            "*.example.org",
            "xn--p1ai.example",
            "10.0.0.1",
        ]
    },
    {"aroundtheworld_listen_address": "::1"},
    {"aroundtheworld_listen_address": "10.0.0.1"},
    {"aroundtheworld_max_body_size": "0"},
    {"aroundtheworld_block_warn": 0},
    {"aroundtheworld_block_warn": "0.2"},
    {"aroundtheworld_max_body_size": "1G"},
    {"aroundtheworld_make_app": "shop.web.app:make_app"},
    {"aroundtheworld_environment": {"A": "two\nlines", "B": 5, "_c": 0.5}},
    {"aroundtheworld_secrets": {"cookie_secret": "generate", "MAIL_PASSWORD": "x y\n"}},
]


@pytest.mark.parametrize("given", ALLOWED, ids=str)
def test_what_is_right_is_accepted(given):
    assert problems_with(given) == []


@pytest.mark.parametrize(
    ("kind", "value", "meant"),
    [
        ("int", "8080", 8080),
        ("int", "-1", -1),
        ("int", "80x", "80x"),
        ("int", "٣", "٣"),
        ("float", "0.5", 0.5),
        ("float", "2", 2.0),
        ("float", "1e3", "1e3"),
        ("bool", "yes", True),
        ("bool", "False", False),
        ("bool", "off", False),
        ("bool", "perhaps", "perhaps"),
        ("bool", 1, 1),
        ("str", 1048576, "1048576"),
        ("str", True, True),
        ("str", 1.5, 1.5),
        ("list", "a,b", "a,b"),
    ],
)
def test_a_value_written_as_another_type_is_taken_for_what_it_means(kind, value, meant):
    result = converted(value, {"type": kind, "elements": "str"})
    assert (result, type(result)) == (meant, type(meant))


def test_values_inside_pools_are_converted_too():
    pool = {"name": "a", "ports": ["10001"], "paths": ["/"], "blocking": "yes", "memory_max": 512}
    (result,) = converted([pool], load_options()["aroundtheworld_pools"])
    assert result == pool | {"ports": [10001], "blocking": True, "memory_max": "512"}


# --- The app directory and its lock file ----------------------------------------------------------


@pytest.fixture
def app(tmp_path):
    (tmp_path / "shop.py").write_text("def make_app(): ...\n")
    (tmp_path / "requirements.txt").write_text(f"tornado==6.5.2 {HASH}\n")
    return tmp_path


def release_problems(app, **given):
    variables = {
        "aroundtheworld_app_dir": str(app),
        "aroundtheworld_make_app": "shop:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": DEFAULTS["aroundtheworld_app_exclude"],
        "aroundtheworld_static": [],
    }
    with pytest.raises(BadInputError) as caught:
        describe_release(variables | given)
    return caught.value.problems


def test_an_app_directory_that_is_missing(app):
    (problem,) = release_problems(app / "nowhere")
    assert (
        f"aroundtheworld_app_dir: '{app}/nowhere' is not a directory on the controller" in problem
    )


def test_an_app_directory_that_is_a_file(app):
    (problem,) = release_problems(app / "shop.py")
    assert "aroundtheworld_app_dir: " in problem
    assert "give the one that holds the app and its requirements" in problem


def test_a_lock_file_that_is_missing(app):
    (problem,) = release_problems(app, aroundtheworld_requirements="lock.txt")
    assert f"aroundtheworld_requirements: lock.txt does not exist in {app}" in problem
    assert "uv pip compile --universal --generate-hashes" in problem


def test_a_module_that_is_not_there(app):
    (problem,) = release_problems(app, aroundtheworld_make_app="shoop.web:make_app")
    assert "aroundtheworld_make_app: 'shoop.web:make_app' names the module 'shoop'" in problem
    assert f"neither in {app} nor among the locked requirements" in problem


def test_a_link_that_leads_nowhere(app):
    (app / "logo.svg").symlink_to("gone.svg")
    (problem,) = release_problems(app)
    assert f"aroundtheworld_app_dir: '{app}/logo.svg' is a link to 'gone.svg'" in problem
    assert "aroundtheworld_app_exclude" in problem


A_PIN = "every line must name one exact version with '=='"
A_LINE = (
    "allowed are lines like 'tornado==6.5 --hash=sha256:…' (no options, no links, no directories)"
)
A_HASH = "every line needs its '--hash=sha256:…'"


@pytest.mark.parametrize(
    ("line", "shown", "allowed"),
    [
        ("tornado==6.5.2", "'tornado==6.5.2' without a hash", A_HASH),
        ("tornado==6.5.2 --hash=md5:00", "'tornado==6.5.2' without a hash", A_HASH),
        ("tornado==6.5.2 --hash=sha256:00", "'tornado==6.5.2' without a hash", A_HASH),
        (f"tornado {HASH}", "'tornado'", A_PIN),
        (f"tornado>=6.5 {HASH}", "'tornado>=6.5'", A_PIN),
        (f"tornado==6.* {HASH}", "'tornado==6.*'", A_PIN),
        (f"tornado==6.5.2,<7 {HASH}", "'tornado==6.5.2,<7'", A_PIN),
        (f"tornado===6.5.2 {HASH}", "'tornado===6.5.2'", A_PIN),
        (f"tornado @ https://example.org/tornado.whl {HASH}", "'tornado @ https://exam", A_PIN),
        (f"https://example.org/tornado.whl {HASH}", "'https://example.org/tornado.whl'", A_LINE),
        ("git+https://example.org/tornado.git", "'git+https://example.org/tornado.git'", A_LINE),
        ("./tornado", "'./tornado'", A_LINE),
        ("-e .", "'-e .'", A_LINE),
        ("-r other.txt", "'-r other.txt'", A_LINE),
        ("--index-url https://example.org/simple", "'--index-url https://example.org/s", A_LINE),
        (f"tornado==6.5.2 ; sometimes {HASH}", "'tornado==6.5.2 ; sometimes'", A_LINE),
    ],
)
def test_a_line_that_no_lock_has(app, line, shown, allowed):
    lock = f"# made by uv\nalembic==1.0 \\\n    {HASH} \\\n    {HASH}\n    # via x\n{line}\n"
    (app / "requirements.txt").write_text(lock)
    (problem,) = release_problems(app)
    assert problem.startswith("aroundtheworld_requirements: requirements.txt")
    assert shown in problem
    assert allowed in problem
    if allowed == A_LINE:
        assert "line 6 reads" in problem


def test_a_line_that_goes_on_below_is_named_where_it_begins(app):
    lock = f"alembic==1.0 \\\n    {HASH}\n\n./tornado \\\n    {HASH}\n"
    (app / "requirements.txt").write_text(lock)
    (problem,) = release_problems(app)
    assert "line 4 reads './tornado'" in problem


def test_every_bad_line_is_reported_at_once(app):
    (app / "requirements.txt").write_text(f"a==1\nb>=2 {HASH}\nc==3 {HASH}\n-e .")
    assert len(release_problems(app)) == 3


# --- The host -------------------------------------------------------------------------------------

HOST = {
    "distribution": "debian 12",
    "taken_ports": [],
    "unfit": [],
    "nginx": {"there": False, "problems": [], "warnings": [], "dual_stack": False},
}
TESTED = load_yaml("vars/main.yml")["__aroundtheworld_distributions"]


@pytest.mark.parametrize("distribution", TESTED)
def test_a_distribution_that_the_role_is_tested_on(distribution):
    assert list(host_problems(HOST | {"distribution": distribution}, "web1", TESTED)) == []


@pytest.mark.parametrize("distribution", ["debian 11", "debian 14", "ubuntu 24", "debian unknown"])
def test_a_distribution_that_it_is_not_tested_on(distribution):
    (problem,) = host_problems(HOST | {"distribution": distribution}, "web1", TESTED)
    assert f"web1 runs '{distribution}'" in problem
    assert "allowed: debian 12, debian 13" in problem


def test_what_the_host_says_against_a_site_is_passed_on():
    problems = ["aroundtheworld_user: …", "aroundtheworld_home: …"]
    assert list(host_problems(HOST | {"unfit": problems}, "web1", TESTED)) == problems


def test_a_port_that_something_else_on_the_host_has():
    taken = {
        "variable": "aroundtheworld_pools",
        "port": 10002,
        "address": "0.0.0.0",
        "process": "redis-server (process 812)",
    }
    (problem,) = host_problems(HOST | {"taken_ports": [taken]}, "web1", TESTED)
    assert "aroundtheworld_pools: port 10002 on web1 is already taken by redis-server" in problem
    assert "(process 812) (listening on 0.0.0.0); stop it, or choose another port" in problem


def test_what_the_hosts_nginx_has_against_the_site_is_passed_on():
    nginx = HOST["nginx"] | {"problems": ["nginx: no."], "warnings": ["nginx: careful."]}
    assert list(host_problems(HOST | {"nginx": nginx}, "web1", TESTED)) == ["nginx: no."]
