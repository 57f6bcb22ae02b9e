"""The site over HTTPS as a scanner finds it, and a port that only the office has a certificate for.

sslyze judges by Mozilla's intermediate profile, version 6.0. What it does not know of that, is
asked of openssl and of a response: the post-quantum curve, and how long browsers keep HSTS.
"""

import json
import shutil
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import certificates
from tests.role_files import ROLE
from tests.waiting import until

NAME = "www.example.org"
OFFICE, STRANGER = certificates.Issuer("Office"), certificates.Issuer("Stranger")
PORT = 8443
POOLS = [
    {"name": "public", "ports": [10001, 10002, 10003], "paths": ["/"]},
    {
        "name": "admin",
        "ports": [10004],
        "paths": ["/admin"],
        "blocking": True,
        "http_port": PORT,
        "client_ca": OFFICE.pem,
    },
]
SCANNER = Path(__file__).parents[1] / "sslyze"
BUILD_TOOLS = ROLE / "files" / "build" / "requirements.txt"
PROFILE = SCANNER / "mozilla-intermediate-6.0.json"
POST_QUANTUM = "X25519MLKEM768"
LOG = "/var/log/nginx/aroundtheworld/access.log"


@pytest.fixture(scope="module", autouse=True)
def https(ansible_playbook, variables):
    """The site has a certificate of the operator's, and the admin side a port for the office."""
    certificate, key = certificates.root().issue(NAME, "example.org")
    files = {"tls_certificate": certificate + certificates.root().pem, "tls_key": key}
    run = ansible_playbook(variables(tls="files", **files, pools=POOLS))
    assert run.returncode == 0, run.output
    yield
    assert ansible_playbook(variables(hsts_give_up=True)).returncode == 0


@pytest.fixture(scope="module")
def scan(published, tmp_path_factory):
    """Returns sslyze's verdict in its own words, whether it is compliant, and what it found."""
    directory = tmp_path_factory.mktemp("scan")
    (directory / "root.pem").write_text(certificates.root().pem)
    # sslyze has a cryptography of its own, so it is in an environment of its own. Some of that has
    # no wheel, and is built with the tools that the role has locked.
    environment = ["--isolated", "--from", "sslyze"]
    environment += ["--with-requirements", SCANNER / "requirements.txt"]
    environment += ["--build-constraints", BUILD_TOOLS, "--require-build-hashes"]
    options = ["--sni", NAME, "--custom_tls_config", PROFILE]
    options += ["--certinfo_ca_file", directory / "root.pem", "--json_out", directory / "scan.json"]
    done = subprocess.run(
        [shutil.which("uv"), "tool", "run", "--quiet", *environment, "sslyze", *options,
         urlsplit(published(443)).netloc],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (server,) = json.loads((directory / "scan.json").read_text())["server_scan_results"]
    return done.returncode == 0, done.stdout + done.stderr, server["scan_result"]


def accepted(scan, version):
    """Returns the names of the cipher suites that the site takes with a version of TLS."""
    suites = scan[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"]
    return {suite["cipher_suite"]["name"] for suite in suites}


def test_a_scanner_finds_mozillas_profile_and_all_of_it(scan):
    is_compliant, words, found = scan
    assert is_compliant, words
    # Who takes less is compliant too, but keeps visitors with older browsers out.
    profile = json.loads(PROFILE.read_text())
    of_its_key = {suite for suite in profile["ciphers"]["iana"] if "_ECDSA_" in suite}
    assert accepted(found, "tls_1_2") == of_its_key
    assert accepted(found, "tls_1_3") == set(profile["ciphersuites"])
    curves = found["elliptic_curves"]["result"]["supported_curves"]
    names = {curve["name"].replace("secp256r1", "prime256v1") for curve in curves}
    assert names == {*profile["tls_curves"]} - {POST_QUANTUM}


def test_browsers_keep_hsts_for_as_long_as_the_profile_says(get):
    trusted = ssl.create_default_context(cadata=certificates.root().pem)
    sent = get("/", port=443, tls=trusted).headers["Strict-Transport-Security"]
    assert sent == f"max-age={json.loads(PROFILE.read_text())['hsts_min_age']}"


def test_the_post_quantum_curve_is_there_where_openssl_has_it(host, name):
    ask = f"openssl s_client -connect 127.0.0.1:443 -servername {NAME} -groups {POST_QUANTUM}"
    answer = host.run(f"{ask} </dev/null 2>&1").stdout
    assert (f"Negotiated TLS1.3 group: {POST_QUANTUM}" in answer) is (name == "debian13"), answer


@pytest.fixture
def by_certificate_of(tmp_path):
    """Returns a function that returns what a browser with a CA's certificate, or none, trusts."""

    def context(issuer):
        trusted = ssl.create_default_context(cadata=certificates.root().pem)
        if issuer:
            (tmp_path / "client.pem").write_text("".join(issuer.issue("ada.example.org")))
            trusted.load_cert_chain(tmp_path / "client.pem")
        return trusted

    return context


def test_the_office_alone_reaches_the_admin_side_and_only_on_its_port(get, by_certificate_of):
    found = {
        issuer and issuer.name.rfc4514_string(): [
            get(path, port=PORT, tls=by_certificate_of(issuer)).status
            for path in ("/admin/login", "/admin/static/style.css", "/")
        ]
        for issuer in (OFFICE, STRANGER, None)
    }
    assert found == {"CN=Office": [200, 200, 404], "CN=Stranger": [400] * 3, None: [403, 403, 404]}
    # Visitors of the public side are asked for nothing, and do not find it.
    for issuer in (None, STRANGER):
        trusted = by_certificate_of(issuer)
        assert get("/", port=443, tls=trusted).status == 200
        assert get("/admin/login", port=443, tls=trusted).status == 404


def test_the_log_says_how_a_visitor_came(host, get, by_certificate_of):
    for port, path in ((443, "/?scan-tls"), (80, "/?scan-plain")):
        get(path, port=port, tls=by_certificate_of(None) if port == 443 else None)

    def entries():
        lines = host.run(f"grep --fixed-strings '?scan-' {LOG}").stdout.splitlines()
        return {entry["uri"]: entry for entry in map(json.loads, lines)}

    found = until(entries, lambda found: len(found) == 2)
    keys = ("protocol", "tls_protocol", "tls_cipher")
    assert [found["/?scan-tls"][key] for key in keys][:2] == ["HTTP/1.1", "TLSv1.3"]
    assert found["/?scan-tls"]["tls_cipher"] in json.loads(PROFILE.read_text())["ciphersuites"]
    assert [found["/?scan-plain"][key] for key in keys] == ["HTTP/1.1", "", ""]
