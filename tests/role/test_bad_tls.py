"""Every mistake about HTTPS is refused before anything changes, in a sentence."""

import sys
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from aroundtheworld_controller.nginx import tls
from tests import certificates
from tests.render import HOST, variables_for
from tests.role.refusals import A_PORT, DEFAULTS, case, problems_with
from tests.role_files import load_python

load_python("library/aroundtheworld_host.py")
describe = sys.modules["ansible.module_utils.aroundtheworld.host.certificate"].describe_certificate

NAMES = ["shop.example", "www.shop.example"]
FILES = {
    "aroundtheworld_tls": "files",
    "aroundtheworld_tls_certificate": "a certificate",
    "aroundtheworld_tls_key": "a key",
}
ON_HOST = {
    "aroundtheworld_tls": "host",
    "aroundtheworld_tls_certificate_file": "/etc/ssl/shop.pem",
    "aroundtheworld_tls_key_file": "/etc/ssl/shop.key",
}

VARIABLES = [
    case("mode", {"aroundtheworld_tls": "on"}, "aroundtheworld_tls: 'on' ", "none, files, host"),
    case(
        "off", {"aroundtheworld_tls": False}, "aroundtheworld_tls: False ", "allowed: none, files"
    ),
    case("port", {"aroundtheworld_https_port": 0}, "aroundtheworld_https_port: 0 ", A_PORT),
    case(
        "port of HTTP",
        {"aroundtheworld_tls": "local", "aroundtheworld_https_port": 80},
        "aroundtheworld_https_port: 80 ",
        "it is aroundtheworld_http_port",
    ),
    case(
        "port of a worker",
        {"aroundtheworld_tls": "local", "aroundtheworld_https_port": 10004},
        "aroundtheworld_pools[1].ports[0]: 10004 ",
        "taken by aroundtheworld_https_port",
    ),
    case(
        "port of the metrics",
        {
            "aroundtheworld_tls": "local",
            "aroundtheworld_https_port": 9146,
            "aroundtheworld_metrics_port": 9145,
        },
        "aroundtheworld_metrics_port: 9145 ",
        "which is taken by aroundtheworld_https_port",
    ),
    *(
        case(f"{mode} without {variable}", {**values, variable: ""}, f"{variable}: is missing")
        for mode, values in (("files", FILES), ("host", ON_HOST))
        for variable in list(values)[1:]
    ),
    *(
        case(
            f"{variable} of another mode",
            {**others, variable: values[variable]},
            f"{variable}: is set, but aroundtheworld_tls is {others['aroundtheworld_tls']!r}",
        )
        for values, others in ((FILES, ON_HOST), (ON_HOST, FILES))
        for variable in list(values)[1:]
    ),
    case(
        "a file on the host",
        {**ON_HOST, "aroundtheworld_tls_key_file": "ssl/shop key"},
        "aroundtheworld_tls_key_file: 'ssl/shop key' ",
        "must be an absolute path on the host",
    ),
    case(
        "the certificate of acme",
        {
            **ON_HOST,
            "aroundtheworld_tls_key_file": "/etc/letsencrypt/live/aroundtheworld-shop/privkey.pem",
            "aroundtheworld_site": "shop",
        },
        "aroundtheworld_tls_key_file: '/etc/letsencrypt/live/aroundtheworld-shop/privkey.pem' ",
        "for aroundtheworld_tls: acme only",
    ),
    *(
        case(
            f"canonical name {name!r}",
            {
                "aroundtheworld_server_names": ["_", "*.shop.example", "shop.example"],
                "aroundtheworld_canonical_name": name,
            },
            f"aroundtheworld_canonical_name: {name!r} ",
            "of aroundtheworld_server_names: shop.example.",
        )
        for name in ("www.shop.example", "_", "*.shop.example")
    ),
    case("hsts", {"aroundtheworld_hsts_seconds": -1}, "aroundtheworld_hsts_seconds: -1 ", "from 0"),
]


@pytest.mark.parametrize(("changes", "parts"), VARIABLES)
def test_a_mistake_in_a_variable_is_named_shown_and_answered(changes, parts):
    (problem,) = problems_with(changes)
    for part in parts:
        assert part in problem


@pytest.mark.parametrize("values", [FILES, ON_HOST], ids=["files", "host"])
@pytest.mark.parametrize("variable", FILES | ON_HOST)
def test_a_secret_is_in_no_sentence(values, variable):
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"
    for value in ([key], key, key[:40]):
        problems = problems_with({**values, variable: value})
        assert not any("BEGIN" in problem or "MHcC" in problem for problem in problems)
        assert problems or value != [key]


# --- The certificate itself

ROOT = certificates.root()
MIDDLE = certificates.Issuer("Between", ROOT)
OLD = certificates.Issuer("Old", ROOT, days=(-30, -1))
GOOD, KEY = MIDDLE.issue(*NAMES)
OTHER_KEY = ROOT.issue("other.example")[1]
LOCKED = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
)


def pair(issuer, *names, **more):
    certificate, key = issuer.issue(*names, **more)
    return certificate + (issuer.pem if issuer is not ROOT else ROOT.pem), key


