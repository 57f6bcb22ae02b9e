"""docs/architecture.md is complete: a newcomer finds every room and every file of tasks there."""

import pytest

from tests.role_files import CHECKOUT, ROLE

ARCHITECTURE = (CHECKOUT / "docs" / "architecture.md").read_text()


def test_each_file_of_tasks_is_in_the_way_of_a_run():
    files = [path.name for path in (ROLE / "tasks").glob("*.yml")]
    assert files
    assert [name for name in files if f"`{name}`" not in ARCHITECTURE] == []


@pytest.mark.parametrize(
    "library", ["module_utils/aroundtheworld", "plugin_utils/aroundtheworld_controller"]
)
def test_each_room_is_in_the_table(library):
    rooms = [path.parent.name for path in (ROLE / library).glob("*/__init__.py")]
    assert rooms
    named = f"`{library}/{{}}/`".format
    assert [room for room in rooms if named(room) not in ARCHITECTURE] == []
