"""What nginx does with a request between a visitor and a worker, beside all kinds of neighbours.

nginx and the rendered site are real; the workers respond with what they received.
"""

import contextlib
import itertools
import json
import socket
import time

import pytest

from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import FIRST

pytestmark = needs_nginx

SIZES = ("aroundtheworld_request_header_size", "aroundtheworld_response_header_size")

# A path as it goes over the wire, the pool that gets it, and the path that the pool receives.
PATHS = {
    "/": ("public", "/"),
    "//": ("public", "/"),
    "//x": ("public", "/x"),
    "/administrator": ("public", "/administrator"),
    "/admin/../": ("public", "/"),
    "/x?y=//admin": ("public", "/x?y=//admin"),
    "/admin": ("admin", "/admin"),
    "//admin": ("admin", "/admin"),
    "//admin/x": ("admin", "/admin/x"),
    "///admin////x": ("admin", "/admin/x"),
    "/admin//": ("admin", "/admin/"),
    "/admin//x": ("admin", "/admin/x"),
    "//admin//x?y=//z": ("admin", "/admin/x?y=//z"),
    "//admin/a%20b%3fc%25d": ("admin", "/admin/a%20b%3Fc%25d"),
    "/%2F/admin": ("admin", "/admin"),
    "/%2fadmin/x": ("admin", "/admin/x"),
    "/./admin": ("admin", "/admin"),
    "/.//admin": ("admin", "/admin"),
    "/x/..//admin": ("admin", "/admin"),
    "//%61dmin": ("admin", "/admin"),
    "//admin/%0a//x": ("admin", "/admin/%0A/x"),
    "/%0a//admin": ("public", "/%0A/admin"),
    "/a" * 3 + "//b" * 12: ("public", "/a/a/a" + "/b" * 12),
    "http://shop.example//admin/x": ("admin", "/admin/x"),
}


@pytest.mark.parametrize("merges", ["off", "on"])
def test_a_path_reaches_its_pool_whatever_the_first_server_makes_of_slashes(make_site, merges):
    site = make_site(merges=merges)
    found = {path: site.received(path) for path in PATHS}
    assert {path: (request["pool"], request["path"]) for path, request in found.items()} == PATHS


def test_a_path_with_slashes_without_end_is_refused_and_reaches_nobody(make_site):
    site = make_site()
    for path in ("//a" * 13, "/admin" + "//a" * 13, "//a" * 2000):
        assert site.fetch(path)[0] in (400, 414)
    assert [worker.requests for worker in site.workers.values()] == [[], []]


# As it is sent to a pool that takes raw paths; each is received so.
RAW = """
    / // //x /x//y /x%2Fy /%41%7e /x/https://images.example//a.jpg /x%252Fy /x%20y%3Fz /a;b=c /...
    /..x /x.. /x/.y /%2e%2ex /x?y=/../z /x?..%2f# /static//missing /unsafe/300x200/http%3A%2F%2Fa/b
    //static/missing
"""
# In these an app could see another place than nginx.
AMBIGUOUS = r"""
    /./x /x/. /../x /x/.. /x/..?y /x/%2e%2E /%2e/x /x%2f..%2fy /x/..%2Fy /x/..;y /x/.%2e;/y /x\y
    /x%5Cy /x#y /x/#/../y /x%2F.. /x/y%2f%2e
"""


@pytest.mark.parametrize("merges", ["off", "on"])
def test_a_raw_path_arrives_as_it_was_sent_unless_it_could_be_another(make_site, merges):
    site = make_site(merges=merges, public={"path": "raw"})
    for path in RAW.split():
        request = site.received(path)
        assert (request["pool"], request["path"]) == ("public", path)
    for path in ("//admin", "/%61dmin", "/x/../admin/y"):  # nginx decides which pool it is
        assert site.received(path)["pool"] == "admin"
    before = len(site.workers["public"].requests)
    assert {path: site.fetch(path)[0] for path in AMBIGUOUS.split()} == dict.fromkeys(
        AMBIGUOUS.split(), 400
    )
    assert len(site.workers["public"].requests) == before


def test_what_is_sent_arrives_whole(make_site):
    body = "0123456789" * 5000
    site = make_site(
        admin={"max_body_size": "1m"}, variables={"aroundtheworld_max_body_size": "1k"}
    )
    request = site.received("//admin/x", "POST", body=body)
    assert (request["pool"], request["method"], request["body"]) == ("admin", "POST", body)


