"""Several hosts get a release one first, by a real ansible-playbook with a module that plays."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.matrix import chosen, in_turn
from tests.role_files import CHECKOUT, ROLE

NEW, OLD = "222222222222", "111111111111"
# Stands for the module on a host: what it does is in a file for each host, and it keeps a diary.
# Ansible hands it its arguments in a file, which starts faster than what imports AnsibleModule.
MODULE = """#!/usr/bin/python3
# WANT_JSON
import json, sys, time

with open(sys.argv[1]) as file:
    arguments = json.load(file)
stage, host, release = arguments["stage"], arguments["host"], arguments["release"]
check, begin = arguments["_ansible_check_mode"], arguments.get("begin") is not False
with open(f"{stage}/{host}.json") as file:
    part = json.load(file)

def note(what):
    with open(f"{stage}/diary", "a") as diary:
        diary.write(f"{host} {what}\\n")

def end(**result):
    print(json.dumps(result))
    sys.exit()

if part["does"] == "nothing":
    note("nothing")
    end(changed=False, current=release)
if not begin or check:
    end(changed=check, pending=True, current=part["current"])
note("begins")
time.sleep(part["takes"])
note("ends")
if part["does"] == "fails":
    end(failed=True, msg="The release is bad.\\nIt said: no compass", current=part["current"])
end(changed=True, current=release)
"""
TASKS = """
- name: The play
  hosts: {hosts}
  gather_facts: false
  {more}
  tasks:
    - name: What it is about
      ansible.builtin.set_fact:
        __aroundtheworld_plan: {{lock: {{site: "{{{{ site | default('shop') }}}}"}}}}
    - name: All of it
      block:
        - name: The release is brought
          ansible.builtin.raw: "{{{{ 'false' if unfit | default(false) else 'true' }}}}"
          register: __aroundtheworld_release
        - name: Workers
          aroundtheworld_workers:
            site: "{{{{ site | default('shop') }}}}"
            release: "{{{{ release | default('222222222222') }}}}"
            lock: {{run: none}}
            host: "{{{{ inventory_hostname }}}}"
            stage: {stage}
      rescue:
        - name: Why
          ansible.builtin.fail:
            msg: "{{{{ ansible_failed_result.msg }}}}"
