"""An operator's own tasks are included where they are promised, and refused before that."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader

from aroundtheworld_controller.rules import hook_problems
from tests.role_files import CHECKOUT, ROLE, load_options, load_yaml

HOOKS = set(load_options()["aroundtheworld_hooks"]["options"])
PHASES = ("release", "workers", "nginx")


def includes(tasks):
    """Yields each hook that is included in tasks, with its task."""
    for task in tasks:
        for part in ("block", "rescue", "always"):
            yield from includes(task.get(part, []))
        if "ansible.builtin.include_tasks" in task:
            file = task["ansible.builtin.include_tasks"]["file"].strip("{ }")
            if file.startswith("aroundtheworld_hooks."):
                yield file.removeprefix("aroundtheworld_hooks."), task


def test_every_hook_that_is_promised_is_included_once():
    files = sorted((ROLE / "tasks").glob("*.yml"))
    names = [name for file in files for name, _ in includes(yaml.safe_load(file.read_text()))]
    assert sorted(names) == sorted(HOOKS)
    assert {f"{when}_{phase}" for phase in PHASES for when in ("before", "after")} < HOOKS


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_is_all_between_its_hooks(phase):
    tasks = load_yaml(f"tasks/{phase}.yml")
    found = [(name, tasks.index(task)) for name, task in includes(tasks)]
    assert found == [(f"before_{phase}", 0), (f"after_{phase}", len(tasks) - 1)]


@pytest.mark.parametrize("file", [*PHASES, "failure"])
def test_a_hook_runs_whatever_tag_led_to_it_and_only_when_it_is_given(file):
    for name, task in includes(load_yaml(f"tasks/{file}.yml")):
        assert task["ansible.builtin.include_tasks"]["apply"] == {"tags": ["always"]}
        assert task["when"] == f"aroundtheworld_hooks.{name} is defined"


# --- What is refused ---


def problems(path):
    return list(hook_problems({"after_workers": str(path)}, DataLoader().load_from_file))


def test_a_file_of_tasks_is_accepted(tmp_path):
    (tmp_path / "tell.yml").write_text("- debug:\n  vars: {secret: !unsafe '{{'}\n")
    assert problems(tmp_path / "tell.yml") == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("gone.yml", None, "is not a file on the controller; it must be a file of tasks"),
        ("tell.yml", "debug: {}", "is not a file of tasks; it must be a list of them"),
        ("tell.yml", "- debug", "is not a file of tasks; it must be a list of them"),
        ("tell.yml", "", "is not a file of tasks; it must be a list of them"),
        ("tell.yml", "- debug: {", "cannot be read as tasks: "),
    ],
)
def test_what_is_no_file_of_tasks_is_refused(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    (problem,) = problems(path)
    assert problem.startswith(f"aroundtheworld_hooks.after_workers: '{path}' ")
    assert expected in problem


@pytest.mark.parametrize("path", ["", "hooks/tell.yml", "~/tell.yml"])
def test_a_path_that_depends_on_where_one_is_is_refused(path):
    (problem,) = problems(path)
    assert f"{path!r} is not allowed; it must be an absolute path on the controller" in problem


# --- What happens when something fails ---


def run(tmp_path, hook):
    """Returns what Ansible says of a play that fails as a phase would, with this hook's tasks."""
    hooks = {}
    if hook is not None:
        (tmp_path / "hook.yml").write_text(yaml.safe_dump(hook))
        hooks["on_failure"] = str(tmp_path / "hook.yml")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"aroundtheworld_hooks": hooks},
        "tasks": [
            {
                "block": [{"ansible.builtin.fail": {"msg": "worker 10001 is not ready"}}],
                "rescue": [{"ansible.builtin.import_tasks": str(ROLE / "tasks" / "failure.yml")}],
            },
            {"ansible.builtin.debug": {"msg": "went on"}},
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [shutil.which("ansible-playbook"), "-c", "local", "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    assert "went on" not in done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "hook",
    [
        None,
        [{"ansible.builtin.debug": {"msg": "told: {{ ansible_failed_result.msg }}"}}],
        [{"ansible.builtin.fail": {"msg": "nobody to tell"}}],
        [
            {
                "block": [{"ansible.builtin.fail": {"msg": "nobody to tell"}}],
                "rescue": [{"ansible.builtin.meta": "noop"}],
            }
        ],
    ],
    ids=["none", "one", "one that fails", "one that recovers from a failure of its own"],
)
def test_a_failed_run_ends_with_what_failed_first(tmp_path, hook):
    output = run(tmp_path, hook)
    last = output[output.index("TASK [This is why the run failed]") :]
    assert "worker 10001 is not ready" in last
    assert ("told: worker 10001 is not ready" in output) == bool(hook and "debug" in str(hook))


def test_failure_leads_to_the_hook_from_a_deployment_and_from_a_rollback_but_not_from_a_refusal():
    main, rollback = load_yaml("tasks/main.yml"), load_yaml("tasks/rollback.yml")
    failure = [{"name": "Handle the failure", "ansible.builtin.import_tasks": "failure.yml"}]
    assert main[0]["ansible.builtin.import_tasks"] == "plan.yml"
    assert [task["rescue"] for task in main if "rescue" in task] == [failure]
    back = rollback[0]["block"]
    assert [task["rescue"] for task in back if "rescue" in task] == [failure]
    assert "aroundtheworld_plan" in back[0]
    finish = [{"name": "Finish the run", "ansible.builtin.import_tasks": "finish.yml"}]
    blocks = [*main, *back, *load_yaml("tasks/remove.yml")]
    assert [task["always"] for task in blocks if "block" in task] == [finish, finish, finish]
    assert Path(ROLE, "tasks", "failure.yml").is_file()
