"""The adviser says what would be better elsewhere, and the line that brings it there."""

import json
import time

import pytest
from ansible.module_utils.aroundtheworld.advice import access_log, routes
from ansible.module_utils.aroundtheworld.worker_client import parse_routes

from tests.render import ADMIN, PUBLIC
from tests.role_files import load_python

advise = load_python("library/aroundtheworld_advise.py")

POOLS = [PUBLIC, ADMIN]  # public: /, admin: /admin, blocking
MANY = 1000


def holds(*seconds, count=MANY):
    """Return what a worker measured of requests: equally many took each of these times."""
    each = count // len(seconds)
    buckets = [[value, each] for value in sorted(seconds)]
    return {"count": each * len(seconds), "max": max(seconds), "buckets": buckets}


def answer(**routes):
    """Return what a worker answers, from names of handlers to pattern and measurement."""
    return {
        "routes": [
            {"route": pattern, "handler": f"shop.{name}", "holds": measured}
            for name, (pattern, measured) in routes.items()
        ]
    }


QUICK = holds(0.001)
SLOW = holds(0.001, 0.3)


@pytest.fixture
def ask(run_module, monkeypatch, tmp_path):
    """Returns a function that runs the module; takes what workers say by port, and a log."""

    def ask(answers, log=(), pools=POOLS, check=False):
        by_socket = {
            f"/run/shop/{port}/control.sock": parse_routes(json.dumps(content).encode())
            for port, content in answers.items()
        }
        monkeypatch.setattr(
            advise,
            "all_routes",
            lambda controls: {port: by_socket.get(str(path)) for port, path in controls.items()},
        )
        file = tmp_path / "access.log"
        file.write_text("".join(f"{line}\n" for line in log))
        return run_module(advise, site="shop", pools=pools, access_log=str(file), check=check)

    return ask


def request(uri, port=10001, upstream=None):
    return json.dumps({"uri": uri, "upstream": upstream or f"127.0.0.1:{port}", "status": 200})


# --- what a pattern says of its paths -------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "fixed"),
    [
        ("/", "/"),
        ("/report", "/report"),
        ("/report/", "/report"),
        ("/report/?", "/report"),
        ("^/report$", "/report"),
        ("/report/([0-9]+)", "/report"),
        ("/report/([0-9]+)/cards", "/report"),
        ("/report(/.*)?", "/report"),
        ("/report(?:/[a-z]+)?", "/report"),
        ("/report(?P<rest>/.*)", "/report"),
        (r"/report\.csv", "/report.csv"),
        (r"/a\-b/x", "/a-b/x"),
        ("/reports?", "/"),
        ("/a/reports*", "/a"),
        ("/a/x{2}", "/a"),
        ("/rep.*", "/"),
        ("/a/rep[a-z]", "/a"),
        ("/([a-z]+)/report", "/"),
        ("/(a|b)/report", "/"),
        ("/a/(b|(c|d))/e", "/a"),
        ("/a/b|/c/d", "/"),
        ("/a/(b)|/c/(d)", "/"),
        (r"/a/[|]b", "/a"),
        (r"/a\|b/c", "/a|b/c"),
        (r"/a/\d+", "/a"),
        (".*", "/"),
        ("", "/"),
    ],
)
def test_the_fixed_part_of_a_pattern_is_whole_segments_that_all_its_paths_have(pattern, fixed):
    assert routes.fixed_part(pattern) == fixed


# --- what is advised ------------------------------------------------------------------------------


def test_a_route_that_blocks_is_to_be_moved_by_this_line(ask):
    result = ask({10001: answer(Report=("/report/([0-9]+)", SLOW), Home=("/", QUICK))})
    (advice,) = result["advice"]
    assert advice == {
        "route": "/report/([0-9]+)",
        "handler": "shop.Report",
        "from": "public",
        "to": "admin",
        "why": "blocks the loop for 300 ms (p99)",
        "lines": {"admin": "paths: [/admin, /report]"},
        "moves_too": [],
    }
    assert "    paths: [/admin, /report]" in result["lines"]
    assert not result["changed"]


