"""HTTPS of the site on a real nginx."""

import http.client
import json
import re
import socket
import ssl
import subprocess
from contextlib import contextmanager

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.maintenance import switch as switches
from ansible.module_utils.aroundtheworld.nginx import service
from ansible.module_utils.aroundtheworld.nginx.configuration import versions
from ansible.module_utils.aroundtheworld.nginx.site import Probe

from tests import certificates
from tests.role.nginx.process import fetch as fetch_plain
from tests.role.nginx.process import free_port, needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

# The canonical one last; whatever the http block sets for TLS, the site has its own.
NAMES = ("www.shop.example", "shop.example")
HOSTILE = """
    ssl_protocols TLSv1 TLSv1.1; ssl_ciphers AES256-SHA; ssl_prefer_server_ciphers on;
    ssl_ecdh_curve secp521r1; ssl_session_tickets on; ssl_session_cache off; ssl_early_data on;
    ssl_verify_client on; ssl_verify_depth 0; ssl_client_certificate {root}; ssl_stapling on;
    ssl_reject_handshake on; ssl_buffer_size 1k; ssl_session_timeout 1s;
    ssl_conf_command Ciphersuites TLS_AES_128_CCM_SHA256;
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Returns a site with HTTPS that has its addresses for itself."""
    directory = tmp_path_factory.mktemp("tls")
    root = directory / "root.pem"
    root.write_text(certificates.root().pem)
    variables = {"aroundtheworld_canonical_name": "shop.example"}
    made = Site(
        directory, HOSTILE.format(root=root), neighbour="", names=NAMES, tls={}, variables=variables
    )
    yield made
    made.stop()


def context(*protocols):
    trusting = ssl.create_default_context(cadata=certificates.root().pem)
    trusting.set_alpn_protocols(protocols)
    return trusting


@contextmanager
def connected(site, name="shop.example", using=None):
    with (
        socket.create_connection(("127.0.0.1", site.https_port), 10) as plain,
        (using or context()).wrap_socket(plain, server_hostname=name) as connection,
    ):
        yield connection


def fetch(site, path, name="shop.example", method="GET", host=None):
    with connected(site, name) as connection:
        client = http.client.HTTPConnection(name, site.https_port)
        client.sock = connection
        client.request(method, path, headers={"Host": host} if host else {})
        response = client.getresponse()
        return response.status, response.headers, response.read().decode()


def test_visitors_get_the_site_with_its_certificate(site):
    status, _, text = fetch(site, "/x?y")
    headers = dict(json.loads(text)["headers"])
    assert (status, headers["x-forwarded-proto"]) == (200, "https")
    assert headers["host"] == f"shop.example:{site.https_port}"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)]
)
def test_http_leads_to_https_with_method_path_and_query(site, method, status):
    found, headers, _ = site.fetch("//a%2Fb?c=d&e=/f", method)
    assert found == status
    assert headers["Location"] == f"https://shop.example:{site.https_port}//a%2Fb?c=d&e=/f"
    assert headers["Cache-Control"] == "no-store"
    found, headers, _ = fetch(site, "//a%2Fb?c=d&e=/f", "www.shop.example", method)
    assert found == status
    assert headers["Location"] == f"https://shop.example:{site.https_port}//a%2Fb?c=d&e=/f"


def test_the_sites_own_paths_do_not_lead_elsewhere(site):
    path = "/.aroundtheworld/nginx"
    for status, _, text in (site.fetch(path), fetch(site, path), fetch(site, path, NAMES[0])):
        assert (status, bool(re.fullmatch(r"[0-9a-f]{16}\n", text))) == (200, True)
    text = (site.host.etc / "sites-enabled" / "shop.conf").read_text()
    probes = Probe.all_of(text, "aroundtheworld")
    assert [(probe.names, probe.port, probe.tls) for probe in probes] == [
        (NAMES, site.port, False),
        (("www.shop.example",), site.https_port, True),
        (("shop.example",), site.https_port, True),
    ]
    assert [service.wrong_responses(probe) for probe in probes] == [[], [], []]


def test_the_secret_link_leads_in_over_https_only_and_no_log_has_it(site, monkeypatch):
    monkeypatch.setattr(switches, "PATIENCE", 0)
    switch = switches.Switch(site.home)
    closing = dict.fromkeys(("scope", "reason", "until", "page", "json", "who"), "")
    switch.close(switches.Closing(pools=[], retry_after="9", **closing))
    token = switch.token()
    link = f"/.aroundtheworld/enter/{token}"
    for status, headers, _ in (site.fetch(link), fetch(site, link, NAMES[0])):
        found = f"https://shop.example:{site.https_port}{link}"
        assert (status, headers["Location"]) == (301, found)
    status, headers, _ = fetch(site, link)
    assert (status, headers["Location"]) == (302, "/")
    assert headers["Set-Cookie"].endswith("; HttpOnly; SameSite=Lax; Secure")
    assert site.fetch("/.aroundtheworld/state")[0] == 301
    switch.open()
    assert token not in "".join(path.read_text() for path in site.host.root.rglob("*.log"))


