"""nginx's own errors are pages of the site, over HTTPS and HTTP/2, and files come compressed."""

import gzip
import json
import re
import ssl

import httpx
import pytest

NAME = "www.example.org"
PROTOCOLS = ("HTTP/1.1", "HTTP/2")


@pytest.fixture(scope="module")
def https(ansible_playbook, published, variables):
    """Returns clients of the site over HTTPS, by their protocol; a body may have 1 kB."""
    assert ansible_playbook(variables(tls="local", max_body_size="1k")).returncode == 0
    url = published(443).replace("http:", "https:")
    # Whose certificate that is, other tests look at.
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    clients = {}
    for protocol in PROTOCOLS:
        is_second = protocol == "HTTP/2"
        clients[protocol] = httpx.Client(base_url=url, verify=trusting, http1=not is_second,
                                         http2=is_second, headers={"Host": NAME})  # fmt: skip
    yield clients
    for client in clients.values():
        client.close()
    assert ansible_playbook().returncode == 0


@pytest.fixture
def ask(https):
    """Returns a function that requests a path over a protocol."""

    def ask(path, method="GET", protocol="HTTP/1.1", **more):
        extensions = {"sni_hostname": NAME}
        response = https[protocol].request(method, path, extensions=extensions, **more)
        assert response.http_version == protocol
        return response

    return ask


def is_error(ask, status, title, path, method="GET", **more):
    """Assert that a request gets an error as a page and as JSON; return the id on the page."""
    page = ask(path, method, headers={"Accept": "text/html"}, **more)
    assert page.status_code == status
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert f"<h1>{title}</h1>" in page.text
    answer = ask(path, method, headers={"Accept": "application/json"}, **more)
    assert answer.status_code == status
    assert answer.json()["error"]["title"] == title
    return re.search(r"\b[0-9a-f]{32}\b", page.text)[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_nginx_refuses(ask, host, protocol):
    identity = is_error(
        ask, 413, "This is too large", "/play", "POST", content=b"x" * 2000, protocol=protocol
    )
    log = host.check_output("grep %s /var/log/nginx/aroundtheworld/access.log", identity)
    assert (json.loads(log)["status"], json.loads(log)["method"]) == (413, "POST")
    is_error(ask, 404, "There is nothing here", "/.aroundtheworld/nothing", protocol=protocol)
    assert "Error 404" not in ask("/nothing", protocol=protocol).text  # it is the game's own page


def test_a_pool_without_workers_is_called_neither_busy_nor_closed(ask, host):
    units = "aroundtheworld@10004.socket aroundtheworld@10004.service"
    host.check_output(f"systemctl stop {units}")
    try:
        for protocol in PROTOCOLS:
            is_error(ask, 502, "The site does not respond", "/admin/login", protocol=protocol)
    finally:
        host.check_output(f"systemctl start {units}")
    assert ask("/admin/login").status_code == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_come_compressed_and_pages_do_not(ask, host, protocol):
    encodings = {"gzip": {"Accept-Encoding": "gzip"}, None: {"Accept-Encoding": "identity"}}
    page = ask("/", headers=encodings["gzip"], protocol=protocol)
    assert (page.status_code, page.headers.get("Content-Encoding")) == (200, None)
    path = re.search(r'"(/static/[^"]+\.css\?v=[0-9a-f]+)"', page.text)[1]
    found = {}
    for encoding, headers in encodings.items():
        response = found[encoding] = ask(path, headers=headers, protocol=protocol)
        assert response.headers.get("Content-Encoding") == encoding
        assert response.headers["Vary"] == "Accept-Encoding"
        assert "immutable" in response.headers["Cache-Control"]
        known = {**headers, "If-None-Match": response.headers["ETag"]}
        assert ask(path, headers=known, protocol=protocol).status_code == 304
    assert found["gzip"].text == found[None].text
    assert int(found["gzip"].headers["Content-Length"]) < len(found[None].content) / 2
    name = path.partition("?")[0].removeprefix("/static/")
    compressed = f"/var/lib/tornado/aroundtheworld/assets/current/static/{name}.gz"
    assert gzip.decompress(host.file(compressed).content) == found[None].content


def test_a_cookie_that_is_too_large(ask):
    """With HTTP/2, nginx ends the connection."""
    response = ask("/", headers={"Cookie": "x" * 17000})
    assert response.status_code == 431
    assert "Delete the cookies of this site" in response.text
