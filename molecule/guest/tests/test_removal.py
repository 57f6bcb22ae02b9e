"""The site goes, and the host is as if it had never come."""

import pytest


@pytest.mark.usefixtures("removed")
def test_after_the_removal_there_is_no_difference(
    before, look, difference, neighbours_are_well, log_in
):
    now = look()
    assert difference(now) == {}
    assert now["accounts"] == before["accounts"]
    neighbours_are_well()
    assert log_in("ada", "pwd") == "/home/ada\n"
