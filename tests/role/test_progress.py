"""The phases of a rollout that are shown while it runs."""

import json
import time

import pytest

from aroundtheworld_controller.output import progress


class Connection:
    """A connection to a host on which the record of a run tells this, one at each look."""

    become = "sudo"

    def __init__(self, *stories):
        self.stories = list(stories)
        self.commands = []

    def exec_command(self, command, sudoable):
        assert (self.become, sudoable) == (None, False), "everybody may read the file"
        self.commands.append(command)
        story = self.stories.pop(0) if len(self.stories) > 1 else self.stories[0]
        if isinstance(story, Exception):
            raise story
        return 0, story.encode(), b""


@pytest.fixture
def shown(monkeypatch):
    lines = []
    monkeypatch.setattr(progress.display, "display", lines.append)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    return lines


def story(*phases, run="this"):
    return json.dumps({"who": "ada", "run": run, "phases": phases})


def test_each_phase_is_shown_once(shown):
    prepare, replace = ("prepare", 0.0), ("replace 10004", 1.5)
    connection = Connection(
        "",
        '{"who": "ad',  # it is just being written
        story(("prepare", 0.0), ("revert", 9.0), run="the one before"),
        progress.AnsibleError("the connection was lost"),
        story(prepare),
        story(prepare, replace),
    )
    with progress.shown(connection, "web1", "the shop", "this"):
        give_up = time.monotonic() + 5
        while len(connection.commands) < 9 and time.monotonic() < give_up:
            time.sleep(0.01)
    assert shown == ["web1:    0.0 s  prepare", "web1:    1.5 s  replace 10004"]
    assert set(connection.commands) == {"cat '/run/aroundtheworld-locks/the shop.json'"}
    assert connection.become == "sudo", "the task's own connection was changed"


def test_a_run_that_is_soon_over_costs_nothing(shown, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 60)
    connection = Connection(story(("prepare", 0.0)))
    begun = time.monotonic()
    with progress.shown(connection, "web1", "shop", "this"):
        pass
    assert time.monotonic() - begun < 1
    assert (connection.commands, shown) == ([], [])
