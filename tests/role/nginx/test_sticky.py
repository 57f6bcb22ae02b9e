"""A visitor of a sticky pool comes back to the worker that has their session."""

import collections

import pytest

from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site, Worker

pytestmark = needs_nginx

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


def test_over_https_a_frame_on_another_site_sends_it_too(site):
    proxy = {"headers": [("X-Forwarded-Proto", "https")]}
    assert "Secure" not in ask(site, **proxy)[1]  # whom nobody trusts
    text = (site.host.etc / "sites-enabled/shop.conf").read_text()
    assert 'https "; SameSite=None; Secure"' in text


def test_a_response_has_the_headers_of_every_other(site):
    _, headers, _ = site.fetch("/")
    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
