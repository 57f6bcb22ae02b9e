"""What `--tags status` says of a host."""

import time

import pytest
from ansible.module_utils.aroundtheworld import journal, status, untrusted
from ansible.module_utils.aroundtheworld.crashes import Crashes
from ansible.module_utils.aroundtheworld.worker_client import SILENT, WorkerHealth

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


READY = WorkerHealth("0123456789ab", "c0ffee", "public", "ready", uptime_seconds=3)


@pytest.mark.parametrize(
    ("crashes", "health", "last", "expected"),
    [
        (
            Crashes(7, 32.4, "status 1"),
            SILENT,
            "RuntimeError: no database\x1b[2J",
            "activating crashed 7 times (status 1), next start in 32 s: "
            "RuntimeError: no database?[2J",
        ),
        (
            Crashes(1, 0.2, "oom-kill"),
            SILENT,
            "",
            "activating crashed (oom-kill), next start in 0 s",
        ),
        (Crashes(2, None, ""), READY, "x" * 1000, f"public crashed 2 times: {'x' * 299}…"),
    ],
)
def test_a_worker_that_crashes_is_named_with_its_last_words(crashes, health, last, expected):
    line = status.worker_line("shop@10001.service", "activating", health, crashes, last)
    assert " ".join(line.split()) == f"shop@10001 {expected}"


JOURNALCTL = """\
#!/bin/sh
echo "$@" >{directory}/asked
printf 'first\\n\\033[2Jsecond\\377\\n'
{more}
"""


@pytest.fixture
def journalctl(tmp_path, monkeypatch):
    """Returns a function that puts a script in the place of journalctl."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(more=""):
        script = tmp_path / "journalctl"
        script.write_text(JOURNALCTL.format(directory=tmp_path, more=more))
        script.chmod(0o755)

    return write


def test_the_journal_is_read_without_what_moves_a_terminal(journalctl, tmp_path):
    journalctl()
    assert journal.journal_lines(["_SYSTEMD_UNIT=x"], 5) == "first\n?[2Jsecond\ufffd"
    assert (tmp_path / "asked").read_text().split()[-2:] == ["--lines=5", "_SYSTEMD_UNIT=x"]


def test_a_journal_without_end_is_read_to_a_limit(journalctl):
    journalctl("exec yes")
    begun = time.monotonic()
    lines = journal.journal_lines(["x"], 20).split("\n")
    assert len(lines) == 20
    assert time.monotonic() - begun < 5


def test_a_host_without_a_journal_says_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert journal.journal_lines(["x"], 5) == ""


def test_how_a_process_calls_itself_is_shown_and_not_obeyed(tmp_path):
    """Anybody on the host may name a process, in 15 bytes that need not be text."""
    (tmp_path / "comm").write_bytes(b"\x1b[2J\xffnginx\n")
    assert untrusted.process_name(tmp_path) == "?[2J\ufffdnginx"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("one\r\ntwo\x1b[2J", "one\ntwo?[2J"), ("\n".join("abc"), "b\nc"), ("x" * 9, "xxxx…")],
)
def test_lines_of_others_are_cut_and_made_printable(text, shown):
    assert untrusted.printable_lines(text, 2, 9 if "two" in text else 5) == shown
