"""What two sites on one host must not share, and how long a site waits for the other."""

import fcntl
import json
import os
import sys
import threading

import pytest
from ansible.module_utils.aroundtheworld.host import describe

from aroundtheworld_controller.site_rules import NGINX_NAMES
from aroundtheworld_controller.variables import BadInputError
from tests.render import ADMIN, MODELS, PUBLIC, variables_for
from tests.role_files import load_python

load_python("library/aroundtheworld_layout.py")
claims = sys.modules["ansible.module_utils.aroundtheworld.claims"]
host_lock = sys.modules["ansible.module_utils.aroundtheworld.host_lock"]


def claim(**variables):
    """Returns the claim that a deployment with these variables would make."""
    return variables_for({f"aroundtheworld_{key}": value for key, value in variables.items()})[
        "__aroundtheworld_plan"
    ]["claim"]


# A second site that has everything to itself.
OTHER = {
    "site": "shop",
    "user": "shopkeeper",
    "server_names": ["shop.example.org"],
    "pools": [PUBLIC | {"ports": [10101, 10102]}, ADMIN | {"ports": [10104]}],
}


def problems_of(mine, **other):
    shop = claim(**(OTHER | other))
    return list(claims.collisions(mine, {"shop": shop, mine["site"]: mine}))


def test_sites_that_have_everything_to_themselves_do_not_collide():
    assert problems_of(claim()) == []


COLLISIONS = {
    "port": (
        {"pools": [PUBLIC | {"ports": [10101, 10002]}, ADMIN | {"ports": [10104]}]},
        "aroundtheworld_pools: port 10002 belongs to the site 'shop' on this host; choose another.",
    ),
    "port of nginx": (
        {"http_port": 10003, "listen_address": "127.0.0.2"},
        "aroundtheworld_pools: port 10003 belongs to the site 'shop' on this host; choose another.",
    ),
    "user": ({"user": "tornado"}, "aroundtheworld_user: 'tornado' is the user of the site 'shop'"),
    "home": (
        {"home": "/var/lib/tornado/aroundtheworld"},
        "aroundtheworld_home: '/var/lib/tornado/aroundtheworld' and the home of the site 'shop' on",
    ),
    "home within": (
        {"home": "/var/lib/tornado/aroundtheworld/shared/shop"},
        "lie within one another; give each a directory of its own.",
    ),
    "every name": (
        {"server_names": ["_"]},
        "aroundtheworld_server_names: every name on port 80 is answered by the site 'shop' on this",
    ),
}


@pytest.mark.parametrize(("other", "sentence"), COLLISIONS.values(), ids=COLLISIONS)
def test_what_another_site_has_is_refused(other, sentence):
    (problem,) = problems_of(claim(), **other)
    assert sentence in problem


def test_a_port_of_a_worker_must_not_be_where_nginx_serves_another_site():
    (problem,) = problems_of(claim(http_port=10101))
    assert problem.startswith("aroundtheworld_http_port: port 10101 belongs to the site")


def test_a_port_of_nginx_speaks_one_protocol():
    (problem,) = problems_of(claim(tls="local", https_port=8443), http_port=8443)
    assert problem.startswith("aroundtheworld_https_port: port 8443 belongs to the site 'shop'")
    (problem,) = problems_of(claim(http_port=8443), tls="local", https_port=8443)
    assert problem.startswith("aroundtheworld_http_port: port 8443 belongs to the site 'shop'")


def test_two_sites_with_https_share_the_port_but_no_name():
    assert problems_of(claim(tls="local"), tls="local") == []
    names = {"server_names": ["shop.example.org"]}
    (problem,) = problems_of(claim(tls="local", http_port=81, **names), tls="local")
    assert "'shop.example.org' on port 443 is answered by the site 'shop'" in problem
    assert "another aroundtheworld_https_port" in problem


@pytest.mark.parametrize(
    "other",
    [
        {"listen_address": "127.0.0.2", "pools": [PUBLIC, ADMIN]},
        {"server_names": ["_"], "http_port": 8080},
    ],
    ids=["ports on another address", "names on another port"],
)
def test_what_only_looks_the_same_is_no_collision(other):
    assert problems_of(claim(), **other) == []


def test_sites_share_the_port_of_the_proxy_protocol_if_both_have_https_there_or_neither():
    mine = claim() | {"proxy_protocol_port": 8443}
    other = {**claim(**OTHER), "proxy_protocol_port": 8443}
    assert list(claims.collisions(mine, {"shop": other})) == []
    assert list(claims.collisions({**mine, "https_port": 443}, {"shop": other})) == [
        "aroundtheworld_proxy_protocol_port: port 8443 belongs to the site 'shop' on this host; "
        "choose another."
    ]
    (problem,) = claims.collisions(mine, {"shop": {**other, "proxy_protocol_port": 80}})
    assert problem.startswith("aroundtheworld_http_port: port 80 belongs to the site 'shop'")


