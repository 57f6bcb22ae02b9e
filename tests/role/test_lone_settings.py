"""A setting that means nothing without another one is refused when that one is missing."""

import pytest

from tests.render import ADMIN, PUBLIC
from tests.role.refusals import pools, problems_with

RATE = "aroundtheworld_pools[0].burst: {} is not allowed without rate; so many requests come at "
NO_MIGRATION = "is not allowed without aroundtheworld_migrate_command; there is no migration"


@pytest.mark.parametrize("burst", [0, 5, "7"])
@pytest.mark.parametrize("rate", [{}, {"rate": ""}])
def test_a_burst_needs_a_rate(burst, rate):
    (problem,) = problems_with(pools(public={"burst": burst, **rate}))
    assert problem.startswith(RATE.format(int(burst)))


def test_a_burst_above_a_rate_is_right_and_so_is_a_rate_alone():
    assert problems_with(pools(public={"rate": "10/s", "burst": 5}, admin={"rate": "1/m"})) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"migrate": True, "migrate_command": ""}, f"aroundtheworld_migrate: true {NO_MIGRATION}"),
        (
            {"migrate_check_command": "look", "migrate_command": ""},
            f"aroundtheworld_migrate_check_command: 'look' {NO_MIGRATION}",
        ),
        (
            {"metrics_address": "10.0.0.5"},
            "aroundtheworld_metrics_address: '10.0.0.5' is not allowed without "
            "aroundtheworld_metrics_port; there are no metrics",
        ),
        (
            {"hsts_subdomains": True, "hsts_seconds": 0},
            "aroundtheworld_hsts_subdomains: true is not allowed without "
            "aroundtheworld_hsts_seconds; browsers are told nothing",
        ),
    ],
)
def test_so_does_a_variable(changes, message):
    (problem,) = problems_with({f"aroundtheworld_{name}": each for name, each in changes.items()})
    assert problem.startswith(message)


def test_what_is_set_as_by_default_is_not_set_alone():
    """Whoever copies all defaults into an inventory means nothing by them."""
    alone = {"migrate": False, "migrate_check_command": "", "metrics_address": "127.0.0.1"}
    variables = {f"aroundtheworld_{name}": value for name, value in alone.items()}
    variables |= {"aroundtheworld_pools": [{**PUBLIC, "binds": False, "burst": 20}, ADMIN]}
    assert problems_with({**variables, "aroundtheworld_migrate_command": ""}) == []
