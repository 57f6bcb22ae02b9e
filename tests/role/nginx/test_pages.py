"""nginx's own errors are pages of the site, or JSON, over HTTP/1.1 and HTTP/2."""

import json
import re
import socket

import httpx
import pytest

from tests.role.nginx.process import free_port, needs_nginx
from tests.role.nginx.served import Site
from tests.role_files import load_yaml

pytestmark = needs_nginx

# Words of an operator's own for some of them.
TEXTS = {
    404: {
        "title": "Hier ist's nicht",
        "sentence": "Für {diese} Adresse; gibt es # {{ nichts }} %.",
    },
    "501": {"title": "Geht nicht", "sentence": "🌍"},
}
ERRORS = load_yaml("vars/main.yml")["__aroundtheworld_errors"] | {
    404: TEXTS[404],
    501: TEXTS["501"],
}
# What nginx calls an error, and the status that a visitor gets.
STATUSES = [400, 401, 403, 404, 405, 412, 413, 414, 429, 500, 501, 502, 504, 505]
SENT = {**dict(zip(STATUSES, STATUSES, strict=True)), 599: 503, 494: 431}
ID = "0123456789abcdef" * 2
PROTOCOLS = ["http1", "http2"]
# An operator's own page: longer than a word of nginx, and with all that means something there.
OWN = (
    "<title>{{ error.title }}</title> {{ error.sentence }} {{ error.status }}\n"
    "<p>$status ${uri} it's \"quoted\" \\' \\n \\ # ; 🌍</p> {{ error.request_id }}\n"
    + ("é'" * 40 + "$")
    * 100
)

# What comes for which Accept, as RFC 9110 has it; of two types alike, and of anything, pages.
PAGES = [
    "",
    "*/*",
    "text/html",
    "image/png",
    "application/json;q=0",
    "application/json; charset=utf-8; q=0.000, */*",
    "text/html, application/json",
    "application/json;q=0.9,text/html;q=0.9",
    "application/json;q=0.5,text/html;q=0.51",
    "application/json;q=0.50,text/html;q=0.5",
    "application/json;q=0.5, text/html;level=1",
    "application/json;q=.5",
    "application/jsonl",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
]
JSON = [
    "application/json",
    "Application/JSON, text/plain, */*",
    "text/html;q=0.5, application/json",
    "application/json,text/html;q=0.999",
    "text/html ; q=0 , application/json;q=0.001",
    "text/html;q=0.8;x=y, application/json ; q=0.9",
    "application/json;q=0.51,text/html;q=0.5",
    "application/json;q=1.000, text/html;q=0.9",
    "application/problem+json",
    "application/*;q=0.2, application/json;version=2;q=0.9, text/html;q=0.3",
    "application/*",
]

OWN_ERROR = """
    error_page 421 @own;
    location @own { return 421 own; }
    location = /421 { return 421; }
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with a name, alone at its address; a pool takes one request, another has no worker."""
    root, http2 = tmp_path_factory.mktemp("pages"), free_port()
    (root / "own.html.j2").write_text(OWN)
    extra = "".join(
        f"location = /{status} {{ set $site_retry_after 7; return {status}; }}\n" for status in SENT
    )
    site = Site(
        root,
        neighbour="",
        admin={"max_in_flight": 1},
        pools=[{"name": "gone", "ports": [free_port()], "paths": ["/gone"]}],
        variables={
            "aroundtheworld_error_page": str(root / "own.html.j2"),
            "aroundtheworld_error_texts": TEXTS,
            "aroundtheworld_max_body_size": "1k",
            "aroundtheworld_nginx_extra": f"listen {http2} http2;\n{extra}{OWN_ERROR}",
        },
    )
    site.ports = {"http1": site.port, "http2": http2}
    yield site
    site.stop()


@pytest.fixture(scope="module")
def clients():
    made = {
        name: httpx.Client(http1=name == "http1", http2=name == "http2", trust_env=False)
        for name in PROTOCOLS
    }
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(params=PROTOCOLS)
def ask(request, site, clients):
    def ask(path, method="GET", accept="text/html,*/*;q=0.8", **more):
        url = f"http://127.0.0.1:{site.ports[request.param]}{path}"
        headers = {
            "Host": "shop.example",
            "Accept": accept,
            "Accept-Encoding": "identity",
            **more.pop("headers", {}),
        }
        response = clients[request.param].request(method, url, headers=headers, **more)
        assert response.http_version == {"http1": "HTTP/1.1", "http2": "HTTP/2"}[request.param]
        return response

    return ask


@pytest.fixture(autouse=True)
def _nobody_was_asked(site):
    for worker in site.workers.values():
        worker.requests.clear()