def test_a_port_of_a_pool_is_the_sites_alone_and_under_every_name():
    mine = claim() | {"pool_ports": {"admin": 8081}}
    variable = "aroundtheworld_pools: http_port of pool 'admin'"
    assert claims.nginx_ports(mine) == {"aroundtheworld_http_port": 80, variable: 8081}
    assert claims.served_names(mine, variable) == ("_",)
    assert claims.served_names(mine, "aroundtheworld_http_port") == tuple(mine["server_names"])
    for more in ({"pool_ports": {"admin": 8081}}, {"http_port": 8081}):
        (problem,) = claims.collisions(mine, {"shop": {**claim(**OTHER), **more}})
        assert problem == f"{variable}: port 8081 belongs to the site 'shop' on this host; " + (
            "choose another."
        )
    assert list(claims.collisions(mine, {"shop": claim(**OTHER)})) == []
    assert claims.nginx_ports(claims.removed(mine)) == {}


def test_nginx_is_examined_on_each_port_for_the_names_and_the_protocol_there():
    mine = claim(server_names=["a.example"]) | {"https_port": 443, "pool_ports": {"admin": 8081}}
    found = describe.intents({"claim": mine, "remove_default": True, "decided": []}, ipv6=True)
    assert [(each.port, each.names, each.tls) for each in found] == [
        (80, ("a.example",), False),
        (443, ("a.example",), True),
        (8081, ("_",), True),
    ]
    assert found[2].variable == "aroundtheworld_pools: http_port of pool 'admin'"


def test_one_name_of_many_is_enough():
    mine = claim(server_names=["a.example.org", "shop.example.org"])
    (problem,) = problems_of(mine)
    assert "'shop.example.org' on port 80 is answered by the site 'shop'" in problem


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (("shop_admin", "public"), ("shop", "admin")),
        (("shop", "admin"), ("shop_admin", "public")),
        (("shop_a", "b"), ("shop", "a_b")),
    ],
)
def test_sites_whose_names_in_nginx_would_be_the_same_are_refused(mine, other):
    first, second = ({"site": site, "pools": [pool]} for site, pool in (mine, other))
    rest = {"server_names": [], "sockets": []}
    first |= rest | {"home": "/srv/one", "user": "one", "http_port": 80}
    second |= rest | {"home": "/srv/two", "user": "two", "http_port": 81}
    (problem,) = claims.collisions(first, {second["site"]: second})
    assert problem.startswith(f"aroundtheworld_site: {mine[0]!r} and the site {other[0]!r}")


def test_a_site_does_not_collide_with_itself():
    mine = claim()
    changed = claim(pools=[PUBLIC | {"ports": [10002, 10009]}])
    assert list(claims.collisions(changed, {"aroundtheworld": mine})) == []
    assert claims.claimed_ports(changed, {"aroundtheworld": mine}) == {}


def test_a_site_does_not_move_away_from_its_data(tmp_path):
    before = claim(home=str(tmp_path))
    (problem,) = claims.collisions(claim(), {"aroundtheworld": before})
    assert problem.startswith("aroundtheworld_home: '/var/lib/tornado/aroundtheworld' is not where")
    tmp_path.rmdir()
    assert list(claims.collisions(claim(), {"aroundtheworld": before})) == []


def test_of_a_removed_site_only_home_and_user_are_taken():
    gone = claims.removed(claim(**OTHER))
    mine = claim(
        pools=[PUBLIC | {"ports": [10101]}],
        user="shopkeeper",
        server_names=["shop.example.org"],
    )
    (problem,) = claims.collisions(mine, {"shop": gone})
    assert problem.startswith("aroundtheworld_user: ")


def test_claims_are_read_and_what_is_none_is_passed_over(tmp_path):
    mine = claim()
    for name, text in (
        ("aroundtheworld", claims.claim_text(mine)),
        ("torn", "{"),
        ("strange", "{}"),
        ("ssh", None),
    ):
        (tmp_path / name).mkdir()
        if text:
            (tmp_path / name / claims.CLAIM).write_text(text)
    assert claims.read_claims(tmp_path) == {"aroundtheworld": json.loads(json.dumps(mine))}


@pytest.mark.parametrize("variables", MODELS.values(), ids=MODELS)
def test_a_claim_has_every_port_of_the_site(variables):
    planned = variables_for(variables)["__aroundtheworld_plan"]
    ports = [port for pool in planned["pools"] for port in pool["ports"]]
    if port := variables.get("aroundtheworld_metrics_port"):
        ports += [port, port + 1]  # the second is nginx's, for its own numbers
    assert [socket["port"] for socket in planned["claim"]["sockets"]] == ports


@pytest.mark.parametrize("name", NGINX_NAMES)
def test_a_name_that_nginx_has_itself_is_refused(name):
    with pytest.raises(BadInputError, match=r"aroundtheworld_site: .* nginx has names"):
        claim(site=name)


def test_one_site_waits_for_another():
    handle = os.open(host_lock.HOST_LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    let_go = threading.Timer(0.3, os.close, [handle])
    let_go.start()
    with host_lock.only_site():
        assert let_go.finished.is_set()


def test_one_site_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(host_lock, "HOST_LOCK_SECONDS", 0.1)
    with (
        host_lock.only_site(),
        pytest.raises(host_lock.HostError, match="Another site on this host"),
        host_lock.only_site(),
    ):
        pass
