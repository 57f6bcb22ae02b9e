"""Who may ask for what, how often, and what everybody else is answered, by a real nginx."""

import base64
import itertools
import json
import socket

import pytest

from tests.role.nginx.process import fetch, free_port, needs_nginx
from tests.role.nginx.served import Site, Worker

pytestmark = needs_nginx

# Visitors come from the addresses that tests name.
FROM_ANYWHERE = {"aroundtheworld_trusted_proxies": ["127.0.0.1"]}
# What the host lets in without a password is no pool's.
LETS_IN = "satisfy any; allow all;"
# From the C library, for "Hello world!".
HASH = (
    "$6$saltstring$"
    "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
)
OWN_PORT = free_port()
# So that the site is the first server of its address.
BEHIND = "server {{ listen {port}; server_name blog.example; }}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a site with something of everything; each test has visitors of its own."""
    more = {pool: Worker(pool) for pool in ("desk", "office", "back")}
    site = Site(
        tmp_path_factory.mktemp("access"),
        http=LETS_IN,
        neighbour=BEHIND,
        names=("_", "office.example"),
        public={"rate": "1/m", "burst": 1, "max_body_size": "1k", "client_timeout": 1},
        admin={
            "rate": "2/m",
            "burst": 1,
            "max_body_size": "9k",
            "allow": ["198.51.100.0/24", "203.0.113.0/24", "2001:db8:1::/48"],
        },
        pools=[
            {
                "name": "desk",
                "ports": [more["desk"].server_address[1]],
                "paths": ["/desk"],
                "basic_auth": ["ada", "grace"],
            },
            {
                "name": "office",
                "ports": [more["office"].server_address[1]],
                "paths": ["/office"],
                "server_names": ["office.example"],
            },
            {
                "name": "back",
                "ports": [more["back"].server_address[1]],
                "paths": ["/back"],
                "http_port": OWN_PORT,
            },
        ],
        variables={
            **FROM_ANYWHERE,
            "aroundtheworld_header_timeout": 1,
            "aroundtheworld_max_body_size": "2k",
            "aroundtheworld_passwords": {"ada": "pässword", "grace": HASH, "alan": "elsewhere"},
            "aroundtheworld_static": [
                {"url": url, "directory": url.strip("/")}
                for url in ("/static/", "/admin/static/", "/desk/static/", "/office/static/")
            ],
        },
    )
    site.workers |= more
    yield site
    site.stop()


NUMBERS = itertools.count(1)


def answer(site, address, path="/", **more):
    return site.fetch(path, headers=[("X-Forwarded-For", address)], **more)


def statuses(site, *addresses, path="/"):
    return [answer(site, address, path)[0] for address in addresses]


TOO_MANY = [200, 200, 429]


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (["192.0.2.1"] * 3, "192.0.2.2"),
        # Each byte is a line's end.
        (["10.10.10.10"] * 3, "10.10.10.11"),
        (["192.0.2.3", "::ffff:192.0.2.3", "192.0.2.3"], "::ffff:192.0.2.4"),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1"], "2001:db8:0:1::1"),
        (["2001:db8:a0a:a0a:a0a:a0a:a0a:a0a", "2001:db8:a0a:a0a::", "2001:db8:a0a:a0a::1"],
         "2001:db8:a0a:a0b::"),
    ],
    ids=str,
)  # fmt: skip
def test_an_address_that_sends_more_than_its_rate_is_answered_so(site, addresses, other):
    assert statuses(site, *addresses) == TOO_MANY
    assert answer(site, other)[0] == 200


def test_too_many_requests_are_neither_a_closed_site_nor_a_busy_pool(site):
    expected = {"/": ("198.51.100.1", "60"), "/admin": ("198.51.100.2", "30")}
    for path, (address, retry_after) in expected.items():
        assert statuses(site, address, address, path=path) == [200, 200]
        status, headers, text = answer(site, address, path)
        assert (status, headers["Retry-After"]) == (429, retry_after)
        assert headers["Cache-Control"] == "no-store"
        assert "Too many requests" in text


def test_a_file_counts_only_where_a_worker_answers_for_it(site):
    address = "198.51.100.4"
    assert statuses(site, *[address] * 5, path="/static/a.css") == [200] * 5
    assert statuses(site, *[address] * 3, path="/static/none.css") == TOO_MANY
    assert statuses(site, address, path="/static/a.css") == [200]


def test_a_workers_own_429_gets_through(site):
    status, headers, text = answer(site, "198.51.100.5", "/limited")
    assert (status, headers["Retry-After"], text) == (429, "7", "the app's own 429")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin/x", 200), ("//admin/x", 200), ("/admin/static/none", 200), ("/x", 413)],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_as_large_as_its_pool_allows(site, path, status, chunked):
    headers = [("X-Forwarded-For", f"203.0.113.{next(NUMBERS)}"), ("Content-Type", "text/plain")]
    body = "x" * (9 * 1024 if status == 200 else 1025)
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
        body = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    count = len(site.workers["public"].requests)
    assert site.fetch(path, "POST", headers=headers, body=body, length=not chunked)[0] == status
    assert len(site.workers["public"].requests) == count


def test_a_client_that_pauses_is_cut_off(site):
    """Also one that never sends a whole header."""
    head = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\nx"
    clients = [socket.create_connection(("127.0.0.1", site.port), 20) for _ in range(2)]
    for client, sent in zip(clients, (head, head[:30]), strict=True):
        client.sendall(sent)
    for client in clients:
        with client:
            assert client.recv(9) == b""


OF_ADMIN = (
    *("/admin", "/admin/x", "//admin/x", "/%61dmin"),
    *("/admin/static/a.css", "/admin/static/none", "/static/../admin/static/a.css"),
)