def is_page(response, status):
    """Assert that this is the page of a status, and return its sentence."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert response.headers.get("Retry-After") == {429: "7", 503: "5"}.get(status)
    error = {**ERRORS.get(status, ERRORS["default"]), "status": str(status), "request_id": ID}
    page = OWN
    for name, value in error.items():
        page = page.replace(f"{{{{ error.{name} }}}}", value)
    assert re.sub(r"\b[0-9a-f]{32}\b", ID, response.text) == page
    return error["sentence"]


def is_json(response, status):
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    error = response.json()["error"]
    assert len(error.pop("request_id")) == 32
    text = ERRORS.get(status, ERRORS["default"])
    assert error == {"status": status, "title": text["title"], "detail": text["sentence"]}


def test_each_status_is_a_page_or_json(ask):
    for status, sent in SENT.items():
        is_page(ask(f"/{status}"), sent)
        is_json(ask(f"/{status}", accept="application/json"), sent)


def test_an_operators_own_directives_come_first(ask):
    response = ask("/421")
    assert (response.status_code, response.text) == (421, "own")


def test_who_asks_for_pages_gets_a_page(ask):
    for accept in PAGES:
        is_page(ask("/404", accept=accept), 404)


def test_who_asks_for_json_rather_than_pages_gets_json(ask):
    for accept in JSON:
        is_json(ask("/404", accept=accept), 404)


def test_a_head_request_gets_the_same_headers(ask):
    response = ask("/404", "HEAD")
    assert (response.status_code, response.content) == (404, b"")
    assert response.headers["Content-Length"] == str(len(ask("/404").content))


def test_a_body_that_is_too_large(ask, site):
    for path in ("/", "/static/x", "/admin"):
        is_page(ask(path, "POST", content=b"x" * 2000), 413)
        is_json(ask(path, "PUT", content=b"x" * 2000, accept="application/json"), 413)
    assert [worker.requests for worker in site.workers.values()] == [[], []]


def test_a_pool_without_workers_is_neither_busy_nor_closed(ask):
    for method in ("GET", "POST"):
        sentence = is_page(ask("/gone/x.gif", method), 502)
        assert "Please try again in a minute" in sentence
        is_json(ask("/gone", method, accept="application/json"), 502)
    assert not {"busy", "maintenance", "working"} & set(ask("/gone").text.split())


def test_a_busy_pool(ask, site):
    with site.occupied("admin", "/admin/slow"):
        for method in ("GET", "POST"):
            is_page(ask("/admin", method), 503)
            is_json(ask("/admin", method, accept="application/json"), 503)


def test_what_nginx_does_not_have(ask, site):
    for path in ("error.html", "error.json", "closed", "app/static/a.css", "", "anything"):
        is_page(ask(f"/.aroundtheworld/{path}"), 404)
    is_page(ask("/static/a.css", "POST"), 405)
    is_page(ask("/static/a.css", headers={"If-Match": '"other"'}), 412)
    assert [worker.requests for worker in site.workers.values()] == [[], []]


def test_headers_that_are_too_large(ask):
    """Over HTTP/1.1 only: with HTTP/2, nginx ends the connection."""
    if ask("/404").http_version == "HTTP/1.1":
        is_page(ask("/", "POST", headers={"Cookie": "x" * 17000}, content=b"x" * 2000), 431)
        is_json(ask("/", headers={"Cookie": "x" * 17000}, accept="application/json"), 431)


def raw(site, line, host="shop.example"):
    """Returns what comes for a request line that no client would send."""
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(f"{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile("rb").read().decode()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("nonsense", 400),
        ("GET /%zz HTTP/1.1", 400),
        ("GET / HTTP/9.1", 505),
        (f"GET /{'x' * 17000} HTTP/1.1", 414),
    ],
)
def test_a_request_that_cannot_be_read(site, line, status):
    head, _, text = raw(site, line).partition("\r\n\r\n")
    assert f"HTTP/1.1 {status} " in head
    assert "Cache-Control: no-store" in head
    assert ERRORS.get(status, ERRORS["default"])["title"] in text


def test_another_name_gets_no_answer_and_no_page(site):
    for path in ("/", "/404", "/.aroundtheworld/error.html", "/.aroundtheworld/x"):
        assert raw(site, f"GET {path} HTTP/1.1", "other.example") == ""


def test_an_apps_errors_are_its_own(ask):
    response = ask("/busy", accept="application/json")
    assert (response.status_code, response.text) == (503, "the app's own")
    response = ask("/nowhere")
    assert (response.status_code, response.text) == (404, "the app's own 404")


def test_the_log_has_the_request_as_it_came(ask, site):
    version = ask("/gone?log", "POST").http_version.replace("HTTP/2", "HTTP/2.0")

    def logged():
        lines = (site.host.root / "access.log").read_text().splitlines()
        found = [json.loads(line) for line in lines if "/gone?log" in line]
        return [(line["method"], line["status"], line["protocol"]) for line in found]

    site.host.until(lambda: any(version in line for line in logged()))
    assert ("POST", 502, version) in logged()
