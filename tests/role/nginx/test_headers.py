"""The headers of the site's own are on every response, each once, and the app's own win."""

import itertools
import urllib.parse
from email.message import Message

import httpx
import pytest

from aroundtheworld_controller.nginx.headers import DEFAULTS
from tests.render import ADMIN, PUBLIC, render, variables_for
from tests.role.nginx.process import Host, free_port, needs_nginx, placed
from tests.role.nginx.served import Site

pytestmark = needs_nginx

# What an http block may say about headers to all of its servers.
HOSTILE = """
    add_header X-Frame-Options ALLOW always; add_header X-Evil 1 always;
    proxy_pass_header Server; proxy_pass_header X-Powered-By; server_tokens on;
"""
OWN = {"Cross-Origin-Opener-Policy": "same-origin", "X-Quoted": '"a\\b" c; d'}
EXPECTED = DEFAULTS | OWN


def gone():
    """Return a pool without a worker, whose visitors may come twice."""
    return {"name": "gone", "ports": [free_port()], "paths": ["/gone"], "rate": "1/m", "burst": 1}


class OverHttp2:
    """A site whose visitors speak HTTP/2."""

    def __init__(self, site, port):
        self._site, self._port = site, port
        self._client = httpx.Client(http1=False, http2=True, trust_env=False)

    def __getattr__(self, name):
        return getattr(self._site, name)

    def fetch(self, path, method="GET", headers=(), body=None):
        pairs = [*headers, ("Host", "shop.example")]
        url = f"http://127.0.0.1:{self._port}{path}"
        response = self._client.request(method, url, headers=pairs, content=body)
        assert response.http_version == "HTTP/2"
        message = Message()
        for name, value in response.headers.multi_items():
            message[name] = value
        return response.status_code, message, response.text

    def close(self):
        self._client.close()


@pytest.fixture(scope="module")
def over_http1(tmp_path_factory):
    http2 = free_port()
    site = Site(
        tmp_path_factory.mktemp("site"),
        http=HOSTILE,
        admin={"max_in_flight": 1},
        pools=[gone()],
        variables={
            "aroundtheworld_headers": OWN,
            "aroundtheworld_max_body_size": "1k",
            "aroundtheworld_trusted_proxies": ["127.0.0.1"],
            "aroundtheworld_nginx_extra": f"listen {http2} http2;",
        },
    )
    site.http2_port = http2
    yield site
    site.stop()


@pytest.fixture(scope="module")
def over_http2(over_http1):
    site = OverHttp2(over_http1, over_http1.http2_port)
    yield site
    site.close()


@pytest.fixture(params=["over_http1", "over_http2"])
def site(request):
    return request.getfixturevalue(request.param)


def respond(status, headers=()):
    return "/respond?" + urllib.parse.urlencode([("status", status), *dict(headers).items()])


def found(headers, names=EXPECTED):
    return {name: headers.get_all(name) for name in names}


def once(expected):
    return {name: [value] for name, value in expected.items()}


def fetch_static(site, **headers):
    return site.fetch("/static/a.css", headers=headers.items())


def fetch_unchanged(site):
    return site.fetch("/static/a.css", headers=[("If-None-Match", fetch_static(site)[1]["ETag"])])


VISITORS = (f"198.51.100.{number}" for number in itertools.count(1))


def fetch_from(site, address):
    return site.fetch("/gone", headers=[("X-Forwarded-For", address)])


def fetch_too_often(site):
    return [fetch_from(site, "192.0.2.1") for _ in range(3)][-1]


def fetch_busy(site):
    with site.occupied("admin", "/admin/slow"):
        return site.fetch("/admin/x")


def fetch_closed(site, path="/x"):
    page = site.home / "maintenance.html"
    page.write_text("closed")
    try:
        return site.fetch(path)
    finally:
        page.unlink()


