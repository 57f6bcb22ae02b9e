"""The specifications, the defaults and what the role checks say the same."""

import pytest

from aroundtheworld_controller.pools import KINDS, pool_with_defaults
from aroundtheworld_controller.variables import PREFIX, TYPES, convert
from tests.role.refusals import problems_with
from tests.role_files import ROLE, load_options, load_yaml

OPTIONS = load_options()
SETTINGS = load_yaml("meta/pool_settings.yml")
DEFAULTS = load_yaml("defaults/main.yml")
INTERNAL = load_yaml("vars/main.yml")


def test_ansible_checks_nothing_before_the_plan_does():
    """It would where an entry point of the specifications is a file of tasks."""
    entry_points = set(load_yaml("meta/argument_specs.yml")["argument_specs"])
    tasks = {path.stem for path in (ROLE / "tasks").iterdir()}
    assert "main" in tasks
    assert entry_points.isdisjoint(tasks)


def test_every_default_in_the_specifications_is_the_real_one():
    specified = {name: option["default"] for name, option in OPTIONS.items() if "default" in option}
    assert specified == DEFAULTS


def test_every_variable_has_a_default():
    assert set(OPTIONS) == set(DEFAULTS)
    assert not [name for name, option in OPTIONS.items() if option.get("required")]


def test_a_former_name_is_nobodys_and_its_new_one_is_somebodys():
    settings = {f"aroundtheworld_pools.{name}" for name in SETTINGS}
    for former, renamed in load_yaml("meta/renamed.yml").items():
        where = former.rpartition(".")[0]
        assert set(renamed) == {"name", "since"}
        assert former not in {*OPTIONS, *settings}
        assert (f"{where}." if where else "") + renamed["name"] in {*OPTIONS, *settings}


def test_every_setting_of_a_pool_has_a_default_or_is_required():
    required = {name for name, setting in SETTINGS.items() if "default" not in setting}
    assert required == {"name"}
    specified = OPTIONS["aroundtheworld_pools"]["options"]
    assert required == {name for name, option in specified.items() if option.get("required")}


@pytest.mark.parametrize(("name", "setting"), SETTINGS.items())
def test_the_specifications_of_a_setting_are_those_of_the_table(name, setting):
    option = OPTIONS["aroundtheworld_pools"]["options"][name]
    for key in ("type", "elements", "choices"):
        assert option.get(key) == setting.get(key)
    assert set(setting) <= {*option, "default", "range", "serving", *KINDS}
    for key in {"default", *KINDS} & set(setting):
        problems = []
        assert convert(setting[key], setting, name, problems) == setting[key]
        assert problems == []


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["blocking"],
        ["websocket"],
        ["blocking", "websocket"],
        ["stream"],
        ["blocking", "stream"],
    ],
)
def test_defaults_of_pools_would_be_accepted_if_they_were_given(kinds):
    pool = {"name": "public", "ports": [10001], "paths": ["/"], **dict.fromkeys(kinds, True)}
    filled = pool_with_defaults(pool)
    assert set(filled) == set(SETTINGS)
    assert problems_with({"aroundtheworld_pools": [filled]}) == []


def test_of_two_kinds_that_a_pool_is_the_later_ones_default_counts():
    pool = pool_with_defaults({"blocking": True, "websocket": True, "nice": 3})
    assert (pool["read_timeout"], pool["drain_timeout"], pool["nice"]) == (86400, 300, 3)
    assert pool_with_defaults({"command": "serve"})["watchdog"] == 0
    assert pool_with_defaults({})["watchdog"] == 30


def test_every_number_of_a_pool_has_a_range():
    numbers = {name for name, setting in SETTINGS.items() if setting["type"] == "int"}
    assert numbers == {name for name, setting in SETTINGS.items() if "range" in setting}


@pytest.mark.parametrize(("name", "option"), [*OPTIONS.items(), *SETTINGS.items()])
def test_every_option_can_be_checked_and_explained(name, option):
    assert option["type"] in TYPES
    assert option["description"].strip().endswith(".")
    assert option["type"] != "list" or option["elements"] in TYPES


def test_public_variables_begin_with_the_roles_name_and_others_with_two_underscores():
    assert all(name.startswith(PREFIX) for name in DEFAULTS)
    assert all(name.startswith(f"__{PREFIX}") for name in INTERNAL)


def test_platforms_are_the_tested_distributions():
    codenames = {"bookworm": "debian 12", "trixie": "debian 13"}
    (platform,) = load_yaml("meta/main.yml")["galaxy_info"]["platforms"]
    assert [codenames[name] for name in platform["versions"]] == INTERNAL[
        "__aroundtheworld_distributions"
    ]
