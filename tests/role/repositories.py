"""A git repository of somebody with a key, and archives, for the tests of sources."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aroundtheworld_controller.variables import BadInputError
from tests.role_files import load_python

source = load_python("action_plugins/aroundtheworld_source.py")

FILES = {
    "app/shop/web.py": "def make_app(): ...\n",
    "app/requirements.txt": "",
    "README": "A shop.",
}


class Repository:
    """A new repository with one commit; called, it runs git there and returns what that prints."""

    def __init__(self, home: Path, repository: Path) -> None:
        """Make it, and a key and a configuration for its operator in `home`."""
        self.repository = repository
        for directory in (home, repository):
            directory.mkdir()
        key = home / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        (home / "allowed").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
        self("init", "--quiet", "--initial-branch=main")
        for name, value in {
            "user.name": "Ada",
            "user.email": "ada@example.org",
            "gpg.format": "ssh",
            "user.signingKey": str(key),
            "gpg.ssh.allowedSignersFile": str(home / "allowed"),
        }.items():
            self("config", "--global", name, value)
        commit(self, FILES)

    def __call__(self, *arguments: str) -> str:
        """Run git."""
        command = ["git", "-C", str(self.repository), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Write files, names to texts."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(directory: Path) -> dict[str, str]:
    """Return the text of each file below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def archive(path: Path, *members: tuple[str, Any], mode: Any = "w:gz") -> dict[str, str]:
    """Write a tar file of members, each a name and a text or the changes that make it special.

    Returns:
        The variable that names it.
    """
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else b""
            member.size = len(data)
            for attribute, value in ({} if isinstance(content, str) else content).items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(data))
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def commit(git: Repository, files: Mapping[str, str]) -> str:
    """Commit files, and return the commit."""
    write(git.repository, files)
    git("add", "--all")
    git("commit", "--quiet", "--message", "More")
    return git("rev-parse", "HEAD")


def from_git(git: Repository, cache: Path, revision: str = "main", **more: object) -> Path:
    """Return the app's directory of a revision."""
    value = {"repository": str(git.repository), "revision": revision, **more}
    app: Path = source.find_app("", value, {}, cache)
    return app


def refusal(find: Callable[..., object], *arguments: Any, **more: Any) -> str:
    """Return why a source cannot be used."""
    with pytest.raises(BadInputError) as refused:
        find(*arguments, **more)
    return str(refused.value)