def test_files_are_found_by_such_a_path_too(make_site):
    site = make_site()
    for path in ("/static/a.css", "//static//a.css"):
        assert site.fetch(path)[::2] == (200, "body {}")
    assert site.received("//static/b.css")["path"] == "/static/b.css"


def test_a_closed_site_is_closed_for_such_a_path_and_the_admin_side_is_not(make_site):
    site = make_site()
    assert site.fetch("//x")[0] == 200
    (site.home / "maintenance.html").write_text("closed")
    status, headers, text = site.fetch("//x")
    assert (status, headers["Retry-After"], text) == (503, "600", "closed")
    assert site.received("//admin")["pool"] == "admin"


def test_such_a_path_takes_one_of_a_busy_pools_places(make_site):
    site = make_site(admin={"max_in_flight": 1})
    with site.occupied("admin", "//admin//slow"):
        status, headers, text = site.fetch("//admin//x")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "busy" in text


# --- What a worker gets to know about the visitor ---

# Headers by which servers and frameworks learn about the client, or change the request. From
# the sources of Tornado (httputil, httpserver: xheaders), Werkzeug (ProxyFix), gunicorn
# (secure_scheme_headers, forwarder_headers), waitress (trusted_proxy_headers), uvicorn
# (ProxyHeadersMiddleware), hypercorn (ProxyFixMiddleware), Django (SECURE_PROXY_SSL_HEADER,
# RemoteUserMiddleware), paste.deploy (PrefixMiddleware), and of what proxies and CDNs document.
BELIEVED = """
    X-Real-Ip X-Forwarded-For X-Scheme X-Forwarded-Proto Forwarded X-Forwarded-Host
    X-Forwarded-Port X-Forwarded-Prefix X-Forwarded-Server X-Forwarded-By X-Forwarded-Ssl
    X-Forwarded-Protocol X-Forwarded-Scheme Front-End-Https X-Url-Scheme X-Script-Name Script-Name
    Path-Info Proxy Remote-User X-Remote-User X-Original-Url X-Original-Uri X-Rewrite-Url
    X-Client-Ip True-Client-Ip CF-Connecting-Ip CF-Visitor X-Cluster-Client-Ip Fastly-Client-Ip
    Client-Ip X-Remote-Addr X-Remote-Ip X-Original-Host X-Host X-Http-Host-Override
    X-Forwarded-User X-Forwarded-Email X-Auth-Request-User X-Authenticated-User X-Webauth-User
    X-Ssl-Client-Verify X-Client-Cert X-Request-Id X-Arr-Ssl X-Forwarded-Client-Cert
    Http2-Settings Remote-Addr X-Envoy-External-Address
"""


def spellings(name):
    words = name.split("-")
    for joints in itertools.product("-_", repeat=len(words) - 1):
        yield words[0] + "".join(map("".join, zip(joints, words[1:], strict=True)))


def nobody_else(site, made_up):
    """Return the headers that a worker received, after a look that none of these is among them."""
    received = []
    for start in range(0, len(made_up), 40):
        received += site.received("/", headers=made_up[start : start + 40])["headers"]
    assert [name for name, value in received if "evil" in value] == []
    return received