def test_the_workers_of_a_pool_are_added_up(ask):
    answers = {
        10001: answer(Report=("/report", holds(0.001, count=600))),
        10002: answer(Report=("/report", holds(0.001, count=300))),
        10003: answer(Report=("/report", holds(0.5, count=100))),
        10004: answer(Report=("/report", holds(2.0, count=1))),
    }
    routes = ask(answers)["routes"]
    assert routes == [
        {
            "route": "/report",
            "handler": "shop.Report",
            "pool": pool,
            "requests": requests,
            "logged": 0,
            "p50": p50,
            "p99": p99,
            "max": most,
        }
        for pool, requests, p50, p99, most in (
            ("admin", 1, 2.0, 2.0, 2.0),
            ("public", 1000, 0.001, 0.5, 0.5),
        )
    ]


def test_one_slow_request_in_a_thousand_is_no_reason(ask):
    measured = {"count": 1000, "max": 0.9, "buckets": [[0.001, 999], [0.9, 1]]}
    result = ask({10001: answer(Report=("/report", measured))})
    assert result["advice"] == []
    assert result["lines"][-1].startswith("Every route is where it belongs")


def test_what_would_move_too_is_named(ask):
    result = ask(
        {
            10001: answer(
                Report=("/report/([0-9]+)", SLOW),
                Help=("/report/help", QUICK),
                Reporter=("/reporter", QUICK),
            )
        }
    )
    (advice,) = result["advice"]
    assert advice["moves_too"] == ["/report/help"]
    assert "  With it goes: /report/help (p99 1.0 ms)" in result["lines"]


def test_several_that_block_get_one_line_together(ask):
    result = ask(
        {
            10001: answer(
                Report=("/report/([0-9]+)", SLOW),
                Old=("/report/old/(.*)", SLOW),
                Export=("/export", SLOW),
            )
        }
    )
    assert [advice["lines"] for advice in result["advice"]] == [
        {"admin": "paths: [/admin, /export]"},
        {"admin": "paths: [/admin, /report]"},
        {"admin": "paths: [/admin, /report/old]"},
    ]
    assert result["lines"][-1] == "  in pool admin: paths: [/admin, /export, /report]"


def test_a_path_that_a_pool_names_leaves_it(ask):
    pools = [{**PUBLIC, "paths": ["/", "/shop/"]}, ADMIN]
    result = ask({10001: answer(Shop=("/shop/([0-9]+)", SLOW))}, pools=pools)
    assert result["advice"][0]["lines"] == {
        "public": "paths: [/]",
        "admin": "paths: [/admin, /shop]",
    }


def test_without_a_blocking_pool_a_new_one_is_described(ask):
    result = ask({10001: answer(Report=("/report", SLOW))}, pools=[PUBLIC])
    assert result["advice"][0]["lines"] == {"blocking": "paths: [/report]"}
    assert any("a new one with blocking: true" in line for line in result["lines"])


def test_paths_that_no_prefix_tells_apart_are_taken_from_the_log(ask):
    log = [request(uri) for uri in ("/de/report", "/fr/report?x=1", "/de/report", "//de/%72eport")]
    answers = {10001: answer(Report=("/([a-z]+)/report", SLOW), Page=("/([a-z]+)/page", QUICK))}
    result = ask(answers, log)
    (advice,) = result["advice"]
    assert advice["lines"] == {"admin": "paths: [/admin, /de/report, /fr/report]"}
    assert [route["logged"] for route in result["routes"]] == [4, 0]


def test_a_route_that_no_path_tells_apart_needs_one_of_its_own(ask):
    result = ask({10001: answer(Report=("/([a-z]+)/report", SLOW))})
    (advice,) = result["advice"]
    assert (advice["to"], advice["lines"]) == ("", {})
    assert advice["why"].endswith("no path tells it from others: give it one of its own")
    log = [request(f"/{'x' * length}/report") for length in range(1, 20)]  # too many to list
    assert ask({10001: answer(Report=("/([a-z]+)/report", SLOW))}, log)["advice"] == [advice]


# --- the other way --------------------------------------------------------------------------------


def test_what_never_blocks_in_a_blocking_pool_may_leave_it(ask):
    result = ask(
        {
            10004: answer(
                Reports=("/admin/reports", SLOW),
                People=("/admin/people/([0-9]+)", QUICK),
                Home=("/admin/?", QUICK),
            )
        }
    )
    (advice,) = result["advice"]  # /admin alone cannot leave without what is below it
    assert (advice["route"], advice["to"]) == ("/admin/people/([0-9]+)", "public")
    assert advice["lines"] == {"public": "paths: [/, /admin/people]"}
    assert advice["why"] == "never blocked in 1000 requests"


