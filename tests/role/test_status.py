"""What `--tags status` says of a host."""

import pytest
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth

from tests.role_files import load_python

status = load_python("library/aroundtheworld_status.py")

GROUP = "/aroundtheworld.slice/aroundtheworld-admin.slice"


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (
            ["cpu.weight", "io.weight", "memory.high", "memory.max", "pids.max"],
            [],
        ),
        (
            ["cpu.weight", "memory.high", "memory.max", "pids.max"],
            ["io_weight"],
        ),
        ([], ["cpu_weight", "io_weight", "memory_high", "memory_max", "tasks_max"]),
    ],
)
def test_limits_that_the_kernel_lacks_are_told_with_one_tree(tmp_path, files, missing):
    group = tmp_path / GROUP.strip("/")
    group.mkdir(parents=True)
    for file in files:
        (group / file).touch()
    assert status.not_enforced(GROUP, tmp_path) == missing


def test_limits_that_the_kernel_lacks_are_told_with_a_tree_for_each_controller(tmp_path):
    for file in ("cpu,cpuacct/cpu.shares", "memory/memory.limit_in_bytes", "pids/pids.max"):
        tree, _, name = file.partition("/")
        group = tmp_path / tree / GROUP.strip("/")
        group.mkdir(parents=True)
        (group / name).touch()
    assert status.not_enforced(GROUP, tmp_path) == ["io_weight", "memory_high"]


def test_a_command_has_nothing_to_say_but_what_it_runs():
    health = WorkerHealth(release="0123456789ab", config="c0ffee", pool="desk")
    line = status.worker_line("shop@10004.service", "active", health)
    said = "shop@10004 desk active release 0123456789ab, a command of its own"
    assert " ".join(line.split()) == said
