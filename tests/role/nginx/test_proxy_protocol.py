"""The PROXY protocol on a port of its own, with a real nginx."""

import contextlib
import http.client
import json
import socket
import ssl

import pytest
from ansible.module_utils.aroundtheworld.nginx.site import Probe

from tests import certificates
from tests.role.nginx.process import free_port, needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

STRANGER, PROXY = "127.0.0.1", "127.0.0.2"
VISITOR = "203.0.113.7"
# What a visitor writes, and a proxy passes on as it is.
MADE_UP = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Real-IP": "6.6.6.6"}


@pytest.fixture(scope="module", params=[None, {}], ids=["http", "https"])
def site(request, tmp_path_factory):
    made = Site(
        tmp_path_factory.mktemp("site"),
        neighbour="",
        tls=request.param,
        variables={
            "aroundtheworld_trusted_proxies": [PROXY],
            "aroundtheworld_proxy_protocol_port": free_port(),
            "aroundtheworld_headers": {"X-Own": "of the site"},
        },
    )
    made.tls = request.param is not None
    yield made
    made.stop()


def fetch(site, peer, announced, name="shop.example", headers=MADE_UP):
    """Return the response to a request that begins with the PROXY protocol's line."""
    port = site.values["aroundtheworld_proxy_protocol_port"]
    with contextlib.ExitStack() as stack:
        connection = socket.create_connection(("127.0.0.1", port), 10, (peer, 0))
        stack.enter_context(connection)
        connection.sendall(announced)
        if site.tls:
            context = ssl.create_default_context(cadata=certificates.root().pem)
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=name))
        client = http.client.HTTPConnection(name)
        client.sock = connection
        client.request("GET", "/x", headers=headers)
        response = client.getresponse()
        return response.status, response.headers, response.read().decode()


def line(address, family="TCP4", to="127.0.0.1"):
    return f"PROXY {family} {address} {to} 50000 443\r\n".encode()


@pytest.mark.parametrize(
    ("peer", "announced", "client"),
    [
        (PROXY, line(VISITOR), VISITOR),
        (PROXY, line("2001:db8::7", "TCP6", "::1"), "2001:db8::7"),
        (PROXY, b"PROXY UNKNOWN\r\n", PROXY),
        (STRANGER, line(VISITOR), STRANGER),
        (STRANGER, b"PROXY UNKNOWN\r\n", STRANGER),
    ],
)
def test_only_a_trusted_proxy_says_who_the_visitor_is(site, peer, announced, client):
    status, headers, text = fetch(site, peer, announced)
    assert (status, headers["X-Own"]) == (200, "of the site")
    received = dict(json.loads(text)["headers"])
    assert received["x-forwarded-for"] == received["x-real-ip"] == client
    assert received["x-forwarded-proto"] == ("https" if site.tls else "http")


def test_who_does_not_speak_it_gets_nothing(site):
    with pytest.raises((OSError, http.client.HTTPException)):
        fetch(site, PROXY, b"")


def test_who_asks_for_another_name_gets_nothing(site):
    with pytest.raises((OSError, http.client.HTTPException)):
        fetch(site, PROXY, line(VISITOR), "other.example")


def test_the_role_asks_the_site_on_its_other_ports(site):
    text = (site.host.etc / "sites-enabled" / "shop.conf").read_text()
    asked = {probe.port for probe in Probe.all_of(text, "aroundtheworld")}
    assert asked == {site.port, *([site.https_port] if site.tls else [])}


def test_the_other_port_goes_on_without_it(site):
    if not site.tls:
        headers = dict(site.received("/", headers=MADE_UP.items(), source=PROXY)["headers"])
        assert (headers["x-real-ip"], headers["x-forwarded-proto"]) == ("6.6.6.6", "https")
