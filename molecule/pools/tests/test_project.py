"""A project with its modules in ``src/`` is built into its releases, and so is a requirement.

The project is molecule/pools/project, of which the tests make a git repository with tags.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[1] / "project"
POOLS = [{"name": "public", "ports": [10001, 10002], "paths": ["/"]}]
HOME = "/var/lib/tornado/aroundtheworld"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Where the project is committed; called, it runs git there."""
    directory = tmp_path_factory.mktemp("shop") / "shop"
    shutil.copytree(PROJECT, directory)

    def git(*arguments):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", "-C", directory, *identity, *arguments], check=True)

    git.directory = directory
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "A shop")
    git("tag", "v1.2")
    return git


@pytest.fixture(scope="module")
def deploy_tag(deploy, repository):
    """Deploy a tag of the project."""

    def deploy_tag(tag, *arguments):
        run = deploy(
            "static",  # of which nothing is left
            *arguments,
            app_dir="", app_git={"repository": str(repository.directory), "revision": tag},
            make_app="shop.web:make_app", build=["shop", "docopt"], static=[], pools=POOLS,
            migrate_command="shop-admin migrate", canary_seconds=0, environment={},
        )  # fmt: skip
        assert run.returncode == 0, run.output
        return run

    return deploy_tag


def environments(host):
    return {
        host.check_output("readlink %s", f"{path}/venv")
        for path in host.check_output(f"ls -d {HOME}/releases/*/bin").replace("/bin", "").split()
    }


def test_a_project_knows_its_version_its_data_and_its_scripts(deploy_tag, visitor, host):
    deploy_tag("v1.2")
    assert visitor.json("/") == {
        "version": "1.2",
        "docopt": "0.6.2",
        "data": "Good morning",
        "generated": True,
        "beside": True,
    }
    assert host.check_output("aroundtheworld-run shop-admin %s", "a b") == "shop 1.2 a b"
    journal = "journalctl --unit=aroundtheworld-migrate --output=cat --no-pager"
    assert "shop 1.2 migrate" in host.check_output(journal).splitlines()


def test_releases_of_one_environment_have_scripts_of_their_own(
    deploy_tag, repository, visitor, host
):
    script = repository.directory / "src" / "shop" / "cli.py"
    script.write_text(script.read_text().replace('"shop"', '"new shop"', 1))
    repository("commit", "--quiet", "--all", "--message", "Another script")
    repository("tag", "v1.3")
    deploy_tag("v1.2")
    deploy_tag("v1.3")
    assert visitor.json("/")["version"] == "1.3"
    assert host.check_output("aroundtheworld-run shop-admin") == "new shop 1.3"
    assert len(environments(host)) == 1
    again = deploy_tag("v1.3")
    assert again.changed == 0
    deploy_tag("v1.3", "--tags", "rollback")
    assert visitor.json("/")["version"] == "1.2"
    assert host.check_output("aroundtheworld-run shop-admin") == "shop 1.2"
