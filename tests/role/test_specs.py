"""The specifications, the defaults and what the role checks say the same."""

import re

import pytest

from aroundtheworld_controller.pool_rules import RANGES, pool_problems
from aroundtheworld_controller.variables import PREFIX, TYPES, type_problems
from tests.role_files import ROLE, load_options, load_yaml

OPTIONS = load_options()
POOL = OPTIONS["aroundtheworld_pools"]["options"]
DEFAULTS = load_yaml("defaults/main.yml")
SETTINGS = load_yaml("vars/main.yml")
USUAL = SETTINGS["__aroundtheworld_pool_defaults"]
BLOCKING = SETTINGS["__aroundtheworld_blocking_pool_defaults"]


def test_every_default_in_the_specifications_is_the_real_one():
    specified = {name: one["default"] for name, one in OPTIONS.items() if "default" in one}
    assert specified == DEFAULTS


def test_every_variable_has_a_default():
    assert set(OPTIONS) == set(DEFAULTS)
    assert not [name for name, one in OPTIONS.items() if one.get("required")]


def test_every_setting_of_a_pool_has_a_default_or_is_required():
    required = {name for name, one in POOL.items() if one.get("required")}
    assert required == {"name", "ports", "paths"}
    assert set(POOL) - required == set(USUAL)
    assert set(BLOCKING) < set(USUAL)


def test_every_setting_of_a_pool_is_named_beside_the_default_pools():
    text = (ROLE / "defaults" / "main.yml").read_text()
    named = re.search(r"A pool may also set: (.*?)\.\n", text, re.DOTALL)[1]
    assert set(re.findall(r"\w+", named)) == set(USUAL) - {"blocking"}


@pytest.mark.parametrize("family", [USUAL, USUAL | BLOCKING], ids=["usual", "blocking"])
def test_defaults_of_pools_would_be_accepted_if_they_were_given(family):
    pool = {"name": "public", "ports": [10001], "paths": ["/"]} | family
    assert list(type_problems([pool], OPTIONS["aroundtheworld_pools"], "pools")) == []
    assert list(pool_problems([pool], 80)) == []


def test_every_number_of_a_pool_has_a_range():
    assert set(RANGES) == {name for name, one in POOL.items() if one["type"] == "int"}


@pytest.mark.parametrize(("name", "option"), [*OPTIONS.items(), *POOL.items()])
def test_every_option_can_be_checked_and_explained(name, option):
    assert option["type"] in TYPES
    assert option["description"].strip().endswith(".")
    assert option["type"] != "list" or option["elements"] in TYPES


def test_public_variables_begin_with_the_roles_name_and_others_with_two_underscores():
    assert all(name.startswith(PREFIX) for name in DEFAULTS)
    assert all(name.startswith(f"__{PREFIX}") for name in SETTINGS)


def test_platforms_are_the_tested_distributions():
    codenames = {"bookworm": "debian 12", "trixie": "debian 13"}
    (platform,) = load_yaml("meta/main.yml")["galaxy_info"]["platforms"]
    assert [codenames[name] for name in platform["versions"]] == SETTINGS[
        "__aroundtheworld_distributions"
    ]
