"""A site is closed and opened by files alone: nginx is real, and its configuration stays."""

import json
import os
import re
from datetime import UTC, datetime

import pytest
from ansible.module_utils.aroundtheworld.maintenance import switch as switches
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing, Switch

from aroundtheworld_controller.nginx.maintenance import json_body, retry_after
from tests.role.nginx import served
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

END = datetime(2126, 12, 24, 17, 30, tzinfo=UTC)
NAME = "aroundtheworld"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site that is open before each test and after it; who comes by IPv6 is on its list."""
    allow = ["::1", "192.0.2.0/24", "2001:db8::/32"]
    site = Site(
        tmp_path_factory.mktemp("maintenance"),
        public={"max_body_size": "1g"},
        variables={"aroundtheworld_maintenance_allow": allow},
    )
    yield site
    site.stop()


@pytest.fixture
def switch(site, monkeypatch):
    monkeypatch.setattr(switches, "PATIENCE", 0)
    switch = Switch(site.home)
    yield switch
    switch.open()


def closing(scope="public", pools=("public",), end=None, reason=""):
    until = end.isoformat() if end else ""
    page = f"We are closed. {reason}"
    return Closing(
        scope=scope,
        pools=list(pools),
        reason=reason,
        until=until,
        retry_after=retry_after(end, 90),
        page=page,
        json=json_body(reason, end),
        who="ada",
    )


def closed_paths(site, **more):
    """Which of these a visitor finds closed."""
    paths = ("/", "/x", "/static/a.css", "/static/b.css", "/admin", "/admin/x")
    return {path for path in paths if site.fetch(path, **more)[0] == 503}


PUBLIC = {"/", "/x", "/static/a.css", "/static/b.css"}
ADMIN = {"/admin", "/admin/x"}


def test_each_scope_closes_its_pools_and_says_when_to_come_back(site, switch):
    assert closed_paths(site) == set()
    for scope, pools, end, closed in (
        ("public", ["public"], None, PUBLIC),
        ("all", ["public", "admin"], END, PUBLIC | ADMIN),
        ("admin", ["admin"], None, ADMIN),
        ("public", ["public"], END, PUBLIC),
    ):
        switch.close(closing(scope, pools, end, "New <cables>"))
        assert closed_paths(site) == closed
        path = min(closed)
        status, headers, text = site.fetch(path, "POST", body="x")
        assert (status, text) == (503, "We are closed. New <cables>")
        back = "Tue, 24 Dec 2126 17:30:00 GMT" if end else "90"
        assert headers.get_all("Retry-After") == [back]
        assert headers.get_all("Cache-Control") == ["no-store"]
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        status, headers, text = site.fetch(path, headers=[("Accept", "application/json")])
        error = json.loads(text)["error"]
        assert (status, error["detail"]) == (503, "New <cables>")
        assert error["until"] == (end and "2126-12-24T17:30:00+00:00")
        assert headers.get_all("Retry-After") == [back]
        assert headers["Content-Type"] == "application/json"
        # As large as the pool allows, and the server does not.
        size = [("Content-Length", "20000000")] if path == "/" else []
        assert site.fetch(path, "POST", headers=size)[0] == 503
        assert site.fetch("/.aroundtheworld/state")[::2] == (200, "maintenance\n")
        assert [site.fetch("/.aroundtheworld/up", way)[0] for way in ("GET", "HEAD")] == [200] * 2
    switch.open()
    assert closed_paths(site) == set()
    assert site.fetch("/.aroundtheworld/state")[::2] == (200, "open\n")
    assert not switch.directory.exists()


def test_a_page_by_hand_closes_the_usual_pools_and_replaces_nothing_else(site, switch):
    page = site.home / "maintenance.html"
    page.write_text("by hand")
    for accept in ("text/html", "application/json"):
        status, headers, text = site.fetch("/", headers=[("Accept", accept)])
        assert (status, headers["Retry-After"], text) == (503, "600", "by hand")
    assert closed_paths(site) == PUBLIC
    switch.close(closing("admin", ["admin"]))
    assert closed_paths(site) == ADMIN
    # Somebody opens it by hand.
    page.unlink()
    assert closed_paths(site) == set()
    old = switch.token()
    switch.close(closing())
    assert old != switch.token()


def test_the_secret_link_leads_in_until_the_site_opens(site, switch):
    switch.close(closing("all", ["public", "admin"]))
    token = switch.token()
    assert re.fullmatch("[0-9a-f]{32}", token)
    link = f"/.{NAME}/enter/{token}"
    status, headers, _ = site.fetch(link)
    assert (status, headers["Location"]) == (302, "/")
    cookie = f"{NAME}_way_in={token}"
    assert headers["Set-Cookie"] == f"{cookie}; Path=/; HttpOnly; SameSite=Lax"
    assert closed_paths(site, headers=[("Cookie", f"a=b; {cookie}; c=d")]) == set()
    for wrong in ("0" * 32, "../" * 10, "", f"{token}0", "none", token.upper()):
        refused = site.fetch(f"/.{NAME}/enter/{wrong}")
        assert "Set-Cookie" not in refused[1]
        assert closed_paths(site, headers=[("Cookie", f"{NAME}_way_in={wrong}")])
    # Who can list it may come in: not the app, and not who reads the log.
    assert (switch.keys.stat().st_mode & 0o777, switch.keys.stat().st_uid) == (0o711, os.getuid())
    assert (switch.keys / token).stat().st_mode & 0o777 == 0o600
    for cookies in (f"{cookie}", f"a=b; {cookie}; c=d", f"{cookie}; c=d", f"a=b; {cookie}"):
        headers = site.received("/x", headers=[("Cookie", cookies)])["headers"]
        assert token not in str(headers)
        kept = " ".join(value for name, value in headers if name == "cookie")
        assert [part in kept for part in ("a=b", "c=d")] == [
            part in cookies for part in ("a=b", "c=d")
        ]
    # As an app may have it come, which sets a cookie of that name; and as nobody sends it.
    for cookies in (
        *(f"{cookie}; {NAME}_way_in=x; c=d", f"a=b; {cookie};{cookie}; {cookie}"),
        *(
            f"a=b,{cookie}",
            f"a=b; {cookie.replace('=', ' = ')}",
            cookie.replace("way_in", "WAY_IN"),
        ),
    ):
        assert token not in str(site.received("/x", headers=[("Cookie", cookies)])), cookies
    other = f"x{NAME}_way_in=1; a={NAME}_way_in=2; {NAME}_way_in"
    received = site.received("/x", headers=[("Cookie", f"{cookie}; {other}")])
    assert ["cookie", other] in received["headers"]
    logs = "".join(path.read_text() for path in site.host.root.rglob("*.log"))
    assert token not in logs
    switch.open()
    assert site.fetch(link)[0] == 404


def test_up_follows_the_public_pool_and_shows_nothing_of_it(make_site):
    site, up = (
        make_site(http="satisfy any; allow all;", public={"allow": ["192.0.2.1"]}),
        f"/.{NAME}/up",
    )
    worker = site.workers["public"]
    for method, body in (("GET", None), ("POST", "body"), ("HEAD", None)):
        status, headers, text = site.fetch(f"{up}?query", method, body=body)
        assert (status, text) == (200, "" if method == "HEAD" else "up\n")
        assert headers.get_all("Cache-Control") == ["no-store"]
        request = worker.requests[-1]
        assert [request[key] for key in ("method", "path", "body")] == ["GET", "/", ""]
        assert dict(request["headers"]).get("content-length", "0") == "0"
    assert site.fetch(f"/.{NAME}/health")[0] == 404
    site.workers.pop("public").stop()
    assert site.fetch(up)[::2] == (503, "down\n")


def test_who_may_ask_for_up_is_the_hosts_to_decide(make_site):
    http = "satisfy any; allow 127.0.0.1; deny all; auth_basic host; auth_basic_user_file /none;"
    site = make_site(http=http)
    assert site.fetch(f"/.{NAME}/up")[::2] == (200, "up\n")
    assert site.fetch(f"/.{NAME}/up", address="::1")[0] == 401


def test_up_takes_the_statuses_of_the_health_check(make_site, monkeypatch):
    site = make_site(variables={"aroundtheworld_health_status": ["2xx", "302", "401"]})
    for status in (200, 302, 401, 303, 403, 404, 500):
        monkeypatch.setitem(served.SPECIAL, "/", (status, {"Location": "/x"}, "the app's"))
        expected = (200, "up\n") if status in {200, 302, 401} else (503, "down\n")
        assert site.fetch(f"/.{NAME}/up")[::2] == expected


def test_those_on_the_list_come_in(site, switch):
    switch.close(closing("all", ["public", "admin"]))
    assert closed_paths(site, address="::1") == set()
    assert closed_paths(site) == PUBLIC | ADMIN
