"""Headers of every response of the game, and whom nginx believes about its visitors."""

import json
import re
import secrets

import pytest

PROXY, STRANGER = "127.0.0.9", "127.0.0.1"
PROXY_PROTOCOL_PORT = 8081
# The role's defaults and the scenario's own; the game sends some of them itself.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": re.compile(r"camera=\(self\), .*, usb=\(self\)"),
    "Cross-Origin-Resource-Policy": "same-origin",
}
OF_THE_GAME = {"Referrer-Policy": "same-origin"}


def static_file(get):
    found = re.search(rb'href="(/static/style\.css[^"]*)"', get("/").body)
    assert found
    return found[1].decode()


def fetch_unchanged(get):
    path = static_file(get)
    return get(path, headers={"If-None-Match": get(path).headers["ETag"]})


RESPONSES = {
    "a page": (200, True, lambda get: get("/")),
    "a file": (200, False, lambda get: get(static_file(get))),
    "a file that the visitor has": (304, False, fetch_unchanged),
    "a redirect of the game": (303, True, lambda get: get("/admin")),
    "a page that is not there": (404, True, lambda get: get("/nowhere")),
    "nginx's own": (404, False, lambda get: get("/.aroundtheworld/closed")),
    "too long a body": (
        413,
        False,
        lambda get: get("/login", method="POST", headers={"Content-Length": "99999999"}),
    ),
}


@pytest.mark.parametrize("which", RESPONSES)
def test_every_response_has_each_header_once(get, which):
    status, of_the_game, fetch = RESPONSES[which]
    response = fetch(get)
    assert response.status == status
    expected = HEADERS | (OF_THE_GAME if of_the_game else {})
    for name, value in expected.items():
        (found,) = response.headers.get_all(name)
        assert re.fullmatch(value, found), name
    assert response.headers.get_all("Server") == ["nginx"]
    assert response.headers["X-Powered-By"] is None
    policy = response.headers["Content-Security-Policy"] or ""
    assert ("default-src 'none'" in policy and "unsafe" not in policy) is of_the_game


# Sends a request on the host itself, from one of its own addresses.
SEND = """
import http.client, json, socket, sys
peer, port, announced, method, path, headers, body = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", port)
connection.sock = socket.create_connection(("127.0.0.1", port), 30, (peer, 0))
connection.sock.sendall(announced.encode())
connection.request(method, path, body, {"Host": "www.example.org", **headers})
response = connection.getresponse()
print(json.dumps([response.status, response.headers.get_all("Set-Cookie") or []]))
"""


@pytest.fixture
def send(host):
    """Return a function that sends a request, and returns its response's status and cookies."""

    def send(peer, path, headers, body=None, port=80, announced=""):
        method = "POST" if body else "GET"
        request = json.dumps([peer, port, announced, method, path, headers, body])
        return json.loads(host.check_output("python3 -c %s %s", SEND, request))

    return send


@pytest.fixture
def guess(send):
    """Return a function that guesses a password, and returns the status of the response."""

    name = f"guessed{secrets.token_hex(4)}"  # another one each time: guesses count for ten minutes

    def guess(peer, addresses="", announced=""):
        headers = {"X-Forwarded-For": addresses, "Content-Type": "application/json"}
        body = json.dumps({"name": name, "password": "a wrong password"})
        port = PROXY_PROTOCOL_PORT if announced else 80
        return send(peer, "/api/session", headers, body, port, announced)[0]

    return guess


TOO_MANY = [403] * 5 + [429]


def test_the_games_limits_count_the_visitor_and_not_the_proxy(guess):
    by_proxy = [guess(PROXY, f"198.51.100.{number}, 203.0.113.1") for number in range(6)]
    assert by_proxy == TOO_MANY
    assert guess(PROXY, "2001:db8::2") == 403
    # Nobody else can be another visitor for each guess.
    assert [guess(STRANGER, f"198.51.100.{number}") for number in range(6)] == TOO_MANY


def test_the_games_limits_count_the_visitor_by_the_proxy_protocol_too(guess):
    line = "PROXY TCP4 {} 127.0.0.1 50000 80\r\n".format
    visitor = line("203.0.113.3")
    assert [guess(PROXY, f"198.51.100.{number}", visitor) for number in range(6)] == TOO_MANY
    assert guess(PROXY, "203.0.113.3", line("203.0.113.4")) == 403


def test_a_proxy_says_that_a_visitor_came_by_https(send):
    secure = {
        peer: "Secure" in " ".join(send(peer, "/login", {"X-Forwarded-Proto": "https"})[1])
        for peer in (PROXY, STRANGER)
    }
    assert secure == {PROXY: True, STRANGER: False}
