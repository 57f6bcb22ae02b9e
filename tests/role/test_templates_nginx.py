"""How the site in nginx follows from its variables; test_promises_nginx.py has each line."""

import pytest

from tests.matrix import chosen
from tests.render import ADMIN, HOST, MODELS, PUBLIC, render, variables_for
from tests.role.rendered import serving, site_of, units_of
from tests.role_files import load_yaml

every_model = pytest.mark.parametrize("model", chosen(list(MODELS)))


@every_model
def test_nginx_sends_each_path_to_its_pool_and_all_workers_are_listed(model):
    name = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    plan, site, _ = site_of(MODELS[model])
    upstreams = site.blocks("upstream")
    of_workers = {
        f"{pool['upstream']}_{port}"
        for pool in plan["pools"]
        if pool["sticky"] == "cookie"
        for port in pool["ports"]
    }
    assert upstreams.keys() == {
        *((pool["upstream"],) for pool in plan["pools"]),
        *((upstream,) for upstream in of_workers),
    }
    servers = {
        pool: block
        for server, block in zip(plan["servers"], serving(site), strict=True)
        for pool in server["pools"]
    }
    for pool in plan["pools"]:
        workers = upstreams[pool["upstream"],].all("server")
        assert workers == [[server, "max_fails=0"] for server in pool["servers"]]
        for path in pool["paths"]:
            for match in [["/"]] if path == "/" else [["=", path], [f"{path}/"]]:
                block = servers[pool["name"]].location(*match)
                passed_on = "$request_uri" if pool["path"] == "raw" else match[-1]
                target = f"{pool['upstream']}{passed_on}"
                if pool["sticky"] == "cookie":
                    target = f"$w10001_{pool['name']}_workers"
                assert block.all("proxy_pass") == [[f"http://{target}"]]
                assert block.all("proxy_read_timeout") == [[f"{pool['read_timeout']}s"]]
                replays = ["error", "timeout"] if pool["replay"] else ["off"]
                assert block.all("proxy_next_upstream") == [replays]
                # The watchdog ends a worker that has been blocked for two thirds of it, or later.
                limit = block.all("proxy_next_upstream_timeout")
                watchdog = pool["watchdog"] or 3600
                assert not pool["replay"] or 0 < int(limit[0][0].rstrip("s")) < watchdog * 2 / 3
                places = [[f"{name}_{pool['name']}_at_once", str(pool["max_in_flight"])]]
                assert block.all("limit_conn") == (places if pool["max_in_flight"] else [])
                rates = [f"zone={name}_{pool['name']}_rate_w10001", "burst=20", "nodelay"]
                assert block.all("limit_req") == ([rates] if pool["rate"] else [])
                strangers = block.all("if")[:1] if pool["allow"] else []
                assert strangers == [[f"$w10001_stranger_{pool['ports'][0]}"]] * bool(pool["allow"])
                closes = [test for test in block.all("if") if "_closed" in "".join(test)]
                assert len(closes) == (1 if pool["open_in_maintenance"] else 2)


def test_a_name_of_a_pool_has_this_pools_paths_only_and_the_others_have_not():
    plan, site, _ = site_of(MODELS["names_of_pools"])
    assert [(server["names"], server["pools"]) for server in plan["servers"]] == [
        (["shop.example"], ["public", "api"]),
        (["admin.shop.example"], ["admin", "reports"]),
        (["live.shop.example"], ["live"]),
    ]
    for server, block in zip(plan["servers"], site.servers(), strict=True):
        assert block.all("server_name") == [server["names"]]
        for pool in plan["pools"]:
            for path in pool["paths"]:
                location = block.location(path if path == "/" else f"{path}/")
                here = pool["name"] in server["pools"]
                assert len(location.all("proxy_pass")) == here
                assert location.all("return") == ([] if here else [["404"]])
    files = [("/static/",), ("/admin/static/",)]
    found = [[match in each.blocks("location") for match in files] for each in site.servers()]
    assert found == [[True, False], [False, True], [False, False]]
    hosts = {pool["name"]: pool["health"]["host"] for pool in plan["pools"]}
    assert hosts["public"] == hosts["api"] == "shop.example"
    assert hosts["admin"] == hosts["reports"] == "admin.shop.example"


