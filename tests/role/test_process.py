"""Workers, `<site>-run` and the check of a migration run processes of the site alike.

Units and the check share a template; the command is a shell script of its own.
"""

import re
import shlex
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.migration_check import transient

from tests.render import render, variables_for

VARIABLES = {"aroundtheworld_secrets": {"cookie_secret": "generate", "mail": "48151623"}}
HOME = "/var/lib/tornado/aroundtheworld"
RELEASE = f"{HOME}/current"


@pytest.fixture(scope="module")
def variables():
    return variables_for(VARIABLES)


@pytest.fixture(scope="module")
def process(variables):
    """The lines of a unit that say how a process of the site is run."""
    lines = render("process.j2", variables).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def command(variables):
    """The properties that the command gives systemd-run."""
    script = render("run.sh.j2", variables).replace("\\\n", "")
    (line,) = re.findall(r"^exec systemd-run (.*)$", script, re.M)
    options = shlex.split(line.replace("$release/venv", "ENVIRONMENT").replace("$release", RELEASE))
    found = []
    for option in options[: options.index("--")]:
        name, _, value = option.partition("=")
        if name == "--property":
            found.append(value.replace("/run/credentials/$unit.service", "%d"))
        elif name == "--setenv":
            found.append(f"Environment={value}")
    return found


def is_of_a_release(line):
    return re.match(r"WorkingDirectory=|Environment=(PATH|PYTHONPATH)=", line)


def test_the_command_says_nothing_that_workers_do_not_have(command, process):
    assert [line for line in command if not is_of_a_release(line) and line not in process] == []


def test_the_command_has_the_workers_user_environment_secrets_and_directories(command, process):
    """Of their sandbox it has only these four directives."""
    names = {"User", "UMask", "EnvironmentFile", "LoadCredential", "Environment", "ReadWritePaths"}
    names |= {"ProtectSystem", "ProtectHome", "PrivateTmp", "NoNewPrivileges"}
    expected = [line for line in process if line.partition("=")[0] in names]
    assert {line.partition("=")[0] for line in expected} == names
    assert [line for line in expected if line not in command] == []


def test_all_find_a_release_alike(variables, command):
    """Units name the release by its id, the command by the link, the check where it unpacked it."""
    plan = variables["__aroundtheworld_plan"]
    release = f"{HOME}/releases/{plan['release']['id']}"
    environment = f"{HOME}/environments/{plan['environment']['id']}"
    lines = render("release.j2", variables).splitlines()
    unit = [line for line in lines if is_of_a_release(line)]
    check = transient("", "unit", Path(release), Path(environment))
    assert [option.removeprefix("--property=") for option in check] == unit
    assert {line for line in command if is_of_a_release(line)} == {
        line.replace(f"{environment}/bin", "ENVIRONMENT/bin").replace(release, RELEASE)
        for line in unit
    }
