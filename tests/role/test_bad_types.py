"""A value of another type is converted where it plainly means one that fits, or refused."""

import pytest

from aroundtheworld_controller.variables import TYPES, convert
from tests.render import ADMIN, PUBLIC
from tests.role.refusals import pools, problems_with
from tests.role_files import load_options

NOT_OF_TYPE = {
    "str": [None, True, 1.5, [], {}],
    "path": [None, True, 5, [], {}],
    "int": [None, True, 1.5, "eighty", "80x", "80.5", "inf", "", [], {}],
    "float": [None, True, "eighty", "1s", "", [], {}],
    "bool": [None, 0, 1, 1.0, "maybe", "", [], {}],
    "list": [None, True, 5, "a,b", {}],
    "raw": [None, True, 1.5, {}],
    "dict": [None, True, 5, "a=b", []],
}


def what_fits(option):
    """Returns how a message ends: with the choices, if there are some, or in words for the type."""
    if "choices" in option:
        return f"allowed: {', '.join(map(str, option['choices']))}."
    return f"it must be {TYPES[option['type']].words}."


@pytest.mark.parametrize("name", load_options())
def test_a_wrong_type_is_named_shown_and_answered(name):
    option = load_options()[name]
    for value in NOT_OF_TYPE[option["type"]]:
        (problem,) = problems_with({name: value})
        shown = f"a value of type {type(value).__name__}" if option.get("no_log") else repr(value)
        assert problem == f"{name}: {shown} is not allowed; {what_fits(option)}"


@pytest.mark.parametrize("key", load_options()["aroundtheworld_pools"]["options"])
def test_a_wrong_type_in_a_pool_is_named_shown_and_answered(key):
    option = load_options()["aroundtheworld_pools"]["options"][key]
    for value in NOT_OF_TYPE[option["type"]]:
        (problem,) = problems_with(pools(admin={key: value}))
        where = f"aroundtheworld_pools[1].{key}"
        assert problem == f"{where}: {value!r} is not allowed; {what_fits(option)}"


@pytest.mark.parametrize(
    ("changes", "where", "kind"),
    [
        (pools(5), "aroundtheworld_pools[2]: 5 ", "a mapping"),
        (pools(public={"ports": [10001, "x"]}), "aroundtheworld_pools[0].ports[1]: 'x' ", "number"),
        (pools(public={"paths": ["/", None]}), "aroundtheworld_pools[0].paths[1]: None ", "a text"),
        (
            {"aroundtheworld_server_names": [True]},
            "aroundtheworld_server_names[0]: True ",
            "a text",
        ),
        ({"aroundtheworld_app_exclude": [[]]}, "aroundtheworld_app_exclude[0]: [] ", "a text"),
    ],
)
def test_a_wrong_type_in_a_list_is_named_with_its_place(changes, where, kind):
    (problem,) = problems_with(changes)
    assert where in problem
    assert kind in problem


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("name", "is missing; it must be a"),
        ("ports", "[] is not allowed; pool 'admin' needs at least one of its ports, or else a"),
        ("paths", "[] is not allowed; pool 'admin' needs at least one of its paths"),
    ],
)
def test_what_a_pool_must_have_is_named(key, words):
    pool = {name: value for name, value in ADMIN.items() if name != key}
    (problem,) = problems_with({"aroundtheworld_pools": [PUBLIC, pool]})
    assert f"aroundtheworld_pools[1].{key}: {words}" in problem


@pytest.mark.parametrize(
    ("kind", "value", "meant"),
    [
        ("int", "8080", 8080),
        ("int", "-1", -1),
        ("int", "80.0", 80),
        ("float", "0.5", 0.5),
        ("float", "2", 2.0),
        ("float", 2, 2.0),
        ("float", "1e3", 1000.0),
        ("bool", "yes", True),
        ("bool", "False", False),
        ("bool", "off", False),
        ("str", 1048576, "1048576"),
        ("list", ("a", 5), ["a", "5"]),
    ],
)
def test_a_value_written_as_another_type_is_taken_for_what_it_means(kind, value, meant):
    problems = []
    result = convert(value, {"type": kind, "elements": "str"}, "name", problems)
    assert (result, type(result)) == (meant, type(meant))
    assert problems == []


def test_values_inside_pools_are_converted_too():
    pool = {"name": "a", "ports": ["10001"], "paths": ["/"], "blocking": "yes", "memory_max": 512}
    problems = []
    (result,) = convert([pool], load_options()["aroundtheworld_pools"], "pools", problems)
    assert problems == []
    assert result == pool | {"ports": [10001], "blocking": True, "memory_max": "512"}