def test_a_port_of_a_pool_has_this_pools_paths_only_under_every_name():
    more = [
        {"name": "reports", "ports": [10005], "paths": ["/reports"], "http_port": 8081},
        {"name": "api", "ports": [10006], "paths": ["/api"], "http_port": 8082},
    ]
    plan, site, _ = site_of(
        {
            "aroundtheworld_server_names": ["shop.example"],
            "aroundtheworld_pools": [PUBLIC, {**ADMIN, "http_port": 8081}, *more],
        }
    )
    found = {}
    for block in site.servers():
        served = [
            pool["name"]
            for pool in plan["pools"]
            if block.location(f"{pool['paths'][0].rstrip('/')}/").all("proxy_pass")
        ]
        listens = tuple(args[0] for args in block.all("listen"))
        found[listens] = (*block.all("server_name"), served)
    assert found == {
        ("80", "[::]:80"): (["shop.example"], ["public"]),
        ("8081", "[::]:8081"): (["_"], ["admin", "reports"]),
        ("8082", "[::]:8082"): (["_"], ["api"]),
    }
    assert plan["claim"]["pool_ports"] == {"admin": 8081, "reports": 8081, "api": 8082}


@pytest.mark.parametrize(
    ("address", "stream"),
    [("127.0.0.1", "127.0.0.1:%i"), ("10.0.0.5", "10.0.0.5:%i"), ("::1", "[::1]:%i")],
)
def test_workers_and_nginx_agree_on_the_address(address, stream):
    variables = {"aroundtheworld_listen_address": address}
    _, units = units_of(variables)
    assert units["aroundtheworld@.socket"].value("Socket", "ListenStream") == stream
    _, site, _ = site_of(variables)
    servers = site.blocks("upstream")["aroundtheworld_backends",].all("server")
    assert [server[0] for server in servers] == [
        stream.replace("%i", str(port)) for port in (10001, 10002, 10003)
    ]


def test_what_an_error_says_is_whole_in_nginx_and_html_and_json():
    for error in load_yaml("vars/main.yml")["__aroundtheworld_errors"].values():
        assert error.keys() == {"title", "sentence"}
        assert error["sentence"].endswith(".")
        assert not set('"\\$<>&\n') & set(error["title"] + error["sentence"])


def test_nginx_serves_no_files_of_an_app_that_has_none():
    _, site, server = site_of({})
    assert not [match for match in server.blocks("location") if "/app/" in match[-1]]
    names = {"$w10001_version", "$w10001_cache"}
    assert names.isdisjoint(args[1] for args in site.all("map"))


def test_a_websocket_may_be_quiet_for_long():
    pools = [PUBLIC, {"name": "live", "ports": [10005], "paths": ["/live"], "websocket": True}]
    _, _, server = site_of({"aroundtheworld_pools": pools})
    assert server.location("/live/").all("proxy_read_timeout") == [["86400s"]]
    pools[1]["read_timeout"] = 90
    _, _, server = site_of({"aroundtheworld_pools": pools})
    assert server.location("/live/").all("proxy_read_timeout") == [["90s"]]


def test_a_stream_may_be_quiet_for_long_and_is_passed_on_at_once():
    pools = [PUBLIC, {"name": "live", "ports": [10005], "paths": ["/live"], "stream": True}]
    _, _, server = site_of({"aroundtheworld_pools": pools})
    assert server.location("/live/").all("proxy_read_timeout") == [["86400s"]]
    assert server.location("/live/").all("proxy_buffering") == [["off"]]
    assert server.location("/").all("proxy_buffering") == []


def test_the_pool_that_serves_the_rest_is_the_upstream_without_a_name():
    plan, _, _ = site_of({})
    assert [pool["upstream"] for pool in plan["pools"]] == [
        "aroundtheworld_backends",
        "aroundtheworld_admin_backends",
    ]


@pytest.mark.parametrize(
    ("names", "host", "listen"),
    [
        (["_"], {"ipv6": True}, [["80", "default_server"], ["[::]:80", "default_server"]]),
        (["_"], {"ipv6": False}, [["80", "default_server"]]),
        (["a.example", "b.example"], {"ipv6": True}, [["80"], ["[::]:80"]]),
        # A neighbour has all of IPv4 and IPv6 in one socket, beside which there is no other.
        (["_"], {"port": {"dual_stack": True}}, [["[::]:80", "default_server"]]),
        (["a.example"], {"ipv6": False, "port": {"dual_stack": True}}, [["[::]:80"]]),
    ],
)
def test_only_a_site_for_every_name_is_the_default_server(names, host, listen):
    _, _, server = site_of({"aroundtheworld_server_names": names}, **host)
    assert server.all("listen") == listen
    assert server.all("server_name") == [names]


@pytest.mark.parametrize("certificate", ["", "/etc/letsencrypt/live/shop/fullchain.pem"])
def test_a_ca_finds_its_challenges_over_http_and_where_a_balancer_redirects_it(
    monkeypatch, certificate
):
    monkeypatch.setitem(HOST, "acme", {**HOST["acme"], "certificate": certificate})
    canonical = {"aroundtheworld_canonical_name": "example.org"}
    _, site, _ = site_of({**MODELS["acme"], **canonical})
    servers = [server for server in site.servers() if server.all("server_name")]
    assert len(servers) == (3 if certificate else 2)
    for server in servers:
        challenges = server.location("^~", "/.well-known/acme-challenge/")
        assert challenges.all("root") == [["/var/lib/tornado/aroundtheworld/acme"]]