"""


class Stage:
    """Hosts, what each does, and what came of it."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "library").mkdir()
        (directory / "library" / "aroundtheworld_workers.py").write_text(MODULE)
        (directory / "diary").touch()
        self.hosts = {}

    def host(self, name, does="deploys", current=OLD, takes=0.5, **variables):
        self.hosts[name] = {"ansible_connection": "local", **variables}
        part = {"does": does, "current": current, "takes": takes}
        (self.directory / f"{name}.json").write_text(json.dumps(part))

    def play(self, *arguments, more="", hosts="all"):
        inventory = self.directory / "hosts.json"
        python = {"ansible_python_interpreter": sys.executable}
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts, "vars": python}}))
        playbook = self.directory / "site.yml"
        playbook.write_text(TASKS.format(stage=self.directory, more=more, hosts=hosts))
        environment = {key: value for key, value in os.environ.items() if "ANSIBLE_" not in key}
        done = subprocess.run(
            ["ansible-playbook", "--inventory", inventory, playbook, *arguments],
            cwd=CHECKOUT,
            env=environment
            | {
                "ANSIBLE_LOCAL_TEMP": str(self.directory / "ansible"),
                "ANSIBLE_LIBRARY": str(self.directory / "library"),
                "ANSIBLE_ACTION_PLUGINS": str(ROLE / "action_plugins"),
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
                "ANSIBLE_PIPELINING": "true",
                "XDG_CACHE_HOME": str(self.directory / "cache"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        print(done.stdout)
        return done

    @property
    def diary(self):
        return (self.directory / "diary").read_text().splitlines()


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def last_message(output, name):
    """Returns what the run ends with on a host."""
    found = re.findall(rf"^fatal: \[{name}\].*?(\{{.*\}})$", output, re.M)
    return json.loads(found[-1])["msg"] if found else ""


@pytest.mark.parametrize("forks", chosen(["1", "2", "20"]))
def test_one_host_goes_first_and_the_rest_follow(stage, forks):
    for name in ("web1", "web2", "web3"):
        stage.host(name)
    assert stage.play("--forks", forks).returncode == 0
    first, second, *rest = stage.diary
    assert (first.split()[1], second) == ("begins", first.replace("begins", "ends"))
    assert sorted(line.split()[1] for line in rest) == ["begins", "begins", "ends", "ends"]
    if forks == "20":
        assert [line.split()[1] for line in rest] == ["begins", "begins", "ends", "ends"]


@pytest.mark.parametrize("more", chosen(["", "strategy: free", "serial: 1"]))
def test_a_failure_on_the_first_stops_the_rest_and_all_say_where_they_are(stage, more):
    current = {"web1": OLD, "web2": "", "web3": OLD}
    for name in current:
        stage.host(name, "fails", current=current[name])
    done = stage.play(more=more)
    assert done.returncode != 0
    first = stage.diary[0].split()[0]
    assert stage.diary == [f"{first} begins", f"{first} ends"]
    for name in current.keys() - {first}:
        if more == "serial: 1":
            break  # Ansible itself stops after a batch in which all failed
        message = last_message(done.stdout, name)
        assert f"{name} was not begun, because another host failed in this run." in message
        assert (
            f"It is on release {OLD}." if current[name] else "It has no release yet."
        ) in message
        on = f"{first} is on release {OLD}" if current[first] else f"{first} has no release"
        assert f"{on}: The release is bad." in message


def test_of_those_that_follow_one_failure_stops_those_that_have_not_begun(stage):
    for name in ("web1", "web2", "web3", "web4"):
        stage.host(name, "fails" if name == "web2" else "deploys")
    done = stage.play("--forks", "1")
    assert [line for line in stage.diary if "begins" in line] == ["web1 begins", "web2 begins"]
    assert f"web2 is on release {OLD}: The release is bad." in last_message(done.stdout, "web4")


@in_turn(1)
def test_hosts_where_nothing_is_to_be_changed_do_not_wait_and_prove_nothing(stage):
    stage.host("web1", "nothing")
    stage.host("web2", takes=2)
    stage.host("web3", "nothing")
    stage.host("web4", takes=2)
    assert stage.play().returncode == 0
    ends = [number for number, line in enumerate(stage.diary) if line.endswith("ends")]
    assert {"web1 nothing", "web3 nothing"} < set(stage.diary[: ends[0]])
    assert [line.split()[1] for line in stage.diary if "nothing" not in line] == [
        "begins",
        "ends",
    ] * 2


def test_a_host_that_failed_earlier_in_the_run_stops_the_others(stage):
    stage.host("web1", unfit=True)
    stage.host("web2")
    done = stage.play()
    assert stage.diary == []
    assert "web2 was not begun, because another host failed" in last_message(done.stdout, "web2")


def test_a_host_that_cannot_be_reached_does_not(stage):
    stage.host("web1")
    stage.hosts["web1"] |= {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
    }
    stage.host("web2")
    stage.play()
    assert stage.diary == ["web2 begins", "web2 ends"]


@in_turn(2)
def test_different_sites_do_not_wait_for_each_other(stage):
    stage.host("shop", "fails", takes=1)
    stage.host("game", site="game", takes=1)
    stage.play()
    assert sorted(stage.diary[:2]) == ["game begins", "shop begins"]
    assert "game ends" in stage.diary


@in_turn(0)
def test_what_is_proved_is_one_release(stage):
    stage.host("web1", takes=1)
    stage.host("web2", takes=1, release="333333333333")
    assert stage.play().returncode == 0
    assert [line.split()[1] for line in stage.diary] == ["begins", "ends"] * 2


@in_turn(1)
def test_check_mode_waits_for_nobody(stage):
    stage.host("web1", "fails")
    stage.host("web2")
    assert stage.play("--check").returncode == 0
    assert stage.diary == []
    assert not (stage.directory / "cache").exists()


@in_turn(2)
def test_one_host_alone_leaves_no_file(stage):
    stage.host("web1")
    stage.host("web2")
    assert stage.play(hosts="web1").returncode == 0
    assert not (stage.directory / "cache").exists()


@in_turn(0)
def test_the_next_run_knows_nothing_of_this_one(stage):
    for does, code in (("fails", 2), ("deploys", 0)):
        stage.host("web1", does)
        stage.host("web2", does)
        assert stage.play().returncode == code
    assert sorted(stage.diary[2:]) == ["web1 begins", "web1 ends", "web2 begins", "web2 ends"]
