"""Directives of the operator's own in the site's server block, which nginx itself judges."""

import pytest

from aroundtheworld_controller.nginx.nginx_text import block_problem
from tests.render import render, variables_for
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.test_sites import verdict
from tests.role.refusals import problems_with

RIGHT = [
    "",
    "# nothing but a comment; }",
    "deny 192.0.2.1;",
    'location = /robots.txt {\n    return 200 "User-agent: *\\n";\n}',
    'set $word \'}\';set $other "a;b\\"{";',
    "location ~ ^/a$ { return 404; } # {",
    'set $both "${host}"; set $bare ${host}x;',
    "add_header X-It's-All o}dd;",
    "if ($arg_a) { return 403; }\nlocation /a { location /a/b { return 404; } }",
    'location ~ "^/a{2,3}$" { return 404; }',
]
WRONG = {
    "deny 192.0.2.1": "the last directive has no ';'",
    "deny all; }": "a '}' closes the site's own server block",
    "} server { listen 81;": "a '}' closes the site's own server block",
    "location /a { return 404;": "a '{' has no '}'",
    "location /a { return 404 }": "a directive has no ';' before a '}'",
    "location ~ ^/a{2}$ { return 404; }": "a '{' has no '}'",
    "add_header X }odd;": "a directive has no ';' before a '}'",
    "deny all;;": "a ';' has no directive before it",
    "{ deny all; }": "a '{' has no directive before it",
    'set $a "b;': 'a " has no end',
    "set $a 'b;\n": "a ' has no end",
    "set $a b\\": "it ends with a backslash",
    'set $a "b"c;': "a quotation goes on without a space",
    "deny\0 all;": "it has a control character",
}


@pytest.mark.parametrize("text", RIGHT)
def test_directives_that_stay_in_their_block_are_not_refused(text):
    assert block_problem(text) == ""
    assert problems_with({"aroundtheworld_nginx_extra": text}) == []


@pytest.mark.parametrize(("text", "problem"), WRONG.items())
def test_directives_that_would_leave_their_block_are_refused_by_name(text, problem):
    (message,) = problems_with({"aroundtheworld_nginx_extra": text})
    assert message.startswith(f"aroundtheworld_nginx_extra: {problem}")


@needs_nginx
@pytest.mark.parametrize("text", RIGHT)
def test_nginx_takes_what_is_not_refused(tmp_path, monkeypatch, text):
    site = render("site.conf.j2", variables_for({"aroundtheworld_nginx_extra": text}))
    monkeypatch.setattr("tests.role.nginx.test_sites.render", lambda *_: site)
    assert verdict(tmp_path, "default") == ""


@needs_nginx
@pytest.mark.parametrize("text", [text for text in WRONG if "server {" not in text])
def test_nginx_would_refuse_what_is_refused(tmp_path, monkeypatch, text):
    site = render("site.conf.j2", variables_for({})).replace("    # yours\n", f"{text}\n")
    site = site.replace("server_tokens off;", f"server_tokens off;\n{text}\n")
    monkeypatch.setattr("tests.role.nginx.test_sites.render", lambda *_: site)
    assert verdict(tmp_path, "default") != ""


def test_the_directives_are_in_the_sites_own_block():
    text = "location = /robots.txt {\n    return 404;\n    }"
    site = render("site.conf.j2", variables_for({"aroundtheworld_nginx_extra": text}))
    server = site[site.index("\nserver {") :]
    server = server[: server.index("\n}\n")]
    assert f"\n{text}\n" in server


def test_without_directives_nothing_is_added():
    site = render("site.conf.j2", variables_for({}))
    assert site == render("site.conf.j2", variables_for({"aroundtheworld_nginx_extra": "\n"}))
    assert "aroundtheworld_nginx_extra" not in site
