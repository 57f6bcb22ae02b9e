"""A visitor of a sticky pool comes back to the worker that has their session."""

import collections
import http.client
import socket
import ssl

import pytest

from tests import certificates
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site, Worker

pytestmark = needs_nginx

OVER_HTTPS = "; Path=/; HttpOnly; SameSite=None; Secure"
COOKIE = "aroundtheworld_public_worker"
PATHS = ("/", "/a%20b%3Fc%25d?e=%2F", "/x//y")


@pytest.fixture(params=["normalized", "raw"])
def site(tmp_path, request):
    """A site whose public pool has three sticky workers."""
    workers = [Worker("public") for _ in range(2)]
    ports = [worker.server_address[1] for worker in workers]
    site = Site(tmp_path, public={"sticky": "cookie", "path": request.param}, siblings=ports)
    site.public = {
        worker.server_address[1]: worker for worker in (site.workers["public"], *workers)
    }
    yield site
    for worker in workers:
        worker.stop()
    site.stop()


def ask(site, path="/", worker=None, **more):
    """Return the port of the worker that a visitor gets, and of their cookie, if it comes anew."""
    for each in site.public.values():
        each.requests.clear()
    cookie = [("Cookie", f"{COOKIE}={worker}")] if worker else []
    status, headers, _ = site.fetch(path, headers=[*cookie, *more.get("headers", ())])
    assert status == 200
    (port,) = (port for port, each in site.public.items() if each.requests)
    return port, headers["Set-Cookie"]


def test_new_visitors_get_any_worker_and_come_back_to_it(site):
    found = collections.Counter()
    for _ in range(6):
        port, cookie = ask(site)
        assert cookie == f"{COOKIE}={port}; Path=/; HttpOnly; SameSite=Lax"
        found[port] += 1
        for path in PATHS:
            assert ask(site, path, port) == (port, None)
    assert set(found.values()) == {2}


def test_a_path_arrives_as_it_would_otherwise(site):
    raw = site.values["aroundtheworld_pools"][0]["path"] == "raw"
    for sent, normalized in {
        "/a%20b%3Fc%25d?e=%2F": "/a%20b%3Fc%25d?e=%2F",
        "/x//y": "/x/y",
        "/%41%0a": "/A%0A",
        "/%2Fx": "/x",
    }.items():
        port, _ = ask(site, sent)
        ask(site, sent, port)
        (request,) = site.public[port].requests
        assert request["path"] == (sent if raw else normalized)


@pytest.mark.parametrize("worker", ["1", "x", '10001"', "0"])
def test_whose_cookie_names_no_worker_is_a_new_visitor(site, worker):
    port, cookie = ask(site, worker=worker)
    assert f"={port};" in cookie


def test_visitors_of_a_worker_that_is_gone_get_a_sibling_and_stay_there(site):
    gone = next(iter(site.public))
    site.public.pop(gone).stop()
    port, cookie = ask(site, worker=gone)
    assert cookie.startswith(f"{COOKIE}={port};")
    assert ask(site, worker=port) == (port, None)


def test_whom_nobody_trusts_does_not_say_that_the_visitor_has_https(site):
    _, cookie = ask(site, headers=[("X-Forwarded-Proto", "https")])
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")


def test_over_https_a_frame_on_another_site_sends_it_too(make_site):
    site = make_site(public={"sticky": "cookie"}, tls={})
    context = ssl.create_default_context(cadata=certificates.root().pem)
    with (
        socket.create_connection(("127.0.0.1", site.https_port), 20) as plain,
        context.wrap_socket(plain, server_hostname="shop.example") as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.headers["Set-Cookie"].endswith(OVER_HTTPS)


def test_and_so_it_is_where_a_trusted_proxy_has_https(make_site):
    trusted = {"aroundtheworld_trusted_proxies": ["127.0.0.1"]}
    site = make_site(public={"sticky": "cookie"}, variables=trusted)
    for scheme, end in {"https": OVER_HTTPS, "http": "; Path=/; HttpOnly; SameSite=Lax"}.items():
        _, headers, _ = site.fetch("/", headers=[("X-Forwarded-Proto", scheme)])
        assert headers["Set-Cookie"].endswith(end)


def test_a_response_has_the_headers_of_every_other(site):
    _, headers, _ = site.fetch("/")
    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
