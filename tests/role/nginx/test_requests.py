"""What nginx does with a request between a visitor and a worker, beside all kinds of neighbours.

nginx and the rendered site are real; the workers respond with what they received.
"""

import http.client
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible.module_utils.aroundtheworld.nginx.site import identified

from tests.render import render, variables_for
from tests.role.nginx.process import Host, free_port, needs_nginx, placed

pytestmark = needs_nginx

# Everything about a request that the first server of the address decides.
FIRST = """server {{
    listen {port} default_server; listen [::]:{port} default_server; server_name blog.example;
    merge_slashes {merges}; underscores_in_headers on; ignore_invalid_headers off;
    return 200 blog;
}}
"""
# What an http block may set for all of its servers, each against a promise.
HOSTILE = """
    merge_slashes off; underscores_in_headers on; ignore_invalid_headers off;
    proxy_buffering off; proxy_request_buffering off; proxy_intercept_errors on;
    proxy_http_version 1.0; proxy_read_timeout 1s; proxy_send_timeout 1s;
    proxy_next_upstream error timeout http_500 non_idempotent;
    proxy_redirect http://app.example/ http://evil.example/; proxy_cookie_path / /evil;
    proxy_cookie_domain app.example evil.example; proxy_cookie_flags ~ secure;
    proxy_hide_header X-Own; proxy_ignore_headers X-Accel-Redirect; proxy_set_header X-Evil 1;
    proxy_pass_request_headers off; proxy_pass_request_body off; proxy_buffer_size 1k;
    proxy_buffers 2 1k; proxy_busy_buffers_size 1k; proxy_store on; proxy_force_ranges on;
    error_page 404 500 503 =200 /evil; recursive_error_pages on; expires 1y; ssi on; etag off;
    charset koi8-r; override_charset on; if_modified_since off; disable_symlinks on;
    open_file_cache max=100 inactive=60s; open_file_cache_valid 60s; open_file_cache_errors on;
    limit_rate 100; client_max_body_size 1; client_body_in_file_only on; default_type evil/evil;
    chunked_transfer_encoding off; limit_conn_dry_run on; limit_conn_status 418; mirror /evil;
    client_body_timeout 1s; keepalive_timeout 0; gzip_types *; server_tokens on; root /etc;
    large_client_header_buffers 1 1k; proxy_headers_hash_bucket_size 64; index evil; autoindex on;
"""


