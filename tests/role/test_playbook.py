"""The operator's own command, on a host that cannot be reached: what is refused gets not so far."""

import json
import os
import re
import subprocess

import pytest

from tests.matrix import chosen
from tests.render import ADMIN, APP, PUBLIC
from tests.role_files import CHECKOUT

GUARD = "Check the tags and the login"
REFUSAL = "Nothing was changed, because of this:"


@pytest.fixture(scope="module")
def ansible_playbook(tmp_path_factory):
    """Returns a function that runs the command and returns its exit status and output."""
    controller = tmp_path_factory.mktemp("controller")
    inventory = controller / "hosts.json"
    # Nothing listens on port 1. Variables in the inventory give way to those of the command line.
    host = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "root"}
    group = {"hosts": {"nowhere": host}, "vars": APP}
    inventory.write_text(json.dumps({"aroundtheworld": group}))

    def run(*arguments, playbook="site.yml", directory=CHECKOUT):
        # No terminal, so that lines are not wrapped; no settings of whoever runs the tests.
        environment = {key: value for key, value in os.environ.items() if "ANSIBLE_" not in key}
        done = subprocess.run(
            ["ansible-playbook", "--inventory", inventory, playbook, *arguments],
            cwd=directory,
            env=environment | {"ANSIBLE_LOCAL_TEMP": str(controller / "ansible")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


@pytest.fixture(scope="module")
def deployment(ansible_playbook):
    """The tasks of a plain run."""
    return tasks(ansible_playbook("--list-tasks")[1])


@pytest.fixture(scope="module")
def own_play(ansible_playbook, tmp_path_factory):
    """A play of the operator's own with a tagged role, and the tasks of its plain run."""
    playbook = tmp_path_factory.mktemp("own") / "own.yml"
    playbook.write_text(TAGGED)
    return playbook, tasks(ansible_playbook("--list-tasks", playbook=playbook)[1])


def test_what_is_right_gets_as_far_as_the_host(ansible_playbook):
    # The command line gives numbers and truths as texts.
    extra = "aroundtheworld_http_port=8080 aroundtheworld_remove_default_site=no"
    _, output = ansible_playbook("--extra-vars", extra)
    assert "unreachable=1" in output
    assert REFUSAL not in output


REFUSED = {
    "types and names": (
        {
            "aroundtheworld_pools": [PUBLIC, ADMIN | {"prots": [1], "paths": "/admin"}],
            "aroundtheworld_http_port": "eighty",
            "aroundtheworld_http_prot": 81,
            "aroundtheworld_secrets": ["48151623"],
        },
        [
            "aroundtheworld_pools[1].prots: there is no such setting; did you mean ports?",
            "aroundtheworld_pools[1].paths: '/admin' is not allowed; it must be a list.",
            "aroundtheworld_http_port: 'eighty' is not allowed; it must be a whole number.",
            "aroundtheworld_http_prot: there is no such variable; did you mean aroundtheworld_ht",
            "aroundtheworld_secrets: a value of type list is not allowed; it must be a mapping.",
        ],
    ),
    "values": (
        {
            "aroundtheworld_pools": [PUBLIC, ADMIN | {"ports": [10001, 65536]}],
            "aroundtheworld_server_names": ["a b;"],
            "aroundtheworld_make_app": "shop",
            "aroundtheworld_secrets": {"cookie_secret": 48151623},
        },
        [
            "aroundtheworld_pools[1].ports[0]: 10001 is already taken by aroundtheworld_pools[0]",
            "aroundtheworld_pools[1].ports[1]: 65536 is not allowed; a port is a whole number",
            "aroundtheworld_server_names[0]: 'a b;' is not allowed; it must be one host name",
            "aroundtheworld_make_app: 'shop' is not allowed; it names a module and a call",
            "aroundtheworld_secrets.cookie_secret: a value of type int is not allowed; it",
        ],
    ),
    "app directory": (
        {"aroundtheworld_app_dir": "/nowhere"},
        ["aroundtheworld_app_dir: '/nowhere' is not a directory on the controller; set the"],
    ),
    "lock file": (
        {"aroundtheworld_requirements": "requirements.in"},
        ["aroundtheworld_requirements: requirements.in is not a lockfile that pip reads; type"],
    ),
}


@pytest.mark.parametrize("case", chosen(list(REFUSED)))
def test_bad_input_stops_before_the_host_is_touched(ansible_playbook, case):
    extra, problems = REFUSED[case]
    status, output = ansible_playbook("--extra-vars", json.dumps(extra))
    assert [sentence for sentence in problems if sentence not in output] == []
    assert REFUSAL in output
    assert "unreachable=0    failed=1" in output
    assert "48151623" not in output
    assert status == 2


def tasks(listed):
    return re.findall(r"aroundtheworld : (.*)\tTAGS", listed)


def begun(output):
    return re.findall(r"^TASK \[(?:aroundtheworld : )?(.*?)\] \**$", output, re.M)


@pytest.mark.parametrize(
    ("tag", "task"),
    [
        ("maintenance_on", "The public side is closed"),
        ("advise", "Report which pool each route belongs in"),
    ],
)
def test_a_verb_runs_its_own_task_and_no_plain_run_does(ansible_playbook, deployment, tag, task):
    _, output = ansible_playbook("--tags", tag)
    assert begun(output) == [GUARD, "Carry out what the tags name", task]
    assert "Check that input and host are fit for a deployment" in deployment
    assert task not in deployment


TAGGED = """
- hosts: aroundtheworld
  gather_facts: false
  roles:
    - {role: aroundtheworld, tags: [web]}
"""


@pytest.mark.parametrize("tags", chosen(["web", "all", "tagged", "all,never", "never,web"]))
def test_a_tag_of_the_operators_own_play_reaches_no_verb(ansible_playbook, own_play, tags):
    playbook, plain = own_play
    assert "Check that input and host are fit for a deployment" in plain
    _, listed = ansible_playbook("--list-tasks", "--tags", tags, playbook=playbook)
    assert tasks(listed) == plain


@pytest.mark.parametrize(
    "tags", chosen(["remove,status", "remove,all", "maintenence_on", "tagged"])
)
def test_tags_that_name_too_much_or_nothing_are_refused(ansible_playbook, tags):
    status, output = ansible_playbook("--tags", tags)
    assert REFUSAL in output
    assert "  - --tags: " in output
    assert "unreachable=0    failed=1" in output
    assert status == 2


def test_a_tag_on_the_projects_playbook_only_deploys(ansible_playbook, tmp_path):
    playbook = tmp_path / "own.yml"
    playbook.write_text(f"- import_playbook: {CHECKOUT}/site.yml\n  tags: [web]\n")
    _, output = ansible_playbook("--tags", "web", playbook=playbook)
    assert "Check that input and host are fit for a deployment" in output
    assert "unreachable=1" in output
    assert REFUSAL not in output


def test_it_works_from_any_directory(ansible_playbook, deployment, tmp_path):
    _, there = ansible_playbook("--list-tasks", playbook=CHECKOUT / "site.yml", directory=tmp_path)
    assert tasks(there) == deployment != []


def test_without_an_inventory_it_says_so(tmp_path):
    done = subprocess.run(
        ["ansible-playbook", CHECKOUT / "site.yml"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "There is no group `aroundtheworld`: name your inventory with -i." in done.stderr
    assert done.returncode != 0


def test_the_adviser_speaks_two_formats(ansible_playbook):
    extra = "aroundtheworld_advise_format=yaml"
    status, output = ansible_playbook("--tags", "advise", "--extra-vars", extra)
    assert status == 2
    assert "aroundtheworld_advise_format: 'yaml' is not allowed; allowed: table, json." in output
