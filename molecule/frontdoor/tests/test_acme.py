"""A certificate from a CA, from the first run on, with visitors there all the time."""

import json
import re
import socket
import ssl
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.waiting import until

NAME, SECOND, ELSEWHERE = "www.example.org", "example.org", "elsewhere.example.org"
CA, OTHER_CA, GONE = (f"https://localhost:{port}/dir" for port in (14000, 14001, 14999))
LIVE = "/etc/letsencrypt/live"
RENEWAL = "/etc/letsencrypt/renewal/aroundtheworld-aroundtheworld.conf"
DUE = "s|^#* *renew_before_expiry.*|renew_before_expiry = 999 hours|"
NEIGHBOUR = "/etc/letsencrypt/renewal/a-neighbour.conf"  # certbot comes to it first
# Another server, with an address for itself, and a neighbour's hook that fails.
SETUP = """
cat >/etc/nginx/conf.d/elsewhere.conf <<'END'
server { listen 127.0.0.99:80; return 404 elsewhere; }
END
echo 127.0.0.99 elsewhere.example.org >>/etc/hosts
systemctl reload nginx
mkdir -p /etc/letsencrypt/renewal-hooks/deploy
printf '#!/bin/sh\\nexit 1\\n' >/etc/letsencrypt/renewal-hooks/deploy/neighbour
chmod +x /etc/letsencrypt/renewal-hooks/deploy/neighbour
"""
TIDY = """
rm -f /etc/nginx/conf.d/elsewhere.conf /etc/letsencrypt/renewal-hooks/deploy/neighbour
certbot delete --quiet --non-interactive --cert-name a-neighbour
systemctl reset-failed certbot.service
systemctl reload nginx
"""
# Its certificate is due, and its CA is gone.
NEIGHBOUR_CERTIFICATE = f"""
certbot certonly --quiet --non-interactive --agree-tos --register-unsafely-without-email \
  --no-directory-hooks --server {CA} --webroot --webroot-path /var/lib/tornado/aroundtheworld/acme \
  --cert-name a-neighbour --domain {SECOND}
sed -i 's|^server = .*|server = {GONE}|; {DUE}' {NEIGHBOUR}
"""


@pytest.fixture(scope="module", autouse=True)
def without_acme_afterwards(host, ansible_playbook):
    """The other tests have the site as converge made it."""
    host.check_output(SETUP)
    yield
    host.run(TIDY)
    assert ansible_playbook().returncode == 0


@pytest.fixture
def deploy(ansible_playbook, variables):
    """Returns a function that deploys the site with a CA's certificate for names."""

    def deploy(names, directory=CA, *arguments, **more):
        # Without HSTS, the site can go back to HTTP for the other tests.
        acme = {"tls": "acme", "acme_directory": directory, "hsts_seconds": 0}
        return ansible_playbook(variables(**acme, server_names=names, **more), *arguments)

    return deploy


@pytest.fixture
def have(host, deploy, shown):
    """Returns a function that deploys likewise, where the host has not just that certificate."""

    def have(expected, directory=CA):
        renewal = host.run(f"cat {RENEWAL}").stdout
        if f"server = {directory}\n" not in renewal or names(shown()) != set(expected):
            assert deploy(expected, directory).returncode == 0
            until(shown, lambda after: names(after) == set(expected))

    return have


@pytest.fixture(scope="module")
def neighbour(host):
    """Returns a function that makes a neighbour's certificate, which is due and has lost its CA."""

    def neighbour():
        if not host.file(NEIGHBOUR).exists:
            host.check_output(NEIGHBOUR_CERTIFICATE)

    return neighbour


@pytest.fixture
def shown(published, trusted):
    """Returns a function that returns the certificate that visitors get."""

    def shown(name=NAME):
        site = urlsplit(published(443))
        with (
            socket.create_connection((site.hostname, site.port), 10) as plain,
            trusted.wrap_socket(plain, server_hostname=name) as connection,
        ):
            return connection.getpeercert()

    return shown


@pytest.fixture
def visitors(visited, published, trusted):
    """Returns a block in which the site is visited over HTTPS, by a name of its certificate."""
    return lambda: visited(published(443), "/", rate=10, headers={"Host": NAME}, tls=trusted)


def names(certificate):
    return {name for _, name in certificate["subjectAltName"]}


def issuer(certificate):
    return dict(pair for (pair,) in certificate["issuer"])["commonName"]


@contextmanager
def due(host, more=""):
    """The site's certificate is due, and its CA gone or whatever `more` makes of certbot's file."""
    host.check_output(f"cp -a {RENEWAL} /run/renewal.conf && sed -i '{DUE}{more}' {RENEWAL}")
    try:
        yield
    finally:
        host.check_output(f"mv /run/renewal.conf {RENEWAL}")


def warning(run):
    found = re.search(r"\[WARNING\]: (.*? no certificate from .*?)\n\n?[^ ]", run.output, re.DOTALL)
    return " ".join(found[1].split()) if found else run.output


