"""HTTPS with certificates that the operator has: the game goes there and back, and is never away.

The site ends as it began, over HTTP; test_acme.py has the certificates of a CA.
"""

import re
import ssl
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests import certificates

NAMES = ["www.example.org", "example.org"]
HTTPS = 443


@pytest.fixture
def http_afterwards(ansible_playbook, variables, host):
    """Have the site as converge made it, wherever the test ends."""
    yield
    host.check_output("rm -f /root/shop.pem /root/shop.key")
    if host.run("grep -w 'listen .*443' /etc/nginx/sites-enabled/aroundtheworld.conf").rc == 0:
        assert ansible_playbook(variables(tls="none", hsts_give_up=True)).returncode == 0


@pytest.fixture
def fetch(published):
    """Returns a function that requests the start page over HTTP/2, as one who trusts a CA."""
    address = urlsplit(published(HTTPS)).netloc

    def fetch(trusted, name="example.org"):
        with httpx.Client(http2=True, verify=trusted) as client:
            return client.get(
                f"https://{address}/",
                headers={"Host": name},
                extensions={"sni_hostname": name},
            )

    return fetch


@pytest.fixture
def visitors(published, visited):
    """Returns a block in which both ports have visitors; for HTTPS, of those who trust a CA."""

    def visitors(block, trusted=None):
        name = {"Host": "example.org"}
        plain = block.enter_context(visited(published(80), "/", rate=40, headers=name))
        if trusted is None:
            return plain, Counter()
        secure = visited(published(HTTPS), "/", rate=40, headers=name, tls=trusted)
        return plain, block.enter_context(secure)

    return visitors


def trusting(text):
    return ssl.create_default_context(cadata=text)


def refused(run, sentence):
    assert (run.returncode, run.changed) == (2, 0), run.output
    assert sentence in " ".join(run.output.split())


def test_the_game_goes_to_https_and_back_while_it_has_visitors(
    http_afterwards, ansible_playbook, variables, visitors, fetch, get, host
):
    canonical = {"canonical_name": "example.org"}
    # A CA of the controller's own, for trying out.
    with ExitStack() as block:
        plain, _ = visitors(block)
        run = ansible_playbook(variables(tls="local", **canonical))
        assert run.returncode == 0, run.output
    assert set(plain) == {"200", "301"}, plain
    assert "aroundtheworld at https://example.org/ runs release" in run.output
    found = re.search(r"a certificate of (\S+), which browsers do not know", run.output)
    assert found
    local = ssl.create_default_context(cafile=found[1])
    response = fetch(local)
    assert (response.status_code, response.http_version) == (200, "HTTP/2")
    assert "strict-transport-security" not in response.headers
    response = fetch(local, "www.example.org")
    assert (response.status_code, response.headers["location"]) == (301, "https://example.org/")
    response = get("/a?b=c", name="example.org", method="POST")
    assert (response.status, response.headers["Location"]) == (308, "https://example.org/a?b=c")
    assert not ansible_playbook(variables(tls="local", **canonical)).changed

    # A certificate of the operator's; those who come trust both.
    certificate, key = certificates.root().issue(*NAMES)
    certificate += certificates.root().pem
    files = {"tls_certificate": certificate, "tls_key": key}
    both = trusting(certificates.root().pem + Path(found[1]).read_text())
    with ExitStack() as block:
        plain, secure = visitors(block, both)
        run = ansible_playbook(variables(tls="files", **files, **canonical), "--diff", "-vvv")
        assert run.returncode == 0, run.output
    assert (set(plain), set(secure)) == ({"301"}, {"200"}), (plain, secure)
    assert "PRIVATE KEY" not in run.output
    assert key.splitlines()[1] not in run.output
    assert fetch(trusting(certificates.root().pem)).headers["strict-transport-security"] == (
        "max-age=63072000"
    )
    names = host.check_output("ls /etc/aroundtheworld/tls").split()
    assert len(names) == 2  # those of the controller's CA are gone

    # The same, kept on the host by somebody else.
    kept = {"tls_certificate_file": "/root/shop.pem", "tls_key_file": "/root/shop.key"}
    other = certificates.root().issue(*NAMES)[1]
    for path, text in (("/root/shop.pem", certificate), ("/root/shop.key", other)):
        host.check_output("umask 077; printf %%s %s > %s", text, path)
    refused(
        ansible_playbook(variables(tls="host", **kept, **canonical)),
        "the key '/root/shop.key' on the host does not fit the certificate '/root/shop.pem'",
    )
    host.check_output("printf %%s %s > /root/shop.key", key)
    with ExitStack() as block:
        plain, secure = visitors(block, both)
        run = ansible_playbook(variables(tls="host", **kept, **canonical))
        assert run.returncode == 0, run.output
    assert (set(plain), set(secure)) == ({"301"}, {"200"}), (plain, secure)
    assert host.check_output("ls /etc/aroundtheworld/tls") == ""

    # Browsers would not open the site over HTTP, so that has to be meant.
    refused(ansible_playbook(variables(tls="none")), "for up to 730 days (HSTS)")
    with ExitStack() as block:
        plain, _ = visitors(block)
        run = ansible_playbook(variables(tls="none", hsts_give_up=True))
        assert run.returncode == 0, run.output
    assert set(plain) == {"200", "301"}, plain
