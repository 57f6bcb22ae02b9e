"""HTTPS of the site on a real nginx."""

import http.client
import json
import socket
import ssl
from contextlib import contextmanager

import pytest

from tests import certificates
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

NAMES = ("shop.example", "www.shop.example")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Returns a site with HTTPS that has its addresses for itself."""
    made = Site(tmp_path_factory.mktemp("tls"), neighbour="", names=NAMES, tls={})
    yield made
    made.stop()


def context(*protocols):
    trusting = ssl.create_default_context(cadata=certificates.root().pem)
    trusting.set_alpn_protocols(protocols)
    return trusting


@contextmanager
def connected(site, name="shop.example", *protocols, using=None):
    with (
        socket.create_connection(("127.0.0.1", site.https_port), 10) as plain,
        (using or context(*protocols)).wrap_socket(plain, server_hostname=name) as connection,
    ):
        yield connection


def fetch(site, path, name="shop.example", method="GET", headers=()):
    with connected(site, name) as connection:
        client = http.client.HTTPConnection(name, site.https_port)
        client.sock = connection
        client.request(method, path, headers=dict(headers))
        response = client.getresponse()
        return response.status, response.headers, response.read().decode()


@pytest.mark.parametrize("name", NAMES)
def test_visitors_get_the_site_with_its_certificate(site, name):
    status, _, text = fetch(site, "/x?y", name)
    headers = dict(json.loads(text)["headers"])
    assert (status, headers["x-forwarded-proto"]) == (200, "https")
    assert headers["host"] == f"{name}:{site.https_port}"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)]
)
def test_http_leads_to_https_with_method_path_and_query(site, method, status):
    found, headers, _ = site.fetch("//a%2Fb?c=d&e=/f", method)
    assert found == status
    assert headers["Location"] == f"https://shop.example:{site.https_port}//a%2Fb?c=d&e=/f"
    assert headers["Cache-Control"] == "no-store"


def test_an_error_of_nginx_is_a_page_of_the_site_on_both_ports(site):
    for status, headers, text in (
        fetch(site, "/.aroundtheworld/x"),
        site.fetch("/.aroundtheworld/x"),
    ):
        assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "There is nothing here" in text
