"""A server deploys its own site: as somebody who is not root, with the Ansible of Debian 13.

prepare.yml installs that. It has no pip of its own, and `ansible_connection: local` names no user.
"""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

HOSTS = ("debian13",)
DIRECTORIES = ("ansible.cfg", "site.yml", "playbooks", "roles", "molecule/rollout/app")
ITSELF = {
    "ansible_connection": "local",
    "ansible_become_password": "{{ guest_password }}",
    "aroundtheworld_app_dir": "/home/grace/project/molecule/rollout/app",
}
INVENTORY = {"aroundtheworld": {"hosts": {"itself": ITSELF}}}
# The package index may be out of reach for a test host: pip finds the wheels here, and checks them.
PIP = "[global]\nno-index = true\nfind-links = /home/grace/wheels\n"


@pytest.fixture(scope="module")
def project(host, name, inventory_path, checkout):
    """What the operator has at home: the project, an inventory, and where packages come from."""
    variables = (checkout / "molecule/guest/group_vars/aroundtheworld.yml").read_bytes()
    wheels = Path.home().glob(".cache/aroundtheworld/wheels/*/tornado-*.whl")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for directory in DIRECTORIES:
            tar.add(checkout / directory, f"project/{directory}", filter=is_source)
        for wheel in wheels:
            tar.add(wheel, f"wheels/{wheel.name}")
        for path, text in {
            "inventory/hosts.json": json.dumps(INVENTORY).encode(),
            "inventory/group_vars/aroundtheworld.yml": variables,
            ".config/pip/pip.conf": PIP.encode(),
        }.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    config = inventory_path.parent / "ssh_config"
    unpack = ["ssh", "-F", str(config), f"grace@{name}", "tar --extract --no-same-owner"]
    subprocess.run(unpack, input=content.getvalue(), check=True)
    yield
    host.check_output("cd /home/grace && rm -r project wheels inventory .config")


def is_source(member):
    return None if Path(member.name).name == "__pycache__" else member


@pytest.fixture(scope="module")
def deploy(removed, project, name, inventory_path):
    """Return a function that deploys from somewhere else than the project, as Grace."""

    def deploy(*arguments):
        config = inventory_path.parent / "ssh_config"
        command = "cd / && ansible-playbook project/site.yml -i inventory/hosts.json"
        command = command.replace(" project", " ~/project").replace(" inventory", " ~/inventory")
        ssh = ["ssh", "-F", str(config), f"grace@{name}", " ".join([command, *arguments])]
        done = subprocess.run(ssh, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        return done

    return deploy


def test_with_a_wrong_password_it_says_at_once_what_is_wrong(deploy):
    done = deploy("-e ansible_become_password=wrong")
    assert done.returncode == 2
    assert "sudo" in done.stdout
    assert "changed=0" in done.stdout


def test_it_deploys_and_has_nothing_to_do_then(deploy, ask):
    done = deploy()
    assert done.returncode == 0
    assert ask("/").text == "edition first\n"
    done = deploy()
    assert done.returncode == 0
    assert "changed=0" in done.stdout
