"""Variables and secrets of the app that would break a start, a gate or each other are refused."""

import json

import pytest

from tests.render import evaluate, variables_for
from tests.role.process_promises import RELEASE
from tests.role.refusals import problems_with
from tests.role.rendered import units_of
from tests.role_files import load_yaml


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOLD", "AROUNDTHEWORLD_POOL", "AROUNDTHEWORLD_RELEASE", "AROUNDTHEWORLD_X"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC"),
        *("WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "JOURNAL_STREAM"),
        *("INVOCATION_ID", "MAINPID", "SYSTEMD_EXEC_PID", "SERVICE_RESULT", "EXIT_STATUS"),
        *("PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONINSPECT"),
    ],
)
def test_a_variable_that_a_start_relies_on_is_refused_by_name(name):
    (problem,) = problems_with({"aroundtheworld_environment": {name: "48151623"}})
    assert problem.startswith(f"aroundtheworld_environment.{name}: is not allowed; ")
    assert "48151623" not in problem


@pytest.mark.parametrize(
    "name",
    [
        *("HOME", "LANG", "TMPDIR", "STATE_DIRECTORY", "LD_PRELOAD", "PYTHONSAFEPATH", "path"),
        *("LISTEN", "HOLDING", "PATHS", "MY_PATH", "PYTHONOPTIMIZE", "VIRTUAL_ENV"),
    ],
)
def test_a_variable_that_nothing_of_the_site_relies_on_is_the_apps(name):
    assert problems_with({"aroundtheworld_environment": {name: "x"}}) == []


@pytest.mark.parametrize(("first", "second"), [("key", "KEY"), ("K_y", "k_Y")])
def test_secrets_whose_files_would_be_one_variable_are_refused(first, second):
    secrets = dict.fromkeys(["other", first, second], "48151623")
    (problem,) = problems_with({"aroundtheworld_secrets": secrets})
    assert "aroundtheworld_secrets: the names" in problem
    assert repr(first) in problem
    assert repr(second) in problem
    assert f"{first.upper()}_FILE would be the path of both" in problem
    assert "48151623" not in problem


def test_a_variable_that_is_the_path_of_a_secret_is_refused():
    changes = {
        "aroundtheworld_secrets": {"key": "generate"},
        "aroundtheworld_environment": {"KEY_FILE": "48151623", "KEY": "x", "key_file": "x"},
    }
    (problem,) = problems_with(changes)
    assert "aroundtheworld_environment.KEY_FILE: is not allowed; the path of the secret" in problem
    assert "'key' in aroundtheworld_secrets" in problem
    assert "48151623" not in problem


@pytest.mark.parametrize("value", ["src", "src:/opt/shop/lib", "./a:b_c-d.e", ""])
def test_directories_of_modules_come_after_those_of_the_release(value):
    variables = {"aroundtheworld_environment": {"PYTHONPATH": value, "A": "b"}}
    unit = units_of(variables)[1]["aroundtheworld@10001.service.d/pool.conf"]
    ours = f"{RELEASE}/lib:{RELEASE}/app:{RELEASE}/runner"
    assert unit.environment()["PYTHONPATH"] == (f"{ours}:{value}" if value else ours)
    # In the file it would replace the unit's.
    (task,) = (t for t in load_yaml("tasks/system.yml") if "aroundtheworld_layout" in t)
    settings = task["aroundtheworld_layout"]["settings"].removeprefix("{{ ").removesuffix(" }}")
    written = json.loads(evaluate(settings, variables_for(variables)))
    assert written["environment"] == {"A": "b"}


@pytest.mark.parametrize("value", ["a b", "a\nb", "$HOME/x", "a::b", "%h", 'a"', "a:", "\\", "ä"])
def test_what_cannot_stand_in_a_unit_is_no_directory_of_modules(value):
    (problem,) = problems_with({"aroundtheworld_environment": {"PYTHONPATH": value}})
    assert problem.startswith("aroundtheworld_environment.PYTHONPATH: its value is not allowed; ")
    assert "as in 'src:/opt/shop/lib'" in problem
