"""docs/another-app.md leads to the first page of somebody's app in ten commands, as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.role.refusals import problems_with
from tests.role_files import CHECKOUT

PAGE = (CHECKOUT / "docs" / "another-app.md").read_text()
# Whatever would reach another machine; each notes how it was called.
STUB = f"""#!{sys.executable}
import os, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
with open(os.environ["CALLED"], "a") as file:
    print(name, *sys.argv[1:], file=file)
if name == "uv":
    pathlib.Path(sys.argv[sys.argv.index("--output-file") + 1]).write_text(sys.stdin.read())
if name == "git":
    app = pathlib.Path("tornado/demos/websocket")
    app.mkdir(parents=True)
    (app / "chatdemo.py").write_text("")
"""


@pytest.fixture(scope="module")
def script():
    """Return the commands that a reader copies."""
    part = PAGE.partition("## For the impatient\n")[2].partition("\n## ")[0]
    (block,) = re.findall("```sh\n(.*?)```", part, re.DOTALL)
    return block


def test_there_are_ten_commands_at_most(script):
    commands = re.sub(r"<<'EOF'\n.*?\nEOF\n", "\n", script, flags=re.DOTALL).splitlines()
    assert 5 < len(commands) <= 10
    assert not any(re.search(r"[;&\\]", command) for command in commands)  # nor two in a line


def test_what_is_typed_is_an_inventory_that_the_plan_takes(script, tmp_path):
    checkout = tmp_path / "around-the-world"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "activate").touch()
    (checkout / "inventory").symlink_to(tmp_path / "inventory")
    (tmp_path / "inventory" / "local").mkdir(parents=True)
    hosts = "inventory/local/hosts.yml"
    (tmp_path / hosts).write_text((CHECKOUT / hosts).read_text())
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "make", "uv", "ansible-playbook", "curl"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    called = tmp_path / "called"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLED": str(called)}
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=environment, check=True)

    order = [line.split()[0] for line in called.read_text().splitlines()]
    assert order == ["git", "make", "uv", "ansible-playbook", "curl"]
    inventory = tmp_path / "inventory" / "chat"
    assert (inventory / "requirements.txt").read_text() == "tornado\n"
    assert (inventory / "hosts.yml").read_text() == (CHECKOUT / hosts).read_text()
    variables = yaml.safe_load((inventory / "group_vars" / "aroundtheworld.yml").read_text())
    own = {"aroundtheworld_migrate_command": "", "aroundtheworld_secrets": {}, **variables}
    assert problems_with(own) == []
    app = variables["aroundtheworld_app_dir"].replace(
        "{{ playbook_dir }}", str(checkout / "playbooks")
    )
    module = variables["aroundtheworld_make_app"].partition(":")[0]
    assert Path(os.path.normpath(app), f"{module}.py").is_file()
    name = variables["aroundtheworld_server_names"][0]
    assert called.read_text().splitlines()[-1].startswith(f"curl http://{name}:")