class Worker(ThreadingHTTPServer):
    """Responds to every request with what it received, and keeps a list of that."""

    daemon_threads = True

    def __init__(self, pool):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pool, self.requests = pool, []
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        request = {
            "pool": self.server.pool,
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body,
        }
        self.server.requests.append(request)
        self.server.gate.wait(10)
        status, headers, text = SPECIAL.get(self.path, (200, {}, json.dumps(request)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = respond  # noqa: N815 - as http.server calls them

    def log_message(self, *_):
        pass


SPECIAL = {
    "/busy": (503, {"X-Own": "kept"}, "the app's own"),
    "/nowhere": (404, {}, "the app's own 404"),
    "/moved": (302, {"Location": "http://app.example/x"}, ""),
    "/cookie": (200, {"Set-Cookie": "a=b; Path=/; Domain=app.example"}, ""),
    "/ssi": (200, {"Content-Type": "text/html"}, '<!--#echo var="uri" -->'),
    "/wide": (200, {"X-Wide": "x" * 6000}, "wide"),
}


class Site:
    """The site behind a real nginx."""

    def __init__(self, host, port, workers, home):
        self.host, self.port, self.workers, self.home = host, port, workers, home

    def fetch(self, path, method="GET", headers=(), body=None, address="127.0.0.1"):
        connection = http.client.HTTPConnection(address, self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            # The host name last, so that the first server of the address decides what it can.
            pairs = [*headers, ("Host", "shop.example")]
            if body is not None:
                pairs.append(("Content-Length", str(len(body))))
            for name, value in pairs:
                connection.putheader(name, value)
            connection.endheaders(body.encode() if body else None)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def received(self, *arguments, **more):
        status, _, text = self.fetch(*arguments, **more)
        assert status == 200, text
        return json.loads(text)


@pytest.fixture
def make_site(tmp_path):
    started = []

    def make(
        merges="off", http="", neighbour=FIRST, names=("shop.example",), dual_stack=False, places=8
    ):
        home = tmp_path / "home"
        (home / "assets" / "current" / "static").mkdir(parents=True)
        (home / "assets" / "current" / "static" / "a.css").write_text("body {}")
        workers = {pool: Worker(pool) for pool in ("public", "admin")}
        ports = {pool: worker.server_address[1] for pool, worker in workers.items()}
        port = free_port()
        variables = {
            "aroundtheworld_home": str(home),
            "aroundtheworld_http_port": port,
            "aroundtheworld_server_names": list(names),
            "aroundtheworld_pools": [
                {"name": "public", "ports": [ports["public"]], "paths": ["/"]},
                {
                    "name": "admin",
                    "ports": [ports["admin"]],
                    "paths": ["/admin"],
                    "blocking": True,
                    "max_in_flight": places,
                },
            ],
            "aroundtheworld_static": [
                {"url": "/static/", "directory": "x"},
            ],
        }
        text = render("site.conf.j2", variables_for(variables, dual_stack=dual_stack))
        host = Host(tmp_path, http=http)
        (host.etc / "conf.d" / "blog.conf").write_text(neighbour.format(port=port, merges=merges))
        (host.etc / "sites-enabled" / "shop.conf").write_text(placed(identified(text), tmp_path))
        site = Site(host.start(), port, workers, home)
        started.append(site)
        return site

    yield make
    for site in started:
        site.host.stop()
        for worker in site.workers.values():
            worker.gate.set()
            worker.shutdown()
            worker.server_close()


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
    site = make_site(merges)
    found = {path: site.received(path) for path in PATHS}
    assert {path: (request["pool"], request["path"]) for path, request in found.items()} == PATHS


def test_a_path_with_slashes_without_end_is_refused_and_reaches_nobody(make_site):
    site = make_site()
    for path in ("//a" * 13, "/admin" + "//a" * 13, "//a" * 2000):
        assert site.fetch(path)[0] in (400, 414)
    assert [worker.requests for worker in site.workers.values()] == [[], []]


def test_what_is_sent_arrives_whole(make_site):
    body = "0123456789" * 5000
    request = make_site().received("//admin/x", "POST", body=body)
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
    site = make_site(places=1)
    admin = site.workers["admin"]
    admin.gate.clear()
    first = threading.Thread(target=site.fetch, args=("//admin//slow",))
    first.start()
    deadline = time.monotonic() + 10
    while not admin.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    status, headers, text = site.fetch("//admin//x")
    admin.gate.set()
    first.join()
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
    received = []
    for start in range(0, len(made_up), 40):
        received += site.received("/", headers=made_up[start : start + 40])["headers"]
    assert [name for name, value in received if "evil" in value] == []
    headers = dict(received)
    assert headers["x-real-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["host"] == "shop.example"
    assert len(headers["x-request-id"]) == 32


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
    site = make_site(neighbour=neighbour, dual_stack=True)
    headers = dict(site.received("/")["headers"])
    assert headers["x-real-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
    log = site.host.root / "aroundtheworld.access.log"
    give_up = time.monotonic() + 5
    while not log.read_text() and time.monotonic() < give_up:
        time.sleep(0.01)  # nginx writes the line after the answer
    assert json.loads(log.read_text().splitlines()[-1])["client"] == "127.0.0.1"
    assert dict(site.received("/", address="::1")["headers"])["x-real-ip"] == "::1"


# --- What the http block sets for all ---


@pytest.fixture
def hostile(make_site):
    neighbour = "server {{ listen {port}; server_name blog.example; }}"
    return make_site(http=HOSTILE, neighbour=neighbour, places=1)


def test_an_apps_answers_reach_its_visitors_as_they_are(hostile):
    status, headers, text = hostile.fetch("/busy")
    assert (status, headers["X-Own"], text) == (503, "kept", "the app's own")
    assert hostile.fetch("/nowhere")[::2] == (404, "the app's own 404")
    assert hostile.fetch("/moved")[1]["Location"] == "http://app.example/x"
    assert hostile.fetch("/cookie")[1]["Set-Cookie"] == "a=b; Path=/; Domain=app.example"
    assert hostile.fetch("/ssi")[2] == '<!--#echo var="uri" -->'
    assert hostile.fetch("/wide")[2] == "wide"
    headers = hostile.fetch("/")[1]
    assert (headers["Expires"], headers["Cache-Control"]) == (None, None)
    assert headers["Server"] != "nginx" or "/" not in headers["Server"]


def test_a_request_reaches_one_worker_once_and_whole(hostile):
    body = "x" * 30000
    request = hostile.received("//admin//x", "POST", headers=[("X-Own", "1")], body=body)
    assert (request["pool"], request["path"], request["body"]) == ("admin", "/admin/x", body)
    headers = dict(request["headers"])
    assert headers["x-own"] == "1"
    assert "x-evil" not in headers
    assert [len(worker.requests) for worker in hostile.workers.values()] == [0, 1]


def test_a_long_answer_is_not_slow(hostile):
    began = time.monotonic()
    for _ in range(20):
        hostile.received("/")
    assert time.monotonic() - began < 5


def test_closing_and_opening_are_seen_at_once(hostile):
    page = hostile.home / "maintenance.html"
    for _ in range(2):
        assert hostile.fetch("/")[0] == 200
        page.write_text("closed")
        assert hostile.fetch("/")[::2] == (503, "closed")
        page.unlink()
    assert hostile.fetch("/")[0] == 200


def test_a_busy_pool_has_its_own_page(hostile):
    admin = hostile.workers["admin"]
    admin.gate.clear()
    first = threading.Thread(target=hostile.fetch, args=("/admin/slow",))
    first.start()
    deadline = time.monotonic() + 10
    while not admin.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1.2)  # longer than what the http block would wait for a worker
    status, headers, text = hostile.fetch("/admin/x")
    admin.gate.set()
    first.join()
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "busy" in text


def test_the_sites_own_files_are_served_with_their_own_settings(hostile):
    status, headers, text = hostile.fetch("/static/a.css")
    assert (status, text) == (200, "body {}")
    assert headers["ETag"]
    assert headers["Expires"] is None
    assert headers["Cache-Control"] == "public, no-cache"
    assert hostile.fetch("/static/a.css", headers=[("If-None-Match", headers["ETag"])])[0] == 304


def test_the_site_reports_which_configuration_nginx_runs(make_site):
    site = make_site()
    status, headers, text = site.fetch("/.aroundtheworld/nginx")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert len(text.strip()) == 16
    assert text.strip() in (site.host.etc / "sites-enabled" / "shop.conf").read_text()