WWW, APEX = "www.example.org", "example.org"
CANONICAL = {"aroundtheworld_canonical_name": APEX}
OF_A_POOL = {"aroundtheworld_pools": [PUBLIC, {**ADMIN, "server_names": [WWW]}]}
TO_HTTPS, TO_CANONICAL, ITSELF = "https://$host$request_uri", f"https://{APEX}$request_uri", ""


@pytest.mark.parametrize(
    ("waiting", "variables", "over_http"),
    [
        ([], {}, {f"{WWW} {APEX}": TO_HTTPS}),
        ([APEX], {}, {WWW: TO_HTTPS, APEX: ITSELF}),
        ([WWW, APEX], {}, {f"{WWW} {APEX}": ITSELF}),
        ([WWW], CANONICAL, {APEX: TO_HTTPS, WWW: TO_CANONICAL}),
        ([APEX], CANONICAL, {WWW: TO_HTTPS, APEX: ITSELF}),
        ([WWW, APEX], CANONICAL, {f"{WWW} {APEX}": ITSELF}),
        ([WWW], OF_A_POOL, {APEX: TO_HTTPS, WWW: ITSELF}),
    ],
)
def test_a_name_that_waits_for_its_certificate_is_served_over_http(
    monkeypatch, waiting, variables, over_http
):
    """A browser would show visitors who are sent to HTTPS a page of warnings."""
    certificate = "/etc/letsencrypt/live/shop/fullchain.pem"
    variables = {**MODELS["acme"], **variables}
    acme = {**HOST["acme"], "certificate": certificate, "waiting": waiting}
    monkeypatch.setitem(HOST, "acme", acme)
    plan, site, _ = site_of(variables)
    found, over_https = {}, []
    for server in site.servers():
        names = " ".join(name for names in server.all("server_name") for name in names)
        if server.all("ssl_certificate"):
            over_https += names.split()
        elif not names.endswith(".invalid"):
            has_pools = ("~", "//") in server.blocks("location")
            found[names] = ITSELF if has_pools else server.location("/").all("return")[-1][1]
    assert (found, sorted(over_https)) == (over_http, sorted([WWW, APEX]))
    # Once the CA has given it, the run goes on with this.
    monkeypatch.setitem(HOST, "acme", {**acme, "waiting": []})
    assert plan["certified"].items() <= site_of(variables)[0].items()


@every_model
def test_a_second_site_on_the_host_shares_no_name_with_this_one(model):
    """What nginx knows by name begins with the site's, a variable with its first port."""
    prefix = MODELS[model].get("aroundtheworld_site", "aroundtheworld")
    _, site, server = site_of(MODELS[model])
    names = [args[0] for kind in ("upstream", "log_format") for args in site.all(kind)]
    for kind in ("limit_conn_zone", "limit_req_zone"):
        names += [args[1].removeprefix("zone=") for args in site.all(kind)]
    assert len(names) >= 2
    assert all(name.startswith(f"{prefix}_") or name == prefix for name in names)
    variables = [args[-1] for kind in ("map", "geo") for args in site.all(kind)]
    variables += [args[0] for args in server.all("set")]
    assert len(variables) > 20
    assert all(name.startswith("$w10001_") for name in variables)


@every_model
def test_a_zone_with_another_key_has_another_name(model):
    """Or nginx, which still has the zone with its former key, refuses the whole configuration."""
    _, site, _ = site_of(MODELS[model])
    zones = [*site.all("limit_conn_zone"), *site.all("limit_req_zone")]
    for key, zone, *_ in zones:
        word = key.removeprefix("$").partition("_")[0]
        assert not word or word in zone.removeprefix("zone=").partition(":")[0].split("_")


@every_model
def test_a_location_with_a_header_of_its_own_has_the_sites_too(model):
    """It inherits none; templates/nginx/headers.conf.j2 is there to be included."""
    plan, _, server = site_of(MODELS[model])
    names = [header["name"] for header in plan["headers"]]
    for block in (server, *server.blocks("location").values()):
        found = [args[0] for args in block.all("add_header") if args[1]]
        assert not found or [name for name in found if name in names] == names


def test_text_given_on_the_command_line_renders_as_numbers_do():
    texts = {"aroundtheworld_http_port": "8080", "aroundtheworld_maintenance_retry_after": "90"}
    numbers = {name: int(value) for name, value in texts.items()}
    assert render("site.conf.j2", variables_for(texts)) == render(
        "site.conf.j2", variables_for(numbers)
    )