def test_one_interruption_in_a_thousand_is_no_block(ask):
    measured = {"count": 1000, "max": 0.05, "buckets": [[0.001, 999], [0.05, 1]]}
    assert len(ask({10004: answer(People=("/admin/people", measured))})["advice"]) == 1
    measured["max"] = 0.2
    assert ask({10004: answer(People=("/admin/people", measured))})["advice"] == []


def test_what_would_take_a_slow_one_along_stays(ask):
    result = ask(
        {10004: answer(List=("/admin/reports", QUICK), Report=("/admin/reports/([0-9]+)", SLOW))}
    )
    assert result["advice"] == []


def test_a_pool_that_is_left_with_nothing_is_not_needed(ask):
    result = ask({10004: answer(Home=("/admin", QUICK), People=("/admin/people", QUICK))})
    assert result["advice"][0]["lines"] == {"public": "paths: [/, /admin]", "admin": "paths: []"}
    assert any("Pool admin then has no path left" in line for line in result["lines"])


@pytest.mark.parametrize("measured", [holds(0.001, count=5), holds(0.001, 0.05)])
def test_few_requests_and_short_blocks_prove_nothing(ask, measured):
    assert ask({10004: answer(People=("/admin/people", measured))})["advice"] == []


# --- what it is made from -------------------------------------------------------------------------


def test_requests_in_the_log_are_counted_for_the_pool_that_answered(ask):
    log = [
        request("/report/1"),
        request("/report/2?a=b", upstream="127.0.0.1:10002, [::1]:10003"),
        request("/report/3", port=10004),
        request("/report/4", port=9),  # not ours
        request("/report/5", upstream="-"),  # nginx's own answer
        request("/report/5", upstream="aroundtheworld_backends"),
        '{"uri": "/report/6", "ups',  # cut off
        "[]",
        "",
    ]
    answers = {10001: answer(Report=("/report/([0-9]+)", QUICK), Any=("/(.*)", QUICK))}
    result = ask(answers, log)
    assert {route["route"]: route["logged"] for route in result["routes"]} == {
        "/report/([0-9]+)": 2,
        "/(.*)": 0,
    }


def test_a_log_that_was_turned_over_counts_too(ask, tmp_path):
    (tmp_path / "access.log.1").write_text(request("/report") + "\n")
    result = ask({10001: answer(Report=("/report", QUICK))}, [request("/report")])
    assert result["routes"][0]["logged"] == 2


def test_workers_that_say_nothing_are_named(ask):
    result = ask({10001: answer(Report=("/report", QUICK))}, check=True)
    assert result["silent"] == ["10002", "10003", "10004"]
    assert "The worker on port 10002 says nothing about its routes." in result["lines"]


def test_requests_without_a_route_are_shown_and_not_moved(ask):
    result = ask({10001: answer(Error=("", SLOW))})
    assert result["advice"] == []
    assert result["table"][1][0] == "(none)"


def test_nothing_is_said_of_what_nobody_asked_for(ask):
    result = ask({})
    assert (result["routes"], result["advice"]) == ([], [])
    assert any(line.startswith("Nothing was measured yet") for line in result["lines"])


def test_the_table_has_a_row_for_each_route_under_its_headings(ask):
    answers = {10001: answer(Report=("/report/([0-9]+)", SLOW), Home=("/", holds(0.0005, count=7)))}
    assert ask(answers)["table"] == [
        ["route", "pool", "requests", "in the log", "p50", "p99", "max", "handler"],
        ["/report/([0-9]+)", "public", "1000", "0", "1.0 ms", "300 ms", "300 ms", "shop.Report"],
        ["/", "public", "7", "0", "0.5 ms", "0.5 ms", "0.5 ms", "shop.Home"],
    ]


def test_a_pattern_that_explodes_or_is_none_holds_nobody_up(ask, monkeypatch):
    """A pattern is what a worker says, and is matched as root."""
    monkeypatch.setattr(access_log, "MATCH_SECONDS", 0.5)
    patterns = {"Home": ("/", QUICK), "Bad": ("/(((", QUICK), "Deep": ("(" * 400, QUICK)}
    log = [request("/"), request("/" + "a" * 60 + "!")]
    begun = time.monotonic()
    result = ask({10001: answer(Exploding=("/(a+)+", QUICK), **patterns)}, log)
    assert time.monotonic() - begun < 5
    assert len(result["routes"]) == 4
