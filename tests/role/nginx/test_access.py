"""Who may ask for what, how often, and what everybody else is answered, by a real nginx."""

import pytest

from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

# Visitors come from the addresses that tests name.
FROM_ANYWHERE = """
    set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a site with something of everything; each test has visitors of its own."""
    site = Site(
        tmp_path_factory.mktemp("access"),
        http=FROM_ANYWHERE,
        public={"rate": "1/m", "burst": 1},
        admin={"max_in_flight": 1, "rate": "2/m", "burst": 1},
    )
    yield site
    site.stop()


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
    with site.occupied("admin", "/admin/slow"):
        assert statuses(site, "198.51.100.3", path="/admin") == [503]


def test_a_file_counts_only_where_a_worker_answers_for_it(site):
    address = "198.51.100.4"
    assert statuses(site, *[address] * 5, path="/static/a.css") == [200] * 5
    assert statuses(site, *[address] * 3, path="/static/none.css") == TOO_MANY
    assert statuses(site, address, path="/static/a.css") == [200]


def test_a_workers_own_429_gets_through(site):
    status, headers, text = answer(site, "198.51.100.5", "/limited")
    assert (status, headers["Retry-After"], text) == (429, "7", "the app's own 429")


def test_limits_of_the_host_are_not_painted_as_a_closed_site(make_site):
    http = """
        limit_req_zone $server_port zone=host:64k rate=1r/m; limit_req zone=host burst=1 nodelay;
        limit_conn_zone $server_name zone=places:64k; limit_conn places 1;
        limit_req_dry_run on; limit_req_status 418;
    """
    site = make_site(http=http)
    with site.occupied("public", "/slow"):
        status, headers, text = site.fetch("/")
        assert (status, headers["Retry-After"], "busy" in text) == (503, "5", True)
    status, headers, text = site.fetch("/")
    assert (status, headers["Retry-After"]) == (429, "1")
