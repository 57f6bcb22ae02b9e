"""docs/architecture.md is complete: a newcomer finds every room and every file of tasks there."""

from tests.role_files import CHECKOUT, ROLE

ARCHITECTURE = (CHECKOUT / "docs" / "architecture.md").read_text()


def test_each_file_of_tasks_is_in_the_way_of_a_run():
    files = [path.name for path in (ROLE / "tasks").glob("*.yml")]
    assert files
    assert [name for name in files if f"`{name}`" not in ARCHITECTURE] == []


def test_each_room_on_the_host_is_in_the_table():
    library = ROLE / "module_utils" / "aroundtheworld"
    rooms = [path.parent.name for path in library.glob("*/__init__.py")]
    assert rooms
    named = "`module_utils/aroundtheworld/{}/`".format
    assert [room for room in rooms if named(room) not in ARCHITECTURE] == []
