"""What tests of refused variables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from aroundtheworld_controller.rules import check_variables
from aroundtheworld_controller.variables import BadInputError
from tests.render import ADMIN, APP, PUBLIC
from tests.role_files import load_yaml

DEFAULTS = load_yaml("defaults/main.yml") | {"aroundtheworld_home": "/var/lib/tornado/x"}

A_PORT = "a port is a whole number from 1 to 65535"
A_NAME = "at most 30 lower-case letters, digits and '_'"

Changes = Mapping[str, Any]


def problems_with(changes: Changes) -> list[str]:
    """Return what is wrong with the example's variables after these changes."""
    try:
        check_variables({**DEFAULTS, **APP, **changes})
    except BadInputError as bad:
        return bad.problems
    return []


def pools(*more: object, public: Changes | None = None, admin: Changes | None = None) -> Changes:
    """Return the variable of pools with changes in the two usual ones, and more pools."""
    return {
        "aroundtheworld_pools": [{**PUBLIC, **(public or {})}, {**ADMIN, **(admin or {})}, *more]
    }


def case(identity: str, changes: Changes, *parts: str) -> ParameterSet:
    """Return a case for a test with the parameters `changes` and `parts`, which are a message's."""
    return pytest.param(changes, parts, id=identity)
