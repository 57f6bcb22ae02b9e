"""The role's package is what git knows, with what is changed and not committed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile

import pytest

from tests.role_files import CHECKOUT

ROLE = "roles/aroundtheworld/meta/main.yml"


@pytest.fixture
def checkout(tmp_path):
    """Return a small checkout with the script, of somebody whom git does not know."""
    directory = tmp_path / "checkout"
    for name in ("scripts/package", "LICENSE", "README.md", "pyproject.toml", ROLE):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, directory / name)
    author = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-mx"]):
        subprocess.run(["git", *command], cwd=directory, check=True, env=environment(tmp_path))
    return directory


def environment(home):
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


def package(checkout):
    """Return the texts of two files of the package: RELEASE and the role's."""
    done = subprocess.run(
        ["scripts/package", "out"],
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
        env=environment(checkout.parent),
    )
    with tarfile.open(checkout / done.stdout.strip()) as archive:
        return [
            archive.extractfile(f"aroundtheworld-0.1.0/{name}").read().decode()
            for name in ("RELEASE", "meta/main.yml")
        ]


def test_it_names_version_and_commit(checkout):
    release, text = package(checkout)
    version, commit = release.split()
    assert (version, len(commit)) == ("0.1.0", 40)
    assert text == (checkout / ROLE).read_text()


def test_a_file_of_which_only_the_time_has_changed_is_no_change(checkout):
    os.utime(checkout / ROLE, (1, 1))
    assert "changes" not in package(checkout)[0]


def test_what_is_changed_and_not_committed_is_in_it_and_named(checkout):
    (checkout / ROLE).write_text("changed: true\n")
    release, text = package(checkout)
    assert release.endswith(" and changes\n")
    assert text == "changed: true\n"
    status = ["git", "status", "--short", "--untracked-files=no"]
    left = subprocess.run(status, cwd=checkout, capture_output=True, text=True, check=True)
    assert left.stdout == f" M {ROLE}\n"  # and it stays as it was
