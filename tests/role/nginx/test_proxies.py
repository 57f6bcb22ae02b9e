"""Who a visitor is and by which scheme they come: trusted proxies say it, and nobody else."""

import json

import pytest

from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

# The host's own, for all sites, and other than the site's.
HOSTILE = "set_real_ip_from 127.0.0.1; real_ip_header X-Evil; real_ip_recursive off;"
STRANGER, PROXY = "127.0.0.1", "127.0.0.2"
VISITOR = "203.0.113.7"


def make(root, proxies, more=None, **settings):
    variables = {"aroundtheworld_trusted_proxies": proxies, **(more or {})}
    return Site(root, http=HOSTILE, variables=variables, **settings)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    site = make(root, [PROXY, "10.0.0.0/8", "::1"], admin={"rate": "1/m", "burst": 0})
    yield site
    site.stop()


def visitor(site, peer, **sent):
    """Return client and scheme as a worker learns them; `sent` are the two headers' values."""
    names = {"addresses": "X-Forwarded-For", "scheme": "X-Forwarded-Proto"}
    headers = [
        (names[key], value)
        for key, values in sent.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    address = "::1" if ":" in peer else "127.0.0.1"
    request = site.received("/", headers=[*headers, ("X-Evil", "6.6.6.6")], address=address,
                            source=peer)  # fmt: skip
    received = [(name, value) for name, value in request["headers"] if name.startswith("x-")]
    (client,) = [value for name, value in received if name == "x-forwarded-for"]
    (real,) = [value for name, value in received if name == "x-real-ip"]
    (scheme,) = [value for name, value in received if name == "x-forwarded-proto"]
    assert client == real
    return client, scheme


@pytest.mark.parametrize("peer", [PROXY, "::1"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, None),
        ({"addresses": VISITOR}, VISITOR),
        ({"addresses": f"6.6.6.6, {VISITOR}"}, VISITOR),
        ({"addresses": f"6.6.6.6, {VISITOR}, 10.1.2.3,{PROXY}"}, VISITOR),
        ({"addresses": [f"6.6.6.6, {VISITOR}", "10.1.2.3"]}, VISITOR),
        ({"addresses": "10.1.2.3"}, "10.1.2.3"),
        ({"addresses": f"made up, {VISITOR}"}, VISITOR),
        ({"addresses": "made up"}, None),
        ({"addresses": "2001:db8::7, 10.1.2.3"}, "2001:db8::7"),
        ({"addresses": f"::ffff:{VISITOR}, ::ffff:10.1.2.3"}, VISITOR),
    ],
)
def test_a_trusted_proxy_says_who_the_visitor_is(site, peer, sent, expected):
    assert visitor(site, peer, **sent) == (expected or peer, "http")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http", "http"),
        ("gopher", "http"),
        ("https, http", "http"),
        ("", "http"),
    ],
)
def test_a_trusted_proxy_says_by_which_scheme_the_visitor_comes(site, sent, expected):
    assert visitor(site, PROXY, addresses=VISITOR, scheme=sent) == (VISITOR, expected)
    assert visitor(site, STRANGER, addresses=VISITOR, scheme=sent) == (STRANGER, "http")


def test_nobody_else_is_believed(site, make_site):
    made_up = {"addresses": f"{VISITOR}, {PROXY}", "scheme": "https"}
    assert visitor(site, STRANGER, **made_up) == (STRANGER, "http")
    without = make_site(http=HOSTILE)
    for peer in (STRANGER, PROXY):
        assert visitor(without, peer, **made_up) == (peer, "http")


def test_the_log_has_the_visitors_address(site):
    site.fetch("/own-path", headers=[("X-Forwarded-For", VISITOR)], source=PROXY)
    log = site.host.root / "access.log"
    site.host.until(lambda: "/own-path" in log.read_text())
    (line,) = [line for line in log.read_text().splitlines() if "/own-path" in line]
    assert json.loads(line)["client"] == VISITOR


def test_a_rate_is_counted_for_each_visitor_behind_a_proxy(site):
    statuses = [
        site.fetch("/admin", headers=[("X-Forwarded-For", address)], source=PROXY)[0]
        for address in (VISITOR, VISITOR, f"6.6.6.6, {VISITOR}", "203.0.113.8")
    ]
    assert statuses == [200, 429, 429, 200]


def test_a_proxy_of_ipv4_is_known_in_a_socket_for_both(tmp_path):
    neighbour = "server {{ listen [::]:{port} ipv6only=off; server_name blog.example; }}"
    site = make(tmp_path, [PROXY], neighbour=neighbour, dual_stack=True)
    try:
        made_up = {"addresses": VISITOR, "scheme": "https"}
        assert visitor(site, PROXY, **made_up) == (VISITOR, "https")
        assert visitor(site, STRANGER, **made_up) == (STRANGER, "http")
    finally:
        site.stop()


def test_who_has_https_at_a_proxy_is_not_led_to_https_without_end(tmp_path):
    site = make(tmp_path, [PROXY], tls={})
    try:
        for peer, scheme, expected in (
            (PROXY, "https", 421),
            (PROXY, "http", 301),
            (STRANGER, "https", 301),
        ):
            headers = [("X-Forwarded-Proto", scheme)]
            status, found, text = site.fetch("/x", headers=headers, source=peer)
            assert status == expected
            assert bool(found["Location"]) is (expected == 301)
            assert (f"connect to port {site.https_port}" in text) is (expected == 421)
    finally:
        site.stop()


def test_a_proxys_visitors_are_led_to_the_canonical_name_by_their_own_scheme(tmp_path):
    canonical = {"aroundtheworld_canonical_name": "www.shop.example"}
    names = ["shop.example", "www.shop.example"]
    site = make(tmp_path, [PROXY], names=names, more=canonical)
    try:
        led = {
            scheme: site.fetch("/x?y", headers=[("X-Forwarded-Proto", scheme)], source=PROXY)
            for scheme in ("http", "https")
        }
        assert led["https"][1]["Location"] == "https://www.shop.example/x?y"
        assert led["http"][1]["Location"] == f"http://www.shop.example:{site.port}/x?y"
    finally:
        site.stop()


def test_where_everybody_is_a_proxy_only_the_last_address_is_believed(tmp_path):
    site = make(tmp_path, ["everybody"])
    try:
        for peer in (STRANGER, "::1"):
            sent = {"addresses": f"6.6.6.6, {VISITOR}", "scheme": "https"}
            assert visitor(site, peer, **sent) == (VISITOR, "https")
    finally:
        site.stop()
