"""Spellings of paths on each version of nginx; the unit tests have more, and look into workers."""

import json
import posixpath
import re
import secrets
import socket
import urllib.parse

import pytest

from tests.matrix import chosen
from tests.spellings import BESIDE, PATHS
from tests.waiting import until

LOG = "/var/log/nginx/aroundtheworld/access.log"
HOME = "/var/lib/tornado/aroundtheworld"
TRIED = [*chosen(PATHS, 200), *BESIDE]


@pytest.fixture
def hidden(host):
    """Return what is in files that everybody on the host may read, and no visitor."""
    text = secrets.token_hex(16)
    places = [f"{HOME}/{path}" for path in ("shared/shop.db", "assets/shop.db")]
    for place in places:
        host.check_output(f"printf {text} > {place} && chmod 644 {place}")
    yield text
    host.check_output(f"rm {' '.join(places)}")


def send(url, path, mark):
    """Send a path as it is; return all of the response."""
    site = urllib.parse.urlsplit(url)
    head = f"GET {path} HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: {mark}\r\n"
    with socket.create_connection((site.hostname, site.port), 30) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


def meant(uri):
    """Return the path that a URI means: decoded once, without dots, a host name and a fragment."""
    path = re.split("[?#]", re.sub("^[A-Za-z]+://[^/?#]*", "", uri))[0]
    return posixpath.normpath("/" + urllib.parse.unquote(path).lstrip("/"))


def test_no_spelling_of_a_path_reaches_the_wrong_pool_or_a_hidden_file(host, http, hidden):
    mark = secrets.token_hex(8)
    bad = []
    for number, path in enumerate(TRIED):
        response = send(http, path, f"{mark}-{number}")
        if hidden in response or "root:x:0" in response:
            bad.append((path, response[:200]))
    assert bad == []
    send(http, "/", f"{mark}-last")

    def read():
        lines = host.run(f"grep --text {mark} {LOG}").stdout.splitlines()
        return {entry["user_agent"]: entry for entry in map(json.loads, lines)}

    entries = until(read, lambda found: f"{mark}-last" in found and len(found) > len(TRIED) / 2)
    answered = [entry for entry in entries.values() if entry["upstream"]]
    assert len(answered) > len(TRIED) / 2
    pools = {True: "admin", False: "public"}
    bad = [
        (entry["uri"], entry["pool"])
        for entry in answered
        if entry["pool"] != pools[bool(re.match("/admin(/|$)", meant(entry["uri"])))]
    ]
    assert bad == []
