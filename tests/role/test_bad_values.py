"""Every mistake in a variable is answered with its name, its value and what is allowed."""

import pytest

from aroundtheworld_controller import variables
from tests.role.refusals import A_NAME, A_PORT, case, pools, problems_with

A_HOST = "one host name of letters, digits, '-' and '.'"
A_VARIABLE = "must have letters, digits and '_' only, and not begin with a digit"


ONE_PROBLEM = [
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
            {"aroundtheworld_metrics_port": 9145, "aroundtheworld_metrics_address": address},
            f"aroundtheworld_metrics_address: {address!r} ",
            "It must be a loopback or private address of the host",
        )
        for address in ("0.0.0.0", "::", "8.8.8.8", "2a01:4f8::1")
    ),
    case(
        "metrics on a name",
        {"aroundtheworld_metrics_port": 9145, "aroundtheworld_metrics_address": "localhost"},
        "aroundtheworld_metrics_address: 'localhost' ",
        "it must be an IPv4 or IPv6 address of the host",
    ),
    *(
        case(
            f"error {status!r}: {str(text)[:40]!r}",
            {"aroundtheworld_error_texts": {status: text}},
            *parts,
        )
        for status, text, *parts in (
            (200, {}, "aroundtheworld_error_texts.200: 200 ", "it must be an error's status"),
            ("default", {}, "aroundtheworld_error_texts.default: 'default' ", "an error's status"),
            (
                404,
                "Nothing",
                "aroundtheworld_error_texts.404: 'Nothing' ",
                "a title and a sentence",
            ),
            (404, {"title": "x"}, "aroundtheworld_error_texts.404: ", "a title and a sentence"),
            *(
                (
                    404,
                    {"title": words, "sentence": "x"},
                    f"aroundtheworld_error_texts.404.title: {words!r} ",
                    "it must be a line",
                )
                for words in (
                    "",
                    404,
                    'a "b"',
                    "a\\b",
                    "$status",
                    "<b>x</b>",
                    "a & b",
                    "a\nb",
                    "x" * 1001,
                )
            ),
        )
    ),
    case("http port", {"aroundtheworld_http_port": 0}, "aroundtheworld_http_port: 0 ", A_PORT),
    case(
        "static files at a path of the role",
        {"aroundtheworld_static": [{"url": "/.aroundtheworld/x/", "directory": "x"}]},
        "aroundtheworld_static[0].url: '/.aroundtheworld/x/' ",
        "the role needs for itself",
    ),
    *(
        case(f"header {name!r}: {value!r}", {"aroundtheworld_headers": {name: value}}, *parts)
        for name, value, *parts in (
            (
                "X Frame",
                "a",
                "aroundtheworld_headers: the name 'X Frame' ",
                "digits and '-', as in",
            ),
            ("X-É", "a", "aroundtheworld_headers: the name 'X-É' ", "digits and '-', as in"),
            ("X-A:", "a", "aroundtheworld_headers: the name 'X-A:' ", "digits and '-', as in"),
            ("X-A\n", "a", "aroundtheworld_headers: the name 'X-A\\n' ", "digits and '-', as in"),
            ("", "a", "aroundtheworld_headers: the name '' ", "digits and '-', as in"),
            (1, "a", "aroundtheworld_headers: the name 1 ", "digits and '-', as in"),
            ("content-type", "a", "the name 'content-type' ", "sets it for each response"),
            ("Strict-Transport-Security", "a", "set aroundtheworld_hsts_seconds"),
            ("X-A", "a\nb", "aroundtheworld_headers.X-A: 'a\\nb' ", "'>-' makes one line"),
            ("X-A", "a\n", "aroundtheworld_headers.X-A: 'a\\n' ", "'>-' makes one line"),
            ("X-A", "ä", "aroundtheworld_headers.X-A: 'ä' ", "ASCII"),
            ("X-A", " a", "aroundtheworld_headers.X-A: ' a' ", "without a space at an end"),
            ("X-A", "a $host", "aroundtheworld_headers.X-A: 'a $host' ", "a variable where a '$'"),
            ("X-A", "x" * 2001, "aroundtheworld_headers.X-A: 2001 characters", "at most 2000"),
            ("X-A", True, "aroundtheworld_headers.X-A: a value of type bool ", "Put quotes"),
            ("X-A", ["a"], "aroundtheworld_headers.X-A: a value of type list ", "must be a text"),
            ("X-Frame-Option", "", "this is none", "did you mean X-Frame-Options?"),
            ("Server-Timing", None, "this is none", "these are: X-Content-Type-Options, X-Frame"),
        )
    ),
    *(
        case(
            f"trusted proxy {proxy!r}",
            {"aroundtheworld_trusted_proxies": ["10.0.0.0/8", proxy]},
            f"aroundtheworld_trusted_proxies[1]: {proxy!r} is not allowed; ",
            part,
        )
        for proxy, part in (
            ("192.0.2.256", "an address or a network, as in '192.0.2.10'"),
            ("192.0.2.010", "an address or a network"),
            ("192.0.2.0/33", "an address or a network"),
            ("10.0.0.0-10.0.0.9", "an address or a network"),
            ("lb.example.org", "an address or a network"),
            ("unix:", "an address or a network"),
            ("fe80::1%eth0", "an address or a network"),
            ("", "an address or a network"),
            ("10", "an address or a network"),
            ("192.0.2.10;", "an address or a network"),
            ("Everybody", "an address or a network"),
            ("::ffff:192.0.2.10", "write it as IPv4, '192.0.2.10/32'"),
            ("192.0.2.10/24", "write the network '192.0.2.0/24', or the address '192.0.2.10'"),
        )
    ),
    *(
        case(
            f"trusted proxies {proxies}",
            {"aroundtheworld_trusted_proxies": ["192.0.2.10", *proxies]},
            f"aroundtheworld_trusted_proxies: {', '.join(found)} is not allowed; ",
            "or write 'everybody' alone",
        )
        for proxies, found in (
            (["0.0.0.0/0"], ["192.0.2.10", "0.0.0.0/0"]),
            (["::/0"], ["::/0"]),
            (["128.0.0.0/1"], ["192.0.2.10", "128.0.0.0/1"]),
            (["::/1", "8000::/1"], ["::/1", "8000::/1"]),
            (["2000::/3"], ["2000::/3"]),
            (
                ["10.0.0.0/9", "10.128.0.0/9", "11.0.0.0/8"],
                ["10.0.0.0/9", "10.128.0.0/9", "11.0.0.0/8"],
            ),
        )
    ),
    *(
        case(
            f"port {port} of the PROXY protocol",
            {
                "aroundtheworld_trusted_proxies": ["192.0.2.10"],
                "aroundtheworld_proxy_protocol_port": port,
                **more,
            },
            *parts,
        )
        for port, more, *parts in (
            (-1, {}, "aroundtheworld_proxy_protocol_port: -1 ", A_PORT),
            (65536, {}, "aroundtheworld_proxy_protocol_port: 65536 ", A_PORT),
            (80, {}, "aroundtheworld_proxy_protocol_port: 80 ", "it is aroundtheworld_http_port"),
            (
                8443,
                {"aroundtheworld_trusted_proxies": []},
                "aroundtheworld_proxy_protocol_port: 8443 is not allowed without aroundtheworld_tr",
            ),
            (10004, {}, "aroundtheworld_pools[1].ports[0]: 10004 ", "proxy_protocol_port"),
            (
                9146,
                {"aroundtheworld_metrics_port": 9145},
                "aroundtheworld_metrics_port: 9145 ",
                "is taken by aroundtheworld_proxy_protocol_port",
            ),
        )
    ),
    case(
        "everybody and one more",
        {"aroundtheworld_trusted_proxies": ["192.0.2.10", "everybody"]},
        "aroundtheworld_trusted_proxies: 'everybody' is not allowed beside other entries",
    ),
    case(
        "header twice",
        {"aroundtheworld_headers": {"X-Own": "a", "x-own": "b"}},
        "aroundtheworld_headers: the name 'x-own' ",
        "'X-Own' is the same header",
    ),
    case(
        "no make_app",
        {"aroundtheworld_make_app": ""},
        "aroundtheworld_make_app: is missing",
        "of the pools without a command is made (public, admin), as in 'shop.web:make_app'",
    ),
    case(
        "no health status",
        {"aroundtheworld_health_status": []},
        "aroundtheworld_health_status: [] is not allowed",
    ),
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
        "the same server name",
        {"aroundtheworld_server_names": ["shop.example", "Shop.example"]},
        "aroundtheworld_server_names[1]: 'Shop.example' is not allowed; it is there twice.",
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
    *(
        case(f"{name} {value!r}", {name: value}, f"{name}: {value!r} ", allowed)
        for name, allowed in (
            ("aroundtheworld_request_header_size", "from '8k' to '128k'"),
            ("aroundtheworld_response_header_size", "from '8k' to '256k'"),
        )
        for value in ("0", "4k", "8191", "257k", "1m")
    ),
    case(
        "no size of headers",
        {"aroundtheworld_request_header_size": "16kb"},
        "aroundtheworld_request_header_size: '16kb' ",
        "k, m or g behind it",
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
            expected,
        )
        for value, expected in (
            (-0.5, "a number of seconds from 0"),
            (float("nan"), "a number of seconds from 0"),
            ("1s", "it must be a number"),
            (True, "it must be a number"),
        )
    ),
    *(
        case(
            f"log_days {value}",
            {"aroundtheworld_log_days": value},
            f"aroundtheworld_log_days: {value} is not allowed",
            "a number of days from 1 to 3660",
        )
        for value in (0, -1, 3661)
    ),
    case(
        "log_addresses",
        {"aroundtheworld_log_addresses": "some"},
        "aroundtheworld_log_addresses",
        "full, truncated, none",
    ),
    *(
        case(
            f"package {name!r}",
            {"aroundtheworld_packages": ["ffmpeg", name]},
            f"aroundtheworld_packages[1]: {name!r} is not allowed; ",
            "the name of a Debian package alone, as in 'libmagic1'",
        )
        for name in (
            *("", "a", "nginx-", "FFmpeg", "ffmpeg=7:5.1", "ffmpeg:amd64", "ffmpeg/sid", "lib*"),
            *("a b", "-y", "./x.deb", "https://example.org/x.deb", "a\n", "a_b"),
        )
    ),
    case(
        "migrate_check_command",
        {"aroundtheworld_migrate_check_command": "look 'here"},
        'aroundtheworld_migrate_check_command: "look \'here" ',
        "a ' opens a quotation that nothing closes",
    ),
    case(
        "data_check_command",
        {"aroundtheworld_data_check_command": "check > found"},
        "aroundtheworld_data_check_command: 'check > found' ",
        "means something to a shell",
    ),
    case(
        "schema_check_command",
        {"aroundtheworld_schema_check_command": "check | tee"},
        "aroundtheworld_schema_check_command: 'check | tee' ",
        "means something to a shell",
    ),
    case(
        "migrate_lock_timeout",
        {"aroundtheworld_migrate_lock_timeout": -1},
        "aroundtheworld_migrate_lock_timeout: -1 ",
        "it must be a number of seconds from 0",
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


@pytest.mark.parametrize(("changes", "parts"), ONE_PROBLEM)
def test_a_mistake_is_named_shown_and_answered(changes, parts):
    (problem,) = problems_with(changes)
    for part in parts:
        assert part in problem


RENAMED = {
    "aroundtheworld_port": {"name": "aroundtheworld_http_port", "since": "0.2.0"},
    "aroundtheworld_pools.memory": {"name": "memory_max", "since": "0.3.0"},
}


def test_a_former_name_is_refused_with_the_new_one(monkeypatch):
    monkeypatch.setattr(variables, "load_renamed", lambda: RENAMED)
    changes = {"aroundtheworld_port": 8080, **pools(admin={"memory": "1G"})}
    variable, setting = problems_with(changes)
    assert variable == (
        "aroundtheworld_port: has another name since version 0.2.0 of the role; "
        "write aroundtheworld_http_port instead."
    )
    assert setting == (
        "aroundtheworld_pools[1].memory: has another name since version 0.3.0 of the role; "
        "write memory_max instead."
    )


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
    ("secrets", "expected"),
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
def test_the_value_of_a_secret_is_never_shown(secrets, expected):
    (problem,) = problems_with({"aroundtheworld_secrets": secrets})
    assert expected in problem
    assert "48151623" not in problem


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "a value of type bool is not allowed; it must be a text or a number. Put"),
        (None, "a value of type NoneType is not allowed; it must be a text or a number"),
        (["48151623"], "a value of type list is not allowed; it must be a text or a number"),
        ("48151623\0", "a NUL character is not allowed"),
    ],
)
def test_the_value_of_an_apps_variable_is_never_shown(value, expected):
    (problem,) = problems_with({"aroundtheworld_environment": {"DATABASE_URL": value}})
    assert f"aroundtheworld_environment.DATABASE_URL: {expected}" in problem
    assert "48151623" not in problem


ALLOWED = [
    {"aroundtheworld_user": "_shop"},
    {"aroundtheworld_user": "shop-app"},
    {},
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
    {"aroundtheworld_request_header_size": "131072"},
    {"aroundtheworld_response_header_size": "100000"},
    {"aroundtheworld_make_app": "shop.web.app:make_app"},
    {"aroundtheworld_environment": {"A": "two\nlines", "B": 5, "_c": 0.5}},
    {"aroundtheworld_packages": ["libmagic1", "g++", "libstdc++6", "python3.11", "7zip"]},
    {"aroundtheworld_secrets": {"cookie_secret": "generate", "MAIL_PASSWORD": "x y\n"}},
]


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_what_is_right_is_accepted(changes):
    assert problems_with(changes) == []
