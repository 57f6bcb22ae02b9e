"""A worker that keeps crashing comes back later each time: what its unit runs for that."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time
import warnings

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
        self.notices.settimeout(20)
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

    def run_start(self):
        """Return how many seconds the start took."""
        begun = time.monotonic()
        self.run("ExecStartPre")
        return time.monotonic() - begun

    @property
    def program(self):
        """Return the Python program that waits."""
        _, _, script = command("ExecStartPre")
        return shlex.split(script)[-1]


@pytest.fixture
def unit(tmp_path):
    unit = Unit(tmp_path)
    with unit.notices:
        yield unit


@pytest.fixture
def wait(unit, monkeypatch):
    """Returns a function that returns for how long the program would wait."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "time", lambda: 1_000_000)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.chdir("/")
    for name, value in unit.environment.items():
        monkeypatch.setenv(name, value)

    def wait():
        waits.clear()
        names = {}
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            exec(compile(unit.program, "ExecStartPre", "exec"), names)
        names["system"].close()
        (seconds,) = waits
        return seconds

    return wait


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


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(1, 0), (2, 1), (3, 2), (4, 4), (7, 32), (8, 60), (9, 60), (99999, 60)],
)
@pytest.mark.parametrize("ago", [0, 1])
def test_it_waits_longer_after_each_crash_and_for_a_minute_at_most(unit, wait, count, seconds, ago):
    unit.crashes.write_text(f"{count} {1_000_000 - ago}\n")
    expected = max(seconds - ago, 0)
    assert wait() == expected
    if expected:
        assert unit.notices.recv(1000).decode().split("\n") == [
            "EXTEND_TIMEOUT_USEC=90000000",
            f"STATUS=crashed {count} times in a row, waits",
        ]


def test_a_clock_that_was_set_back_does_not_make_it_wait_longer(unit, wait):
    unit.crashes.write_text("3 2000000\n")
    assert wait() == 2


def test_a_start_really_waits(unit):
    unit.crashed(3, ago=0)
    assert unit.run_start() > 1


def test_a_start_without_crashes_starts_no_interpreter(unit):
    _, _, script = command("ExecStartPre")
    found = subprocess.run(
        ["/bin/sh", "-xc", script], env=unit.environment, capture_output=True, text=True, check=True
    )
    assert "python" not in found.stderr


def test_a_stop_does_not_wait_for_the_wait(unit):
    unit.crashed(99, ago=0)
    with subprocess.Popen(command("ExecStartPre"), env=unit.environment) as waiting:
        unit.notices.recv(1000)
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == 0
    unit.ends("success", "exited")
    assert unit.count == 0


@pytest.mark.parametrize("content", ["", "x", "1", "1 2 3", "-5 0", "1 99999999999"])
def test_whatever_is_in_the_file_the_start_is_not_held_up(unit, wait, content):
    unit.crashes.write_text(content)
    try:
        assert wait() == 0
    except ValueError:
        assert len(content.split()) != 2  # systemd starts the worker all the same
