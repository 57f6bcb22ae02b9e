"""A worker that keeps crashing comes back later each time: what its unit runs for that."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.render import render, variables_for
from tests.role.test_commands import systemds_words


def command(directive):
    """Returns the words of a command of the workers' unit."""
    text = re.sub(r"\\\n\s*", "", render("worker.service.j2", variables_for({})))
    found = re.search(rf"^{directive}=-(.*)$", text, re.M)
    return systemds_words(found[1])


class Unit:
    """A worker's unit, as far as crashes go."""

    def __init__(self, directory):
        self.directory = directory
        self.crashes = directory / "crashes"
        self.address = f"{os.getpid()}-{directory.name}"
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind("\0" + self.address)
        self.notices.settimeout(5)
        self.environment = {
            "RUNTIME_DIRECTORY": str(directory),
            "NOTIFY_SOCKET": "@" + self.address,
            "PATH": "/usr/bin:/bin",
        }

    def run(self, directive, **more):
        subprocess.run(command(directive), env=self.environment | more, check=True, timeout=20)

    def ends(self, result="exit-code", code="exited"):
        self.run("ExecStopPost", SERVICE_RESULT=result, EXIT_CODE=code)

    def crashed(self, count, ago):
        self.crashes.write_text(f"{count} {int(time.time() - ago)}\n")

    @property
    def count(self):
        return int(self.crashes.read_text().split()[0]) if self.crashes.exists() else 0

    def start(self):
        """Returns how many seconds the start waits."""
        begun = time.monotonic()
        self.run("ExecStartPre")
        return time.monotonic() - begun


@pytest.fixture
def unit(tmp_path):
    unit = Unit(tmp_path)
    with unit.notices:
        yield unit


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ("exit-code", "exited"),
        ("signal", "killed"),
        ("watchdog", "dumped"),
        ("oom-kill", "killed"),
        ("timeout", "killed"),
        ("success", "exited"),  # a command that ends at once, again and again
    ],
)
def test_each_end_that_nobody_asked_for_counts(unit, result, code):
    for count in (1, 2, 3):
        unit.ends(result, code)
        assert unit.count == count


def test_an_end_that_somebody_asked_for_forgets_all_crashes(unit):
    unit.crashed(5, ago=1)
    unit.run("ExecStop", MAINPID="1")
    unit.ends("success", "exited")
    assert unit.count == 0
    assert not (unit.directory / "stopping").exists()


def test_so_does_a_stop_while_it_starts(unit):
    unit.crashed(5, ago=1)
    unit.ends("success", "killed")
    assert unit.count == 0


def test_a_process_that_ended_by_itself_was_not_asked_to(unit):
    unit.run("ExecStop")  # systemd runs it then as well, without a process
    unit.ends()
    assert unit.count == 1


def test_after_a_good_while_the_next_crash_is_the_first(unit):
    unit.crashed(9, ago=121)
    unit.ends()
    assert unit.count == 1


def test_the_first_crash_costs_no_time(unit):
    assert unit.start() < 1
    unit.crashed(1, ago=0)
    assert unit.start() < 1


def test_the_third_in_a_row_waits_for_two_seconds(unit):
    unit.crashed(3, ago=0)
    assert 1 < unit.start() < 4


@pytest.mark.parametrize(("count", "seconds"), [(7, 32), (8, 60), (9, 60), (99999, 60)])
def test_it_waits_for_a_minute_at_most_and_tells_systemd(unit, count, seconds):
    unit.crashed(count, ago=seconds - 1)
    assert unit.start() < 3
    notice = unit.notices.recv(1000).decode().split("\n")
    assert notice == [
        "EXTEND_TIMEOUT_USEC=90000000",
        f"STATUS=crashed {count} times in a row, waits",
    ]


def test_a_stop_does_not_wait_for_the_wait(unit):
    unit.crashed(99, ago=0)
    with subprocess.Popen(command("ExecStartPre"), env=unit.environment) as waiting:
        unit.notices.recv(1000)
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(5) == 0
    unit.ends("success", "exited")
    assert unit.count == 0


@pytest.mark.parametrize("content", ["", "x", "1", "1 2 3", "-5 0", "1 99999999999"])
def test_whatever_is_in_the_file_the_start_is_not_held_up(unit, content):
    unit.crashes.write_text(content)
    begun = time.monotonic()
    subprocess.run(command("ExecStartPre"), env=unit.environment, check=False, timeout=20)
    assert time.monotonic() - begun < 3
