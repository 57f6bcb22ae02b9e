"""Tricks with paths: none of them reaches the wrong pool, or a file that is not public.

What a request means is not predicted here. Whatever nginx makes of it, a worker may only get paths
of its own pool, as an app that decodes them once would read them.
"""

import http.client
import posixpath
import re
import socket
import ssl
import urllib.parse

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from tests import certificates
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site
from tests.spellings import PATHS, words

pytestmark = needs_nginx

SECRET = "48151623"
# Files beside those that are public, below the test's directory.
HIDDEN = (
    "home/shared/shop.db",
    "home/releases/0123456789ab/app/shop.py",
    "home/current/app/shop.py",
    "home/assets/index.json",
    "home/assets/current/shop.db",
    "home/deploys.jsonl",
    "etc/aroundtheworld/environment",
    "etc/aroundtheworld/secrets/cookie_secret",
)


@pytest.fixture(scope="module", params=["normalized", "raw"])
def site(tmp_path_factory, request):
    """Returns a site with HTTPS, and files beside it that nobody may get.

    A path reaches the workers as nginx has read it, or as it was sent.
    """
    root = tmp_path_factory.mktemp("paths")
    for name in HIDDEN:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    path = {"path": request.param}
    made = Site(root, "merge_slashes off;", neighbour="", tls={}, public=path, admin=path)
    yield made
    made.stop()


class Visitor:
    """Sends bytes over HTTPS, on one connection as long as nginx keeps it."""

    def __init__(self, site, *protocols):
        self.port = site.https_port
        self.trusting = ssl.create_default_context(cadata=certificates.root().pem)
        self.trusting.set_alpn_protocols(protocols)
        self.connection = None

    def open(self):
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        self.connection = self.trusting.wrap_socket(plain, server_hostname="shop.example")
        return self.connection

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def exchange(self, data):
        """Return status, headers and body of the first response, 0 and nothing for none."""
        connection = self.connection or self.open()
        response = http.client.HTTPResponse(connection)
        try:
            connection.sendall(data)
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, "", b""
        if response.will_close:
            self.close()
        return response.status, str(response.headers), body


def read_as_apps_do(path):
    """Return the path as an app that decodes it once may read it."""
    return posixpath.normpath("/" + urllib.parse.unquote(path.partition("?")[0]).lstrip("/"))


def wrong(site):
    """Return what workers got since the last time that is not their pool's.

    An app may also take a path as it is. Then a raw one may be nothing that it knows, on the admin
    side only.
    """
    found = []
    for pool, worker in site.workers.items():
        requests, worker.requests[:] = list(worker.requests), []
        unknown = pool == "admin" and site.values["aroundtheworld_pools"][1]["path"] == "raw"
        for request in requests:
            readings = {request["path"].partition("?")[0], read_as_apps_do(request["path"])}
            for path in {read_as_apps_do(request["path"])} if unknown else readings:
                belongs = "admin" if re.match("/admin(/|$)", path) else "public"
                if belongs != pool:
                    found.append((pool, request["path"]))
    return found


def gives_away(text):
    return SECRET in text or "root:x:0" in text


def test_no_spelling_of_a_path_reaches_the_wrong_pool_or_a_hidden_file(site):
    visitor, bad, answered = Visitor(site, "http/1.1"), [], 0
    for path in PATHS:
        request = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        status, headers, body = visitor.exchange(request.encode("latin-1"))
        if (mixed := wrong(site)) or gives_away(headers + body.decode("latin-1")) or status >= 500:
            bad.append((path, mixed, status, body[:200]))
        answered += status > 0
    visitor.close()
    assert bad == []
    assert answered > 0.95 * len(PATHS)


# --- Requests with a second one inside ---