def test_while_the_ca_is_gone_the_site_is_there_over_http_and_the_next_run_completes_it(
    name, host, ansible_playbook, deploy, get, visited, http, shown, trusted
):
    assert ansible_playbook().returncode == 0
    with visited(http, "/", rate=10, headers={"Host": NAME}) as outcomes:
        run = deploy([NAME], GONE)
    assert (run.returncode, set(outcomes)) == (0, {"200"})
    assert f"{name}: no certificate from {GONE}: " in warning(run)
    assert "Connection refused" in warning(run)
    assert "at http://www.example.org/ runs" in run.output
    assert get("/").status == 200

    with visited(http, "/", rate=10, headers={"Host": NAME}) as outcomes:
        run = deploy([NAME])
    assert run.returncode == 0
    assert set(outcomes) <= {"200", "301"}
    assert names(shown()) == {NAME}
    assert get("/", port=443, tls=trusted).status == 200
    assert get("/x?y").headers["Location"] == f"https://{NAME}/x?y"
    key = host.file(f"{LIVE}/aroundtheworld-aroundtheworld/privkey.pem").content_string
    line = key.splitlines()[1]
    assert line not in run.output
    grep = "grep --recursive --files-with-matches --fixed-strings %s"
    places = host.run(
        f"journalctl --output=cat | grep --fixed-strings %s; {grep} /tmp /var/tmp /var/log /root",
        line,
        line,
    )
    assert places.stdout == ""


def test_another_run_changes_nothing_and_does_not_reach_the_ca(host, have, deploy):
    have([NAME])
    count = "journalctl --output=cat --unit=pebble@14000 | wc -l"
    before = host.check_output(count)
    run = deploy([NAME])
    assert (run.returncode, run.changed) == (0, 0)
    assert host.check_output(count) == before


def test_a_name_that_leads_elsewhere_is_named_and_the_rest_goes_on(
    have, deploy, visitors, shown, get
):
    have([NAME])
    before = shown()
    with visitors() as outcomes:
        run = deploy([NAME, ELSEWHERE])
    assert (run.returncode, set(outcomes)) == (0, {"200"})
    assert f"{ELSEWHERE} leads to 127.0.0.99, where something else answers" in warning(run)
    assert shown() == before
    # Its visitors are not sent to where browsers would warn of a certificate for other names.
    assert get("/", name=ELSEWHERE).status == 200
    assert get("/").status == 301
    assert deploy([NAME]).returncode == 0  # without that name, for whoever comes next
    assert shown() == before


def test_a_name_that_is_added_is_in_the_next_certificate(
    host, have, deploy, visitors, shown, get, trusted
):
    have([NAME])
    with visitors() as outcomes:
        run = deploy([NAME, SECOND])
    assert (run.returncode, set(outcomes)) == (0, {"200"})
    until(shown, lambda after: names(after) == {NAME, SECOND})
    assert get("/", name=SECOND, port=443, tls=trusted).status == 200
    assert get("/", name=SECOND).status == 301
    # Until the last third of two days.
    assert "renew_before_expiry = 15 hours" in host.file(RENEWAL).content_string or (
        host.check_output("certbot --version") >= "certbot 4"
    )


def test_debians_timer_renews_it_whatever_becomes_of_a_neighbours(
    host, have, neighbour, visitors, shown, get
):
    have([NAME, SECOND])
    neighbour()
    look = f"sha256sum {LIVE}/a-neighbour/*.pem {NEIGHBOUR}"
    neighbours, before = host.check_output(look), shown()
    with due(host), visitors() as outcomes:
        assert host.run("systemctl start certbot.service").rc != 0  # the neighbour's
        after = until(shown, lambda after: after["serialNumber"] != before["serialNumber"])
    assert set(outcomes) == {"200"}
    assert names(after) == {NAME, SECOND}
    assert host.check_output(look) == neighbours
    path = "/.well-known/acme-challenge/x"
    assert get(path).status == 404  # and not sent to HTTPS


def test_a_renewal_that_fails_leaves_the_certificate_that_there_is(host, have, visitors, shown):
    have([NAME, SECOND])
    before = shown()
    with due(host, f"; s|^server = .*|server = {GONE}|"), visitors() as outcomes:
        assert host.run("systemctl start certbot.service").rc != 0
    assert (set(outcomes), shown()) == ({"200"}, before)


def test_another_ca_gives_another_certificate(have, deploy, visitors, shown):
    have([NAME, SECOND])
    before = shown()
    with visitors() as outcomes:
        run = deploy([NAME, SECOND], OTHER_CA)
    assert (run.returncode, set(outcomes)) == (0, {"200"})
    until(shown, lambda after: issuer(after) != issuer(before))


def test_status_and_metrics_say_until_when(host, have, deploy, shown):
    have([NAME, SECOND], OTHER_CA)
    run = deploy([NAME, SECOND], OTHER_CA, "--tags", "status", status_format="json")
    status = json.loads(next(line for line in run.output.splitlines() if line.startswith("{")))
    assert set(status["certificate"]["names"]) == {NAME, SECOND}
    assert status["problems"] == []
    end = ssl.cert_time_to_seconds(shown()["notAfter"])
    program = (
        "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9145').read().decode())"
    )
    metrics = host.check_output("python3 -c %s", program)
    name = "aroundtheworld_certificate_end_timestamp_seconds"
    found = re.search(rf"^{name}{{.*}} (.*)$", metrics, re.MULTILINE)
    assert float(found[1]) == end


def test_without_acme_the_certificate_is_deleted_and_the_neighbours_is_not(
    host, have, neighbour, ansible_playbook, get
):
    have([NAME, SECOND])
    neighbour()
    run = ansible_playbook()
    assert run.returncode == 0
    assert get("/").status == 200
    names = "-path '*/aroundtheworld-aroundtheworld*' -o -name certificate-renewed -o -name acme"
    found = host.check_output(f"find /etc /var/lib/tornado -xdev {names}")
    assert found == ""
    assert host.file(f"{LIVE}/a-neighbour/cert.pem").exists
    assert ansible_playbook().changed == 0
