"""A command of the app is run as a process of the site, and what it prints is fit to be shown."""

import os
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.app_command import Answer, Place, ask
from ansible.module_utils.aroundtheworld.layout import HomeLayout
from ansible.module_utils.aroundtheworld.process import Process

PROCESS = Process(
    ["User=tornado", "WorkingDirectory=${release}/app", "Environment=PYTHON=${venv}/bin/python"],
    [],
)
PLACE = Place.of(HomeLayout(Path("/srv/shop")), "r1")
UNIT = f"shop-run-look-{os.getpid()}"


def asked(*answer, **more):
    """What `ask` starts, and what it returns, when the command ends with `answer`."""
    started = []

    def run(command):
        started.append(command)
        return answer

    return started, ask(run, PROCESS, PLACE, ["look", "all of it"], "shop-run-look", **more)


def test_systemd_runs_it_as_a_worker_of_the_release_would_run():
    [command], answer = asked(0, "two\n", "")
    assert answer == Answer(0, "two")
    options, words = command[: command.index("--")], command[command.index("--") + 1 :]
    assert words == ["/usr/bin/env", "look", "all of it"]
    assert f"--unit={UNIT}" in options
    assert [option for option in options if option.startswith("--property")] == [
        "--property=User=tornado",
        "--property=WorkingDirectory=/srv/shop/releases/r1/app",
        "--property=Environment=PYTHON=/srv/shop/releases/r1/venv/bin/python",
    ]


def test_one_that_does_not_end_is_ended():
    [command], _ = asked(0, "", "", seconds=60)
    assert "--property=RuntimeMaxSec=60" in command[: command.index("--")]


@pytest.mark.parametrize(
    ("status", "printed"),
    [pytest.param(0, "fine", id="went well"), pytest.param(1, "fine\nwhy", id="failed")],
)
def test_its_errors_are_told_when_it_failed(status, printed):
    assert asked(status, "fine\n", "why\n")[1] == Answer(status, printed)


def test_it_does_not_command_a_terminal_nor_fill_it():
    _, answer = asked(1, "".join(f"\x1b[2J{number}\n" for number in range(100)), "", lines=2)
    assert answer.printed == "?[2J98\n?[2J99"