INNER = b"GET /admin/inner HTTP/1.1\r\nHost: shop.example\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + INNER
LENGTHS = [
    (b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(CHUNKED), CHUNKED),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNKED),
    (b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(INNER), INNER),
    (b"Content-Length: %d\r\nContent-Length: 0\r\n" % len(INNER), INNER),
    (b"Content-Length: %d, 0\r\n" % len(INNER), INNER),
    (b"Content-Length: +%d\r\n" % len(INNER), INNER),
    (b"Content-Length: %d \r\n" % len(INNER), INNER),
    (b"Content-Length: 0x10\r\n", INNER),
    (b"Content-Length: -1\r\n", INNER),
    (b"Content-Length : %d\r\n" % len(INNER), INNER),
    (b"Content_Length: %d\r\n" % len(INNER), INNER),
    (b"Content-Length:\r\n %d\r\n" % len(INNER), INNER),
    (b"Content-Length: 99999999999999999999\r\n", INNER),
    *(
        (b"Content-Length: %d\r\n%b\r\n" % (len(CHUNKED), coding), CHUNKED)
        for coding in (
            *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked, identity"),
            *(b"Transfer-Encoding: identity", b"Transfer-Encoding : chunked"),
            *(b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked"),
            *(b"Transfer_Encoding: chunked", b"transfer-encoding: CHUNKED"),
            *(b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked"),
            *(b" Transfer-Encoding: chunked", b"Transfer-Encoding:\r\n chunked"),
            *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"TE: chunked"),
            *(b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunk\x00ed"),
            *(b"Connection: Content-Length", b"Connection: Transfer-Encoding, X"),
        )
    ),
    (b"Transfer-Encoding: chunked\r\n", b"1;\r\nx\r\n" + CHUNKED),
    (b"Transfer-Encoding: chunked\r\n", b'1;a="\r\n"\r\nx\r\n' + CHUNKED),
    (b"Transfer-Encoding: chunked\r\n", b"0x1\r\nx\r\n" + CHUNKED),
    (b"Transfer-Encoding: chunked\r\n", b"1\nx\n0\n\n" + INNER),
    (b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff0\r\n" + CHUNKED),
    (b"Transfer-Encoding: chunked\r\n", b"-1\r\n" + CHUNKED),
    (b"Transfer-Encoding: chunked\r\n", b"0\r\nHost: x\r\nContent-Length: 5\r\n\r\n" + INNER),
    (b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(INNER), INNER),
    (b"Upgrade: websocket\r\nConnection: upgrade\r\n", INNER),
    (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n", INNER),
]
LINES = [
    *(b"POST /x HTTP/1.0", b"POST /x HTTP/1.1 ", b"POST  /x HTTP/1.1", b"POST /x\tHTTP/1.1"),
    *(b"POST /x HTTP/1.1\r\nHost: shop.example\r\nX: y\n\nGET /admin/inner HTTP/1.1", b"POST /x"),
    *(b"GET /x HTTP/1.1\r\nHost: a\r\nHost: shop.example", b"\r\n\r\nPOST /x HTTP/1.1"),
    *(b"POST /x HTTP/2.0", b"PRI * HTTP/2.0", b"POST /x%20HTTP/1.1%0d%0aHost:%20a HTTP/1.1"),
    *(b"POST /x HTTP/1.1\r\n GET /admin/inner HTTP/1.1", b"POST /x\r/admin HTTP/1.1"),
]  # fmt: skip


def test_no_request_hides_another_one(site):
    visitor, bad = Visitor(site, "http/1.1"), []
    plain = b"POST /x HTTP/1.1"
    requests = [
        *((plain, headers, body) for headers, body in LENGTHS),
        *((line, headers, body) for line in LINES for headers, body in LENGTHS[:2]),
    ]
    for line, headers, body in requests:
        visitor.close()
        visitor.open().settimeout(0.3)  # where nginx waits for more of the request
        status, *_ = visitor.exchange(
            line + b"\r\nHost: shop.example\r\n" + headers + b"\r\n" + body
        )
        visitor.exchange(b"GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        if mixed := wrong(site):
            bad.append((line, headers, status, mixed))
    visitor.close()
    assert bad == []


# --- HTTP/2 ---

USUAL = [(":method", "GET"), (":scheme", "https"), (":authority", "shop.example")]
PATHS_OF_HTTP2 = [
    *words(r"""
    /admin //admin/x /%61dmin /x/../admin /x/..%2fadmin /admin/../x admin * /admin#x /x#/../admin
    /x?/../admin \admin ?/admin http://shop.example/admin //shop.example/admin /static/../../x
    /static/..%2f..%2fshared/shop.db /static/../index.json /static/%2e%2e/index.json
"""),
    *("", "/ad min", "/admin HTTP/1.1", "/x HTTP/1.1\r\nX: y", "/x\r\n\r\nGET /admin/inner"),
    *("/admin\x00", "/\x00admin", "/x\n/admin", "/\xe4"),
]
HEADERS_OF_HTTP2 = [
    *(("transfer-encoding", "chunked"), ("connection", "upgrade"), ("upgrade", "h2c")),
    *(("content-length", "0"), ("content-length", "5"), ("Content-Length", "1"), ("x y", "z")),
    *(("x\r\nX-Y", "z"), ("x", "y\r\n\r\nGET /admin/inner HTTP/1.1"), ("x:y", "z"), ("", "x")),
    *(("te", "trailers, chunked"), ("x-original-url", "/admin"), ("x-rewrite-url", "/admin")),
    *((":x", "y"), ("host", "shop.example"), ("x_forwarded_for", "1.2.3.4")),
    *((":path", "/admin"), (":authority", "evil.example"), ("host", "evil.example/admin")),
    (":protocol", "websocket"),
]
PSEUDO = [
    *([*USUAL, (":path", path)] for path in PATHS_OF_HTTP2),
    *([*USUAL, (":path", "/x"), header] for header in HEADERS_OF_HTTP2),
    [*USUAL, (":path", "/admin"), (":path", "/x")],
    [*USUAL],
    [(":path", "/admin"), *USUAL[:2]],
    [*USUAL, ("x", "y"), (":path", "/admin")],
    [*USUAL[:2], (":path", "/x"), ("host", "shop.example")],
    [*USUAL[:2], (":path", "/x"), (":authority", "shop.example/admin?")],
    [*USUAL[:2], (":path", "/x"), (":authority", "a@shop.example")],
    [USUAL[0], (":scheme", "http://shop.example/admin?"), USUAL[2], (":path", "/x")],
    [(":method", "GET /admin HTTP/1.1\r\nX: y\r\n\r\n"), *USUAL[1:], (":path", "/x")],
    [(":method", "CONNECT"), (":authority", "127.0.0.1:80")],
    [(":method", "get"), *USUAL[1:], (":path", "/x")],
]


def over_http2(visitor, headers, body):
    """Send a request as it is; return all that the response has, an empty text if there is none."""
    raw = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding=None
    )
    state = h2.connection.H2Connection(config=raw)
    connection = visitor.open()
    state.initiate_connection()
    state.send_headers(1, headers)
    state.send_data(1, body, end_stream=True)
    received = b""
    try:
        connection.sendall(state.data_to_send())
        while block := connection.recv(65536):
            for event in state.receive_data(block):
                if isinstance(event, h2.events.ResponseReceived):
                    received += b"".join(name + value for name, value in event.headers)
                if isinstance(event, h2.events.DataReceived):
                    received += event.data
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return received.decode("latin-1")
            connection.sendall(state.data_to_send())
    except OSError:
        pass
    finally:
        visitor.close()
    return received.decode("latin-1")


def test_no_pseudo_header_reaches_the_wrong_pool_or_a_hidden_file(site):
    visitor, bad, answers = Visitor(site, "h2"), [], 0
    for headers in PSEUDO:
        received = over_http2(visitor, headers, b"")
        over_http2(visitor, [(":method", "POST"), *headers[1:]], INNER)
        if (mixed := wrong(site)) or gives_away(received):
            bad.append((headers, mixed, received[:200]))
        answers += received.startswith(":status")
    assert bad == []
    assert answers > 0.5 * len(PSEUDO)
