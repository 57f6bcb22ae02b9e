"""What the scenario rollout takes away from the role, to show that its tests can fail, is there."""

import importlib.util
import sys

import pytest

from tests.role_files import CHECKOUT, ROLE

SCRIPT = CHECKOUT / "molecule" / "rollout" / "sabotage.py"


def sabotages():
    specification = importlib.util.spec_from_file_location("sabotage", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["sabotage"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module.SABOTAGES


@pytest.mark.parametrize(("name", "sabotage"), sabotages().items())
def test_each_sabotage_has_something_to_take_away(name, sabotage):
    assert (ROLE / sabotage.file).read_text().count(sabotage.old) == 1, name
