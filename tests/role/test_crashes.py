"""A service that crashes again and again is told from one that does not, as systemd shows both."""

import pytest
from ansible.module_utils.aroundtheworld import crashes

NOW = 10_000.0


def shown(state="active", detail="running", restarts=0, started=0.0, **more):
    """Returns what systemd shows of a service whose process was started so many seconds ago."""
    return {
        "ActiveState": state,
        "SubState": detail,
        "NRestarts": str(restarts),
        "Result": "success",
        "ExecMainCode": "0",
        "ExecMainStatus": "0",
        "ExecMainStartTimestampMonotonic": str(int((NOW - started) * 1e6)),
        "StateChangeTimestampMonotonic": str(int((NOW - started) * 1e6)),
        "RestartUSec": "500ms",
        **more,
    }


@pytest.mark.parametrize(
    "properties",
    [
        {},
        shown(started=3),  # somebody just started it
        shown(restarts=7, started=61),  # it crashed, and has run since
        shown("inactive", "dead"),
        shown("inactive", "dead", restarts=7),
        shown("activating", "start"),
        shown("deactivating", "stop-sigterm"),
    ],
)
def test_this_is_no_crash(properties):
    assert crashes.crashing(properties, NOW) is None


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (
            shown(
                *("activating", "auto-restart", 6, 8),
                Result="exit-code", ExecMainCode="1", ExecMainStatus="1",
                RestartUSec="500ms", RestartUSecNext="40s",
            ),
            (7, 32.0, "status 1"),
        ),
        (  # the first time, on systemd 252
            shown(
                *("activating", "auto-restart", 0, 8),
                Result="signal", ExecMainCode="2", ExecMainStatus="11", RestartUSec="1min",
            ),
            (1, 52.0, "signal SIGSEGV"),
        ),
        (
            shown("activating", "auto-restart", 1, 0, ExecMainCode="3", ExecMainStatus="6"),
            (2, 0.5, "signal SIGABRT"),
        ),
        (
            shown(
                *("activating", "auto-restart", 1, 0),
                Result="oom-kill", ExecMainCode="2", ExecMainStatus="9",
            ),
            (2, 0.5, "oom-kill"),
        ),
        (
            shown(
                *("activating", "auto-restart", 1, 0),
                Result="timeout", ExecMainCode="2", ExecMainStatus="9",
            ),
            (2, 0.5, "timeout"),
        ),
        (shown("activating", "auto-restart-queued", 1, 8), (2, 0.0, "")),
        (shown("activating", "start", 2, 8, Result="watchdog"), (2, None, "watchdog")),
        (shown("activating", "start-pre", 2, 8), (2, None, "")),
        (shown(restarts=2, started=8, ExecMainStatus="1"), (2, None, "")),
        (
            shown("failed", "failed", 0, 8, ExecMainCode="2", ExecMainStatus="99"),
            (1, None, "signal 99"),
        ),
    ],
)  # fmt: skip
def test_this_is_a_crash(properties, expected):
    assert crashes.crashing(properties, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("32s", 32), ("1min 4s", 64), ("1min", 60), ("infinity", 0), ("", 0)],
)
def test_time_spans_are_read_as_systemd_writes_them(text, expected):
    assert crashes.seconds(text) == pytest.approx(expected)
