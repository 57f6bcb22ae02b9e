"""A pool whose visitors need a certificate, on a real nginx."""

import http.client
import json
import socket
import ssl

import pytest

from tests import certificates
from tests.render import ADMIN, PUBLIC
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site
from tests.role.rendered import site_of

pytestmark = needs_nginx

OFFICE = certificates.Issuer("Office")
OFFICE_TOO = certificates.Issuer("Branch of the office", by=OFFICE)
FOREIGN = certificates.Issuer("Somebody else")
HTTP = "ssl_trusted_certificate {foreign};"  # for all of the host's sites


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    (directory / "foreign.pem").write_text(FOREIGN.pem)
    made = Site(
        directory / "site",
        HTTP.format(foreign=directory / "foreign.pem"),
        neighbour="",
        names=("shop.example", "office.example"),
        admin={"server_names": ["office.example"], "client_ca": OFFICE.pem},
        tls={},
    )
    yield made
    made.stop()


@pytest.fixture
def fetch(site, tmp_path):
    def fetch(path, name="office.example", by=None, *, sni="", chain=""):
        context = ssl.create_default_context(cadata=certificates.root().pem)
        if by:
            certificate, key = by.issue("ada.example")
            (tmp_path / "client.pem").write_text(certificate + chain + key)
            context.load_cert_chain(tmp_path / "client.pem")
        with (
            socket.create_connection(("127.0.0.1", site.https_port), 10) as plain,
            context.wrap_socket(plain, server_hostname=sni or name) as connection,
        ):
            client = http.client.HTTPConnection(name)
            client.sock = connection
            client.request("GET", path)
            response = client.getresponse()
            return response.status, response.read().decode()

    return fetch


OF_ADMIN = ("/admin", "/admin/x", "//admin/x", "/admin/static/none", "/admin/static/a.css")


def test_who_has_a_certificate_may_ask(fetch):
    for path in OF_ADMIN:
        assert fetch(path, by=OFFICE)[0] == 200
    assert json.loads(fetch("/admin", by=OFFICE_TOO, chain=OFFICE_TOO.pem)[1])["pool"] == "admin"


def test_who_has_none_gets_nothing(site, fetch):
    count = len(site.workers["admin"].requests)
    for path in OF_ADMIN:
        assert fetch(path)[0] == 403
        status, text = fetch(path, by=FOREIGN)
        assert (status, "This request cannot be read" in text) == (400, True)
        assert fetch(path, sni="shop.example")[0] == 421
    assert len(site.workers["admin"].requests) == count
    assert fetch("/.aroundtheworld/nginx")[0] == 200


def test_visitors_of_other_names_are_asked_for_nothing(fetch):
    for by in (None, FOREIGN, OFFICE):
        status, text = fetch("/", name="shop.example", by=by)
        assert (status, json.loads(text)["pool"]) == (200, "public")
        assert fetch("/admin", name="shop.example", by=by)[0] == 404


def test_without_https_nobody_has_a_certificate(make_site):
    """As before the first certificate of the site's own has come."""
    extra = "location = /verify { if ($ssl_client_verify != SUCCESS) { return 403; } return 200; }"
    assert make_site(variables={"aroundtheworld_nginx_extra": extra}).fetch("/verify")[0] == 403
    waits = {
        "aroundtheworld_tls": "acme",
        "aroundtheworld_acme_email": "ada@shop.example",
        "aroundtheworld_server_names": ["shop.example", "office.example"],
    }
    asks = {**ADMIN, "server_names": ["office.example"], "client_ca": OFFICE.pem}
    _, site, _ = site_of({**waits, "aroundtheworld_pools": [PUBLIC, asks]})
    office = site.servers()[1]
    assert office.location("/admin/").all("if")[0] == ["$ssl_client_verify", "!=", "SUCCESS"]
    assert office.all("ssl_verify_client") == []