PAIRS = {
    "another key": ((GOOD + MIDDLE.pem, OTHER_KEY), "tls_key: the key does not fit the cert"),
    "a key of the chain": (
        (GOOD + MIDDLE.pem, certificates.key_pem(MIDDLE.key)),
        "which is not the first",
    ),
    "a passphrase": ((GOOD + MIDDLE.pem, LOCKED.decode()), "tls_key: the key has a passphrase"),
    "no key": ((GOOD + MIDDLE.pem, "key"), "tls_key: it cannot be read; it must be a private key"),
    "no certificate": (("certificate", KEY), "tls_certificate: it cannot be read; it must be a"),
    "a key in the certificate": ((GOOD + KEY, KEY), "it has a private key in it"),
    "lines that YAML has joined": (
        ((GOOD + MIDDLE.pem).replace("\n", " "), KEY),
        "tls_certificate: its lines are joined or indented",
    ),
    "an indented key": (
        (GOOD + MIDDLE.pem, f"  {KEY}".replace("\n", "\n  ")),
        "tls_key: its lines are joined or indented",
    ),
    "expired": (pair(MIDDLE, *NAMES, days=(-9, -1)), "of shop.example, www.shop.example expired"),
    "not yet valid": (pair(MIDDLE, *NAMES, days=(1, 9)), "is not valid before"),
    "an expired issuer": (pair(OLD, *NAMES), "the certificate of 'CN=Old' expired on"),
    "no issuer": ((GOOD, KEY), "chain is incomplete, because the certificate of shop.example"),
    "another's issuer": ((GOOD + ROOT.pem, KEY), "is from 'CN=Between', but the one after it is"),
    "a name": (pair(MIDDLE, "shop.example"), "lacks the name 'www.shop.example'"),
    "only names below": (pair(MIDDLE, "*.shop.example"), "lacks the name 'shop.example'"),
}


def problems_of(certificate, key, names=NAMES):
    given = {"aroundtheworld_tls_certificate": certificate, "aroundtheworld_tls_key": key}
    return list(tls.given_problems({**FILES, **given, "aroundtheworld_server_names": names}))


@pytest.mark.parametrize(("files", "sentence"), PAIRS.values(), ids=PAIRS)
def test_what_is_wrong_with_a_certificate_is_a_sentence(files, sentence):
    (problem,) = problems_of(*files)
    assert problem.startswith("aroundtheworld_tls_")
    assert sentence in problem
    assert "BEGIN" not in problem.replace("'-----BEGIN", "")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ((GOOD + MIDDLE.pem, KEY), NAMES),
        ((GOOD + MIDDLE.pem + ROOT.pem, KEY), ["_", "SHOP.example"]),
        (pair(ROOT, "*.shop.example", "192.0.2.1"), ["a.shop.example", "192.0.2.1"]),
        (pair(ROOT, "*.shop.example"), ["*.shop.example"]),
        ((ROOT.pem, certificates.key_pem(ROOT.key)), ["_"]),
        ((f"\ufeffBag Attributes\r\n{GOOD}{MIDDLE.pem}".replace("\n", " \r\n"), KEY), NAMES),
    ],
    ids=[
        *("an issuer", "up to the root", "a wildcard and an address", "wildcards", "self-signed"),
        "with what else nginx takes",
    ],
)
def test_a_whole_certificate_is_accepted(files, names):
    assert problems_of(*files, names) == []


def test_the_time_of_the_controller_is_shown_beside_a_certificate_that_is_too_new():
    (problem,) = problems_of(*pair(MIDDLE, *NAMES, days=(1, 9)))
    assert f"it is {datetime.now(UTC):%Y-%m-%d}" in problem


# --- Files on the host


@pytest.fixture
def on_host(tmp_path):
    def on_host(certificate=GOOD + MIDDLE.pem, key=KEY):
        paths = {"certificate": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")}
        for kind, text in (("certificate", certificate), ("key", key)):
            if text is not None:
                (tmp_path / paths[kind]).write_text(text)
        host = {"tls": describe(paths)}
        values = {**ON_HOST, "aroundtheworld_server_names": NAMES}
        return list(tls.host_certificate_problems(values, host))

    return on_host


def test_files_on_the_host_that_fit_are_accepted(on_host):
    assert on_host() == []
    assert describe({}) == {"certificate": "", "problems": []}


def test_one_file_on_the_host_may_have_both_and_its_key_stays_there(on_host, tmp_path):
    together = GOOD + MIDDLE.pem + KEY
    assert on_host(together, together) == []
    path = str(tmp_path / "c.pem")
    assert "PRIVATE KEY" not in str(describe({"certificate": path, "key": path}))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"key": None}, "tls_key_file: '{path}/k.pem' cannot be read on the host: No such file"),
        ({"certificate": None}, "tls_certificate_file: '{path}/c.pem' cannot be read on the host"),
        ({"key": OTHER_KEY}, "tls_key_file: the key '{path}/k.pem' on the host does not fit"),
        ({"key": LOCKED.decode()}, "tls_key_file: the key '{path}/k.pem' on the host does not fit"),
        ({"certificate": GOOD}, "tls_certificate_file: the chain is incomplete"),
    ],
    ids=["no key", "no certificate", "another key", "a passphrase", "no issuer"],
)
def test_what_is_wrong_with_files_on_the_host_is_a_sentence(on_host, tmp_path, files, sentence):
    (problem,) = on_host(**files)
    assert f"aroundtheworld_{sentence.format(path=tmp_path)}" in problem


