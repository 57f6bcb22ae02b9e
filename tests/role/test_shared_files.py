"""What the host's modules and the runner share is in the tree once; the runner has links to it."""

from tests.role_files import ROLE


def test_no_file_of_the_runner_is_a_copy():
    shared = {path.name: path for path in (ROLE / "module_utils/aroundtheworld").glob("*.py")}
    own = {"__init__.py", "systemd.py"}  # the runner's are about something else
    twins = [
        path for path in (ROLE / "files/runner").glob("*/*.py") if path.name in shared.keys() - own
    ]
    assert twins
    assert {path.name: path.resolve() for path in twins if path.is_symlink()} == {
        path.name: shared[path.name] for path in twins
    }