def test_who_is_on_a_pools_list_may_ask_for_everything_of_it(site):
    for family in ("198.51.100.{}", "2001:db8:1:{}::1", "::ffff:198.51.100.1{}"):
        for number, path in enumerate(OF_ADMIN, start=20):
            assert statuses(site, family.format(number), path=path) == [200]


def test_a_stranger_gets_nothing_of_a_pool_and_everything_else(site):
    count = len(site.workers["admin"].requests)
    for address in ("192.0.2.50", "2001:db8:2::1", "::ffff:192.0.2.50", "127.0.0.1"):
        for path in OF_ADMIN:
            assert statuses(site, *[address] * 3, path=path) == [403] * 3
        assert statuses(site, address, path="/static/a.css") == [200]
        assert statuses(site, address, path="/.aroundtheworld/nginx") == [200]
    assert len(site.workers["admin"].requests) == count


def authorized(site, path, credentials):
    encoded = base64.b64encode(credentials.encode()).decode()
    return site.fetch(path, headers=[("Authorization", f"Basic {encoded}")])


OF_DESK = ("/desk", "/desk/x", "//desk/x", "/%64esk", "/desk/static/none", "/admin/../desk")


def test_who_has_a_password_may_ask_and_the_app_does_not_learn_it(site):
    for person in ("ada:pässword", "grace:Hello world!"):
        for path in OF_DESK:
            status, _, text = authorized(site, path, person)
            assert (status, json.loads(text)["pool"]) == (200, "desk")
            assert "authorization" not in dict(json.loads(text)["headers"])


def test_who_has_no_password_is_asked_for_it(site):
    count = len(site.workers["desk"].requests)
    for path in OF_DESK:
        status, headers, _ = site.fetch(path)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="aroundtheworld desk"')
        for person in ("ada:password", "ada:Hello world!", "alan:elsewhere", "ada", "", HASH):
            assert authorized(site, path, person)[0] == 401
    assert len(site.workers["desk"].requests) == count


def test_nobody_is_asked_for_a_password_elsewhere_and_the_apps_own_gets_through(site):
    request = json.loads(authorized(site, "/x", "ada:the app's")[2])
    assert dict(request["headers"])["authorization"].startswith("Basic ")


OF_OFFICE = (
    *("/office", "/office/x", "//office/x", "/%6fffice", "/office/static/none"),
    *("/desk/../office", "http://office.example/office"),
)


def test_a_pool_with_a_name_of_its_own_is_served_under_that_only(site):
    for path in OF_OFFICE:
        text = site.fetch(path, name="office.example")[2]
        request = json.loads(text)
        assert (request["pool"], dict(request["headers"])["host"]) == ("office", "office.example")
    counts = {pool: len(worker.requests) for pool, worker in site.workers.items()}
    for path in OF_OFFICE[:-1]:
        assert site.fetch(path)[0] == 404
    assert {pool: len(worker.requests) for pool, worker in site.workers.items()} == counts


def test_nothing_else_is_served_under_a_name_that_a_pool_has_for_itself(site):
    counts = {pool: len(worker.requests) for pool, worker in site.workers.items()}
    for path in ("/", "/x", "/static/a.css", "/admin", "/admin/static/a.css", "/desk", "/offices"):
        assert site.fetch(path, name="office.example")[0] == 404
    assert {pool: len(worker.requests) for pool, worker in site.workers.items()} == counts
    assert site.fetch("/.aroundtheworld/nginx", name="office.example")[0] == 200


def test_a_pool_with_a_port_of_its_own_is_served_there_only_and_nothing_else_is(site):
    def at_own_port(path):
        return fetch(OWN_PORT, path, "any.example")

    for path in ("/back", "/back/x", "//back"):
        assert json.loads(at_own_port(path)[1])["pool"] == "back"
        for name in ("shop.example", "office.example"):
            assert site.fetch(path, name=name)[0] == 404
    for path in ("/", "/static/a.css", "/admin", "/desk", "/office"):
        assert at_own_port(path)[0] == 404
    assert at_own_port("/.aroundtheworld/nginx")[0] == 200


# Limits of the host that hold for all of its sites.
HOST = """
    limit_req_zone $server_port zone=host:64k rate=1r/m; limit_req zone=host burst=1 nodelay;
    limit_conn_zone $server_name zone=places:64k; limit_conn places 1;
    limit_req_dry_run on; limit_req_status 418;
"""


def test_a_busy_pool_and_a_rate_are_two_things_also_by_limits_of_the_host(make_site):
    site = make_site(http=HOST, admin={"max_in_flight": 1, "rate": "2/m", "burst": 1})
    for pool, path, retry_after in (("public", "/", "1"), ("admin", "/admin/", "30")):
        with site.occupied(pool, f"{path}slow"):
            status, headers, text = site.fetch(path)
            assert (status, headers["Retry-After"], "busy" in text) == (503, "5", True)
        # nginx counts a request a little longer than its client sees.
        site.host.until(lambda path=path: site.fetch(path)[0] == 429)
        status, headers, text = site.fetch(path)
        assert (status, headers["Retry-After"]) == (429, retry_after)


def test_limits_of_the_host_do_not_lift_those_of_a_pool_for_a_file_that_is_not_there(make_site):
    host = HOST.replace("burst=1", "burst=99").replace("places 1", "places 99")
    site = make_site(http=host, admin={"max_in_flight": 1, "rate": "1/m", "burst": 1})
    missing = "/admin/static/none"
    with site.occupied("admin", missing):
        assert site.fetch(missing)[0] == 503
        assert [site.fetch("/admin/static/a.css")[0] for _ in range(3)] == [200] * 3
    site.host.until(lambda: site.fetch(missing)[0] == 429)
    assert [site.fetch("/admin/static/a.css")[0] for _ in range(3)] == [200] * 3