RESPONSES = {
    "a file": (200, fetch_static),
    "a part of a file": (206, lambda site: fetch_static(site, Range="bytes=0-1")),
    "a file that the visitor has": (304, fetch_unchanged),
    "a part that a file does not have": (416, lambda site: fetch_static(site, Range="bytes=99-")),
    "a method that files do not have": (405, lambda site: site.fetch("/static/a.css", "POST")),
    "the site's own path": (200, lambda site: site.fetch("/.aroundtheworld/nginx")),
    "a path that nobody gets from outside": (
        404,
        lambda site: site.fetch("/.aroundtheworld/closed"),
    ),
    "a body that is too long": (413, lambda site: site.fetch("/", "POST", body="x" * 2000)),
    "no worker": (502, lambda site: fetch_from(site, next(VISITORS))),
    "a visitor who comes too often": (429, fetch_too_often),
    "a busy pool": (503, fetch_busy),
    "a closed site": (503, fetch_closed),
    "a file of a closed site": (503, lambda site: fetch_closed(site, "/static/a.css")),
} | {
    f"the app's {status}": (status, lambda site, status=status: site.fetch(respond(status)))
    for status in (200, 206, 301, 302, 304, 400, 401, 403, 404, 413, 429, 500, 502, 503)
}


@pytest.mark.parametrize("which", RESPONSES)
def test_every_response_has_each_header_once(site, which):
    expected, fetch = RESPONSES[which]
    status, headers, _ = fetch(site)
    assert status == expected
    assert found(headers) == once(EXPECTED)
    assert headers.get_all("Server") == ["nginx"]
    assert headers["X-Evil"] is None


def test_a_path_of_slashes_that_the_first_server_does_not_merge_has_them_too(over_http1):
    status, headers, _ = over_http1.fetch("//a" * 13)
    assert (status, found(headers)) == (400, once(EXPECTED))


@pytest.mark.parametrize("status", [200, 301, 304, 404, 429, 500, 503])
def test_the_apps_own_header_wins(site, status):
    own = {name: f"the app's own {name}" for name in EXPECTED}
    spelled = {name.lower(): value for name, value in own.items()}
    assert found(site.fetch(respond(status, spelled))[1]) == once(own)
    # Of several, those that the app does not send are there.
    first, *rest = EXPECTED
    headers = site.fetch(respond(status, {first: "its own"}))[1]
    assert found(headers) == once(EXPECTED | {first: "its own"})
    assert rest


def test_nothing_says_what_a_worker_is_made_with(site):
    headers = site.fetch(respond(200, {"X-Powered-By": "Python/3.11"}))[1]
    assert (headers.get_all("Server"), headers["X-Powered-By"]) == (["nginx"], None)


def test_a_site_without_any_header_does_not_get_those_of_the_http_block(make_site):
    nothing = dict.fromkeys(DEFAULTS, "")
    site = make_site(http=HOSTILE, pools=[gone()], variables={"aroundtheworld_headers": nothing})
    for path in ("/", "/static/a.css", "/gone"):
        headers = site.fetch(path)[1]
        assert found(headers, [*DEFAULTS, "X-Evil"]) == dict.fromkeys([*DEFAULTS, "X-Evil"])


def test_nginx_takes_the_variables_of_a_site_with_the_longest_name(tmp_path):
    text = render(
        "site.conf.j2",
        variables_for(
            {
                "aroundtheworld_site": "s" * 31,
                "aroundtheworld_http_port": free_port(),
                "aroundtheworld_pools": [
                    {**PUBLIC, "rate": "1/s", "max_in_flight": 9},
                    {**ADMIN, "name": "p" * 31, "allow": ["10.0.0.0/8"], "rate": "1/s"},
                ],
                "aroundtheworld_static": [{"url": "/static/", "directory": "x"}],
                "aroundtheworld_log_addresses": "truncated",
            }
        ),
    )
    host = Host(tmp_path)
    (host.etc / "conf.d" / "shop.conf").write_text(placed(text, tmp_path))
    code, _, error = host.nginx("-t", "-q")
    assert code == 0, error
