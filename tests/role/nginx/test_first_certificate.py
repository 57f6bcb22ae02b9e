"""Nobody is asked for a password over HTTP while the site waits for its first certificate."""

import base64
import json

import pytest

from aroundtheworld_controller import rules
from tests.render import HOST, MODELS
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site
from tests.role.rendered import site_of

ADA = ("Authorization", "Basic " + base64.b64encode(b"ada:secret").decode())
BY_HTTPS = ("X-Forwarded-Proto", "https")
ASKS = {"aroundtheworld_passwords": {"ada": "secret"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "acme_problems", lambda _: ())  # it wants port 80
        site = Site(
            tmp_path_factory.mktemp("waits"),
            admin={"basic_auth": ["ada"]},
            variables={
                **ASKS,
                "aroundtheworld_tls": "acme",
                "aroundtheworld_trusted_proxies": ["127.0.0.1"],
            },
        )
    yield site
    site.stop()


@needs_nginx
@pytest.mark.parametrize("path", ["/admin", "/admin/x", "/admin/static/a.css"])
@pytest.mark.parametrize("headers", [[], [ADA], [("X-Forwarded-Proto", "http"), ADA]])
def test_a_password_is_neither_asked_for_nor_taken_over_http(site, path, headers):
    status, answered, text = site.fetch(path, headers=headers)
    assert (status, answered["WWW-Authenticate"]) == (403, None)
    assert "waits for its certificate" in text
    assert "everybody on the way could read" in text


@needs_nginx
def test_a_program_is_told_the_same(site):
    _, _, text = site.fetch("/admin", headers=[("Accept", "application/json")])
    assert json.loads(text)["error"]["title"] == "This part of the site waits for its certificate"


@needs_nginx
def test_a_proxy_that_has_https_may_ask(site):
    status, answered, _ = site.fetch("/admin", headers=[BY_HTTPS])
    assert status == 401
    assert answered["WWW-Authenticate"].startswith("Basic ")
    assert site.fetch("/admin", headers=[BY_HTTPS, ADA])[0] == 200


@needs_nginx
def test_pools_without_a_password_are_served_meanwhile(site):
    assert site.fetch("/")[0] == 200


@pytest.mark.parametrize(("waiting", "count"), [([], 0), (["example.org"], 1)])
def test_a_server_with_a_certificate_asks(monkeypatch, waiting, count):
    acme = {**HOST["acme"], "certificate": "/c.pem", "key": "/c.key", "waiting": waiting}
    monkeypatch.setitem(HOST, "acme", acme)
    pools = MODELS["strict_pools"]["aroundtheworld_pools"]
    _, site, _ = site_of({**MODELS["acme"], **ASKS, "aroundtheworld_pools": pools})
    refuse, ask = [], []
    for server in site.servers():
        admin = server.blocks("location").get(("/admin/",))
        if admin and admin.all("auth_basic"):
            over_http = ["$w10001_scheme", "=", "http"] in admin.all("if")
            (refuse if over_http else ask).append(bool(server.all("ssl_certificate")))
    assert (refuse, ask) == ([False] * count, [True])


def test_whoever_wants_no_https_is_not_kept_from_passwords():
    _, _, server = site_of(MODELS["strict_pools"])
    assert ["$w10001_scheme", "=", "http"] not in server.location("/admin/").all("if")
