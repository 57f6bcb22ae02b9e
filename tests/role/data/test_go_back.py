"""Which copy of the databases an operator goes back to, and what that is told to mean."""

import pytest

from aroundtheworld_controller.data.undo import about_copy, copy_to_go_back_to, minutes
from aroundtheworld_controller.variables import BadInputError

COPIES = [
    {"name": str(number), "release": release, "time": f"2026-11-2{number}", "age": 61.0,
     "databases": ["shop"]}
    for number, release in enumerate(["r1", "r2", "r1"])
]  # fmt: skip


def test_it_is_the_newest_from_when_the_release_ran():
    assert copy_to_go_back_to("r1", {"copies": COPIES}, "www")["name"] == "2"


@pytest.mark.parametrize(
    ("copies", "known"), [(COPIES[:2], r"r1 \(2026-11-20\), r2 \(2026-11-21\)"), ([], "none")]
)
def test_without_one_there_is_a_sentence_with_those_that_there_are(copies, known):
    with pytest.raises(BadInputError, match=f"when r3 ran on www, .* have one: {known}"):
        copy_to_go_back_to("r3", {"copies": copies}, "www")


def test_what_is_lost_and_what_stays_is_told_before():
    told = about_copy(COPIES[0], ["shop", "stock", "new"], "www")
    assert "www: goes back to release r1 and the data of 2026-11-20" in told
    assert "loses the changes of 2 minutes" in told
    assert "There is no copy of new, stock: that stays as it is" in told
    assert "no copy" not in about_copy(COPIES[0], ["shop"], "www")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 minutes"), (1, "1 minute"), (60, "1 minute"), (61, "2 minutes")]
)
def test_a_minute_that_has_begun_counts(seconds, text):
    assert minutes(seconds) == text