@pytest.mark.parametrize("names", [("shop.example",), ("_",)])
def test_no_header_by_which_a_visitor_could_be_somebody_else_gets_through(make_site, names):
    neighbour = FIRST if names != ("_",) else FIRST.replace(" default_server", "")
    site = make_site(http="underscores_in_headers on;" if names == ("_",) else "", names=names,
                     neighbour=neighbour)  # fmt: skip
    made_up = [
        (spelling, "evil")
        for name in BELIEVED.split()
        for spelled in spellings(name)
        for spelling in (spelled, spelled.upper())
    ]
    headers = dict(nobody_else(site, made_up))
    assert headers["x-real-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["host"] == "shop.example"
    assert len(headers["x-request-id"]) == 32


@pytest.mark.parametrize("allowed", [False, True])
def test_headers_with_underscores_get_through_where_the_site_allows_them(make_site, allowed):
    """All but those by which a visitor could be somebody else, or a body end elsewhere."""
    variables = {"aroundtheworld_underscores_in_headers": allowed}
    site = make_site(neighbour="", variables=variables)
    received = dict(site.received("/", headers=[("api_key", "48151623")])["headers"])
    assert ("api_key" in received) is allowed
    bodies = ("Content-Length", "Transfer-Encoding", "Content-Type")
    made_up = [
        (spelling, "evil")
        for name in (*BELIEVED.split(), *bodies)
        for spelling in spellings(name)
        if "_" in spelling
    ]
    nobody_else(site, made_up)


@pytest.mark.parametrize(
    ("variables", "request_size", "response_size"),
    [({}, 16, 32), (dict.fromkeys(SIZES, "8k"), 8, 8), (dict.fromkeys(SIZES, "128k"), 128, 128),
     ({SIZES[1]: "256k"}, 16, 256)],
)  # fmt: skip
def test_headers_may_be_as_large_as_the_variables_say(
    make_site, variables, request_size, response_size
):
    site = make_site(neighbour="", variables=variables)
    # The workers of these tests take lines of 64 kB.
    if request_size < 64:
        path = "/x?" + 1000 * (request_size - 1) * "y"
        assert site.received(path, headers=[("Cookie", path)])["path"] == path
    for path, cookie in (
        ("/x?" + 1024 * request_size * "y", "a"),
        ("/", 1024 * request_size * "a"),
    ):
        # nginx closes the connection, and the rest of the request may meet a closed end.
        with contextlib.suppress(ConnectionError):
            assert site.fetch(path, headers=[("Cookie", cookie)])[0] in (414, 431)
    cookies = response_size // 4 - 1
    status, headers, _ = site.fetch(f"/wide?cookies={cookies}")
    assert (status, len(headers.get_all("Set-Cookie"))) == (200, cookies)
    assert site.fetch(f"/wide?cookies={cookies + 2}")[0] == 502


def test_every_other_header_gets_through(make_site):
    own = [
        ("X-CSRFToken", "1"),
        ("Authorization", "Basic x"),
        ("Cookie", "a=b"),
        ("X-User-Id", "7"),
    ]
    received = make_site().received("/", headers=own)["headers"]
    assert {(name.lower(), value) for name, value in own} <= {tuple(pair) for pair in received}


@pytest.mark.parametrize(
    ("upgrade", "passed"),
    [
        ("websocket", True),
        ("WebSocket", True),
        ("h2c", False),
        ("websocket, h2c", False),
        ("h2c, websocket", False),
        ("TLS/1.0", False),
        ("websocketx", False),
        ("", False),
    ],
)
def test_of_upgrades_only_the_one_to_a_websocket_is_passed_on(make_site, upgrade, passed):
    sent = [
        ("Upgrade", upgrade),
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("HTTP2-Settings", "A"),
    ]
    headers = dict(make_site().received("/", headers=sent)["headers"])
    expected = ("websocket", "upgrade", None) if passed else (None, None, None)
    assert (
        headers.get("upgrade"),
        headers.get("connection"),
        headers.get("http2-settings"),
    ) == expected


def test_a_visitor_of_ipv4_has_an_address_of_ipv4_in_a_socket_for_both(make_site):
    neighbour = "server {{ listen [::]:{port} ipv6only=off; server_name blog.example; }}"
    site = make_site(neighbour=neighbour, dual_stack=True, admin={"allow": ["127.0.0.0/8"]})
    headers = dict(site.received("/")["headers"])
    assert headers["x-real-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
    log = site.host.root / "access.log"
    give_up = time.monotonic() + 5
    while not log.read_text() and time.monotonic() < give_up:
        time.sleep(0.01)  # nginx writes the line after the answer
    assert json.loads(log.read_text().splitlines()[-1])["client"] == "127.0.0.1"
    assert dict(site.received("/", address="::1")["headers"])["x-real-ip"] == "::1"
    assert site.fetch("/admin")[0] == 200
    assert site.fetch("/admin", address="::1")[0] == 403


def test_the_site_reports_which_configuration_nginx_runs(make_site):
    site = make_site()
    status, headers, text = site.fetch("/.aroundtheworld/nginx")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert len(text.strip()) == 16
    assert text.strip() in (site.host.etc / "sites-enabled" / "shop.conf").read_text()


@pytest.fixture
def full():
    """A worker that takes no connection any more: as many as it keeps are waiting already."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def test_a_worker_that_takes_no_connection_costs_time_and_no_request(make_site, full):
    site = make_site(siblings=[full])
    begun = time.monotonic()
    for number in range(2):  # one to each of the two
        assert site.received(f"/{number}")["path"] == f"/{number}"
    assert time.monotonic() - begun > 3, "the full one was not asked"
