"""The ids of test cases stay short enough to be read, and for a program's environment."""

import pytest

from conftest import LONGEST_ID, pytest_make_parametrize_id


@pytest.mark.parametrize("value", ["x" * 200_000, b"\xff" * 200_000, "\ud800" * 100])
def test_a_long_value_gets_a_short_id(value, request):
    assert len(request.node.name) < 100
    assert pytest_make_parametrize_id(value + value[:1], "value") not in request.node.name


@pytest.mark.parametrize("value", ["short", b"short", "x" * LONGEST_ID, 7, None])
def test_a_short_value_keeps_the_one_that_pytest_gives(value):
    assert pytest_make_parametrize_id(value, "value") is None
