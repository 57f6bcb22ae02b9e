"""How the files of nginx's configuration make one configuration."""

import pytest
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Configuration,
    complaint,
    matches,
)

FILES = {
    "/n/nginx.conf": "include mods/*.conf;\nhttp { include mime.types; include /n/conf.d/*; }",
    "/n/mods/a.conf": "stream { server { listen 99; } }",
    "/n/mime.types": "types { text/html html; }",
    "/n/conf.d/one": "server { listen 80; server_name a.example; }\ninclude conf.d/deep/two;",
    "/n/conf.d/deep/two": "server { listen *:80 default_server; include conf.d/deep/three; }",
    "/n/conf.d/deep/three": "server_name *.example;",
}


def test_includes_are_followed_wherever_they_are():
    found = Configuration.of(FILES, "/n/nginx.conf")
    assert [server.names for server in found.servers] == [("a.example",), ("*.example",)]
    assert [listen.port for listen in found.streams] == [99]
    assert [include.args[0] for include in found.http_includes] == [
        "mime.types",
        "/n/conf.d/*",
        "conf.d/deep/two",
    ]
    assert found.includes_of("/n/conf.d/shop.conf") == 1
    assert found.includes_of("/n/mods/shop.conf") == 0


@pytest.mark.parametrize(
    ("name", "server"),
    [("a.example", "a.example"), ("b.example", "*.example"), ("c.test", "*.example")],
)
def test_the_server_that_nginx_would_choose_is_known(name, server):
    found = Configuration.of(FILES, "/n/nginx.conf").server_for(name, "127.0.0.1", 80)
    assert found.names == (server,)


def test_a_socket_of_udp_keeps_nobody_from_the_port():
    text = """stream { server { listen 443 udp; } server { listen 444; } }
    http { server { listen 443 quic reuseport; listen 443 ssl; } server { listen 80 quic; } }"""
    found = Configuration.of({"/n/nginx.conf": text}, "/n/nginx.conf")
    assert [listen.port for listen in found.streams] == [444]
    options = [[listen.options for listen in server.listens] for server in found.servers]
    assert options == [[("ssl",)], []]


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("/a/b.conf", "/a/*.conf", True),
        ("/a/b/c.conf", "/a/*.conf", False),
        ("/a/.b.conf", "/a/*.conf", False),
        ("/a/.b.conf", "/a/.*.conf", True),
        ("/a/b/c", "/a/*/c", True),
        ("/a/s.conf", "/a/[!s]*", False),
    ],
)
def test_a_pattern_matches_as_in_a_shell(path, pattern, fits):
    assert matches(path, pattern) is fits


def test_an_error_of_nginx_is_taken_once_and_without_the_rest():
    text = (
        'nginx: [warn] conflicting server name "a" on 0.0.0.0:80, ignored\n'
        '2026/11/26 01:35:44 [emerg] 18#18: unknown directive "x" in /etc/nginx/a.conf:1\n'
        'nginx: [emerg] unknown directive "x" in /etc/nginx/a.conf:1\n'
        "nginx: configuration file /etc/nginx/nginx.conf test failed\n"
    )
    assert complaint(text) == 'unknown directive "x" in /etc/nginx/a.conf:1'
    assert complaint("nginx: killed\n") == "nginx: killed"