def test_http2_is_there_and_http1_too(site):
    for protocols, expected in ((("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1")):
        with connected(site, using=context(*protocols)) as connection:
            assert connection.selected_alpn_protocol() == expected


def test_unknown_names_get_nothing(site):
    assert site.fetch("/")[0] == 301
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        fetch_plain(site.port, "/", "other.example")
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"), connected(site, "other.org"):
        pass
    # A name of the site in TLS, and another in the request.
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        fetch(site, "/", host="other.example")


def test_visitors_by_an_address_get_the_site_although_they_send_no_name_in_tls(tmp_path):
    by_address = Site(tmp_path, neighbour="", names=("127.0.0.1", "shop.example"), tls={})
    try:
        for name in ("127.0.0.1", "shop.example"):
            assert fetch(by_address, "/x", name)[0] == 200
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            fetch(by_address, "/", "127.0.0.1", host="other.example")
        text = (by_address.host.etc / "sites-enabled" / "shop.conf").read_text()
        probes = Probe.all_of(text, "aroundtheworld")
        assert [service.wrong_responses(probe) for probe in probes] == [[], []]
    finally:
        by_address.stop()


def handshake(site, *options):
    """Returns what openssl says of a handshake; it is at its end at once, by an empty input."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{site.https_port}"]
    command += ["-servername", "shop.example", *options]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"), "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"), "handshake failure"),
        (("-tls1_2", "-curves", "secp521r1"), "handshake failure"),
        (("-tls1_2", "-curves", "prime256v1"), "Cipher is ECDHE"),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "alert|protocol version"),
        (("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"), "CHACHA20"),
        (("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"), "handshake failure"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_handshake_is_as_mozillas_profile_has_it(site, options, expected):
    assert re.search(expected, handshake(site, *options))


def test_tickets_are_only_where_their_keys_change(site):
    tickets = "session ticket" in handshake(site, "-tls1_2")
    assert tickets == (versions(site.host.run)[0] >= (1, 23, 2))


# --- What the module brings


@pytest.fixture
def bring(run, host, port, site_text, claim):
    """Returns a function that has the site served with a certificate, and where that is."""

    def bring(name="first", key=None, brought=True, **more):
        certificate, own = certificates.root().issue("shop.example")
        directory = host.own / "shop" / "tls"
        directory.mkdir(exist_ok=True)
        files = {"certificate": directory / f"certificate-{name}", "key": directory / f"key-{name}"}
        text = site_text(
            more=f"""listen {https} ssl; ssl_certificate {files["certificate"]};
            ssl_certificate_key {files["key"]};"""
        )
        private = {str(files["certificate"]): certificate, str(files["key"]): key or own}
        private = private if brought else {}
        assert "PRIVATE KEY" not in json.dumps(run(text, private=json.dumps(private), **more))
        return files

    https = free_port()
    claim(host, "shop", port)
    return bring


def listed(host):
    files = belongings.files("shop", root=host.root)
    return {path.name for path in files if path.parent.name == "tls"}


def test_a_certificate_comes_with_the_site_and_goes_with_it(host, run, bring):
    files = bring()
    assert [path.stat().st_mode & 0o777 for path in files.values()] == [0o600, 0o600]
    assert listed(host) == {"certificate-first", "key-first"}
    files["key"].chmod(0o644)
    second = bring("second")
    assert [path.exists() for path in files.values()] == [False, False]
    assert listed(host) == {"certificate-second", "key-second"}
    assert {path.name for path in second["key"].parent.iterdir()} == listed(host)
    run("")
    assert (listed(host), [*second["key"].parent.iterdir()]) == (set(), [])


def test_a_certificate_that_is_in_use_until_there_is_another_stays(bring):
    before = {path: path.read_text() for path in bring().values()}
    bring(brought=False)
    assert {path: path.read_text() for path in before} == before


def test_a_key_that_nginx_refuses_leaves_everything_as_it_was(host, run, bring):
    first = bring()["certificate"].parent
    before = {path.name: path.read_text() for path in first.iterdir()}
    with pytest.raises(run.failed, match=r"key values mismatch"):
        bring("second", key=certificates.root().issue("x")[1])
    assert {path.name: path.read_text() for path in first.iterdir()} == before
    bring("third")  # also what was listed and is not there is listed no more
    assert listed(host) == {"certificate-third", "key-third"}


def test_an_error_of_nginx_is_a_page_of_the_site_on_both_ports(site):
    for status, headers, text in (
        fetch(site, "/.aroundtheworld/x"),
        site.fetch("/.aroundtheworld/x"),
    ):
        assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "There is nothing here" in text
