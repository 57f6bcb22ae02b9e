"""What a deployment would replace, and the one line that it ends with."""

from __future__ import annotations

import time

import pytest

from aroundtheworld_controller.output.summary import address, replacements, summary
from aroundtheworld_controller.runs import run

CLAIM = {"site": "shop", "server_names": ["shop.example.org"], "http_port": 80}
PLAN = {
    "claim": CLAIM,
    "tls": {"certificate": ""},
    "redirected": ["shop.example.org"],
    "current": "ba9876543210",
    "release": {"id": "0123456789ab"},
    "workers": [{"port": 10001}, {"port": 10004}],
    "jobs": [],
}


@pytest.mark.parametrize(
    ("more", "https", "expected"),
    [
        ({}, False, "http://shop.example.org/"),
        ({"http_port": 8080}, False, "http://shop.example.org:8080/"),
        ({"server_names": ["_"]}, False, "http://web1/"),
        ({"server_names": ["_", "shop.example.org"]}, False, "http://shop.example.org/"),
        ({"https_port": 443}, True, "https://shop.example.org/"),
        ({"https_port": 8443}, True, "https://shop.example.org:8443/"),
        ({"https_port": 443}, False, "http://shop.example.org/"),  # there is no certificate yet
    ],
)
def test_the_address_is_what_a_visitor_types(more, https, expected):
    assert address({**CLAIM, **more}, "web1", https=https) == expected


@pytest.mark.parametrize(
    ("former", "change"),
    [
        ("ba9876543210", "before: ba9876543210"),
        ("", "before: none"),
        ("0123456789ab", "as before"),
    ],
)
def test_it_says_what_runs_and_what_ran(former, change):
    line = summary({**PLAN, "current": former}, "web1", 12.34)
    assert line == (
        f"shop at http://shop.example.org/ runs release 0123456789ab ({change}), 2 workers, 12.3 s"
    )


def test_a_dry_run_says_would_and_an_unknown_time_is_left_out():
    line = summary({**PLAN, "workers": [{}]}, "web1", None, check_mode=True)
    assert line.endswith("would run release 0123456789ab (before: ba9876543210), 1 worker")


def test_it_says_that_a_browser_does_not_know_the_controllers_ca():
    plan = {
        **PLAN,
        "tls": {"certificate": "", "source": {"ca": "/home/ada/.cache/aroundtheworld/ca/ca.pem"}},
    }
    assert "a certificate of /home/ada/.cache/aroundtheworld/ca/ca.pem" in summary(plan, "w", None)


def test_a_name_that_waits_for_its_certificate_is_there_over_http():
    plan = {
        **PLAN,
        "claim": {**CLAIM, "https_port": 443},
        "tls": {"certificate": "/etc/letsencrypt/live/shop/fullchain.pem"},
    }
    assert "shop at https://shop.example.org/ runs" in summary(plan, "web1", None)
    plan["redirected"] = ["www.shop.example.org"]
    assert "shop at http://shop.example.org/ runs" in summary(plan, "web1", None)


def test_a_run_knows_for_how_long_it_has_been_going_on():
    first = run.seconds_of_run()
    time.sleep(0.05)
    assert 0 < first < run.seconds_of_run()


def test_where_nothing_says_when_a_process_began_there_are_no_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "PROC", tmp_path)
    assert run.seconds_of_run() is None


def test_a_dry_run_shows_which_workers_it_would_replace_in_their_order():
    workers = [
        {"worker": "10004", "pool": "admin", "why": "it runs release ba9876543210"},
        {"worker": "mail-1", "pool": "mail", "why": "its settings changed"},
    ]
    assert list(replacements(workers, "www1", "0123456789ab", 80)) == [
        "www1: would have 2 workers run release 0123456789ab, in this order:",
        "worker  pool   because",
        "10004   admin  it runs release ba9876543210",
        "mail-1  mail   its settings changed",
    ]