# --- HSTS


def variables_with_files():
    return {**DEFAULTS, **FILES, "aroundtheworld_server_names": NAMES}


def hsts(**changes):
    values = {f"aroundtheworld_{key}": value for key, value in changes.items()}
    values = {**FILES, "aroundtheworld_server_names": NAMES, **values}
    if values["aroundtheworld_tls"] != "files":
        for variable in list(FILES)[1:]:
            del values[variable]
    return variables_for(values)["__aroundtheworld_plan"]


def test_browsers_come_back_over_https_only_where_they_can():
    two_years = "max-age=63072000"
    assert hsts()["tls"]["hsts"] == two_years
    assert hsts(hsts_subdomains=True)["tls"]["hsts"] == f"{two_years}; includeSubDomains"
    assert hsts(hsts_seconds=0)["tls"]["hsts"] == "max-age=0"
    assert hsts(server_names=["_", "shop.example"])["tls"]["hsts"] == two_years
    for changes in (
        {"tls": "none"},
        {"tls": "local"},
        {"https_port": 8443},
        {"server_names": ["_"]},
        {"server_names": ["192.0.2.1"]},
    ):
        assert hsts(**changes)["tls"]["hsts"] == ""
        assert hsts(**changes)["claim"]["hsts"] == 0
    assert hsts()["claim"]["hsts"] == 63072000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tls": "none"}, "aroundtheworld_tls: 'none' is refused"),
        ({"tls": "local"}, "aroundtheworld_tls: 'local' is refused"),
        ({"https_port": 8443}, "aroundtheworld_https_port: 8443 is refused"),
        ({"server_names": ["_"]}, "aroundtheworld_server_names is refused"),
    ],
)
def test_a_site_that_browsers_would_refuse_to_open_is_refused_unless_it_is_meant(changes, sentence):
    host = {**HOST, "hsts": 63072000, "acme": {"certificate": "/etc/shop/tls/certificate-x.pem"}}
    plan = hsts(**changes)
    meant = {"aroundtheworld_hsts_give_up": False}
    (problem,) = tls.hsts_problems(meant, plan["tls"], host)
    assert problem.startswith(sentence)
    assert "for up to 730 days" in problem
    meant["aroundtheworld_hsts_give_up"] = True
    assert list(tls.hsts_problems(meant, plan["tls"], host)) == []
    meant["aroundtheworld_hsts_give_up"] = False
    assert list(tls.hsts_problems(meant, hsts()["tls"], host)) == []
    # A site that has asked a CA for its first certificate, in vain, has sent nothing.
    never = {**host, "acme": {"certificate": ""}}
    assert list(tls.hsts_problems(meant, plan["tls"], never)) == []


# --- HTTP/2


@pytest.mark.parametrize(
    ("version", "others", "http2"),
    [
        ((1, 22, 1), [], "listen"),
        ((1, 22, 1), ["listen 443 ssl (/etc/nginx/conf.d/blog.conf:2)"], ""),
        ((1, 26, 3), ["listen 443 ssl (/etc/nginx/conf.d/blog.conf:2)"], "directive"),
    ],
)
def test_http2_is_not_switched_on_for_a_neighbour(version, others, http2):
    port = {"others_without_http2": others}
    nginx = {"version": version, "openssl": (3, 5), "ports": {"443": port}}
    host = {**HOST, "nginx": nginx, "ipv6": True}
    found = tls.derive_tls(variables_with_files(), host, "a certificate")
    assert found["http2"] == http2
    warnings = list(tls.http2_warnings(found, host))
    assert len(warnings) == (not http2)
    assert all("goes without HTTP/2" in line and "blog.conf:2" in line for line in warnings)


@pytest.mark.parametrize(
    ("distribution", "nginx", "expected"),
    [
        ("debian 12", {}, ("listen", False, "X25519:prime256v1:secp384r1")),
        ("debian 13", {}, ("directive", True, "?X25519MLKEM768:X25519:prime256v1:secp384r1")),
        # An nginx of somebody else's, from nginx.org on Debian 12.
        (
            "debian 12",
            {"version": [1, 28, 0], "openssl": [3, 0, 17]},
            ("directive", True, "X25519:prime256v1:secp384r1"),
        ),
    ],
)
def test_what_nginx_can_follows_from_its_version_and_its_openssl(distribution, nginx, expected):
    host = {**HOST, "distribution": distribution, "nginx": nginx}
    found = tls.derive_tls(variables_with_files(), host, "a certificate")
    assert (found["http2"], found["tickets"], found["curves"]) == expected
