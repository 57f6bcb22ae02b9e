"""The access log of a real nginx: a line of JSON for each request, whatever its bytes."""

import json
import socket

import pytest

from tests.render import render, variables_for
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import FIRST

pytestmark = needs_nginx

HOST = b"Host: shop.example\r\n"


@pytest.fixture
def site(make_site):
    """Return a site that is the default server of its address, so that every request is its own."""
    return make_site(names=("_",), neighbour=FIRST.replace(" default_server", ""))


def send(site, data):
    """Send bytes as they are; return the first of the response, none where nginx waits for more."""
    with socket.create_connection(("127.0.0.1", site.port), 0.3) as connection:
        connection.sendall(data)
        try:
            return connection.recv(65536)
        except TimeoutError:
            return b""


def logged(site, count):
    """Return the entries of the access log when there are so many, in any order."""
    log = site.host.root / "access.log"
    site.host.until(lambda: len(log.read_bytes().splitlines()) >= count)
    lines = log.read_bytes().splitlines()
    assert len(lines) == count
    return [json.loads(line.decode()) for line in lines]


def test_a_line_says_what_was_answered_by_whom_and_how_long_it_took(make_site):
    site = make_site(admin={"max_in_flight": 1})
    site.fetch("/admin/x?y=1", headers=[("User-Agent", 'a "b"'), ("Referer", "http://z.example/")])
    port = site.workers["admin"].server_address[1]
    (entry,) = logged(site, 1)
    for name in ("seconds", "bytes"):
        assert entry.pop(name) >= 0
    for name in ("upstream_connect_seconds", "upstream_header_seconds", "upstream_seconds"):
        assert float(entry.pop(name)) >= 0
    assert entry.pop("time")
    assert (
        entry.pop("request_id")
        == dict(site.workers["admin"].requests[0]["headers"])["x-request-id"]
    )
    assert entry == {
        "client": "127.0.0.1",
        "host": "shop.example",
        "protocol": "HTTP/1.1",
        "tls_protocol": "",
        "tls_cipher": "",
        "method": "GET",
        "uri": "/admin/x?y=1",
        "status": 200,
        "pool": "admin",
        "release": "0123456789ab",
        "upstream": f"127.0.0.1:{port}",
        "upstream_status": "200",
        "referrer": "http://z.example/",
        "user_agent": 'a "b"',
    }
    # The release is for the log alone.
    for path in ("/", "/admin", "/nowhere", "/busy"):
        assert "X-Aroundtheworld-Release" not in site.fetch(path)[1], path
    assert {entry["release"] for entry in logged(site, 5)} == {"0123456789ab"}
    # A request that no worker got has its pool.
    with site.occupied("admin", "/admin/slow"):
        assert site.fetch("/admin/2")[0] == 503
    (site.home / "maintenance.html").write_text("closed")
    assert site.fetch("/x")[0] == 503
    assert site.fetch("/static/a.css")[0] == 503
    pools = {entry["uri"]: (entry["pool"], entry["upstream"]) for entry in logged(site, 9)}
    assert pools["/admin/2"] == ("admin", "")
    assert pools["/x"] == ("public", "")
    assert pools["/static/a.css"] == ("", "")


# By the bytes that a visitor sends, the text in the log.
TEXTS = {
    b"plain": "plain",
    "é€😀".encode(): "é€😀",
    b'"\\{}\x7f': '"\\{}\x7f',
    b"\x01\x1f\t.": "\x01\x1f\t.",
    b"\xff": "\N{REPLACEMENT CHARACTER}",
    b"a\xe4b": "a\N{REPLACEMENT CHARACTER}",
    "é".encode() + b"\xc0\x80": "é\N{REPLACEMENT CHARACTER}",  # an overlong NUL
    b"\xed\xa0\x80": "\N{REPLACEMENT CHARACTER}",  # half of a surrogate pair
    b"\xf4\x90\x80\x80": "\N{REPLACEMENT CHARACTER}",  # beyond Unicode
    b"cut \xf0\x9f\x98": "cut \N{REPLACEMENT CHARACTER}",
    b"\xc3" * 2000: "\N{REPLACEMENT CHARACTER}",
    b"a" * 7000 + b"\xc3": "a" * 7000 + "\N{REPLACEMENT CHARACTER}",
    "é".encode() * 3500: "é" * 3500,
}
# Requests that reach no location, or hardly.
STRANGE = [
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\xff\r\n\r\n",  # TLS
    b"\x00\x01\xff\xfe\r\n\r\n",
    b"G\xffT / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /%ff%\r\n\r\n",
    b"GET /nine\r\n",
    b"GET / HTTP/3.0\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.\xff\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xe4\xff\"\\\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\xe4.example\r\nConnection: close\r\n\r\n",
    b"GET http://b\xe4.example/x HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n",
    b"GET /" + b"\xe4" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"\xe4" * 9000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n",
]  # fmt: skip


def test_every_line_is_json_whatever_a_visitor_sends(site):
    for number, text in enumerate(TEXTS):
        for header in (b"User-Agent: ", b"Referer: "):
            start = b"GET /%d HTTP/1.1\r\n" % number
            assert send(site, start + HOST + header + text + b"\r\n\r\n")[9:12] == b"200"
    entries = logged(site, 2 * len(TEXTS))
    texts = {(entry["uri"], entry["user_agent"], entry["referrer"]) for entry in entries}
    for number, text in enumerate(TEXTS.values()):
        assert {(f"/{number}", text, ""), (f"/{number}", "", text)} <= texts
    for request in STRANGE:
        send(site, request)
    entries = logged(site, 2 * len(TEXTS) + len(STRANGE))[2 * len(TEXTS) :]
    assert len({entry["request_id"] for entry in entries}) == len(STRANGE)
    assert not [entry for entry in entries if entry["status"] == 200 and not entry["pool"]]


TRUNCATED = {
    "203.0.113.7": "203.0.113.0",
    "10.0.0.255": "10.0.0.0",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1::",
    "2001:db8:1::7": "2001:db8:1::",
    "2001:db8::7": "2001:db8::",
    "2001::7": "2001::",
    "::1": "::",
    "::ffff:203.0.113.7": "203.0.113.0",
}


def test_of_an_address_there_is_its_network_or_nothing(make_site):
    # In place of visitors from all over the world: one who says where they come from.
    variables = {
        "aroundtheworld_log_addresses": "truncated",
        "aroundtheworld_trusted_proxies": ["127.0.0.1"],
    }
    site = make_site(variables=variables)
    for address in TRUNCATED:
        site.fetch(f"/{address}", headers=[("X-Forwarded-For", address)])
    entries = logged(site, len(TRUNCATED))
    assert {entry["uri"][1:]: entry["client"] for entry in entries} == TRUNCATED
    variables = {"aroundtheworld_log_addresses": "none"}
    assert '"client":"",' in render("nginx/log.conf.j2", variables_for(variables))
