"""Make a directory of the app's source, where that is a git revision or an archive.

Runs on the controller alone. What it makes is kept in a cache, by commit or checksum, each whole or
not there at all; so what was deployed once needs no network the next time. Nothing of a source is
run, and nothing in it can be written to, or link to, a place outside its own directory.
"""

from __future__ import annotations

import difflib
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import zlib
from collections.abc import Mapping
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, cast

from ansible.errors import AnsibleActionFail
from ansible.module_utils import urls
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.cache import cache_directory, only_one, this_run

GIT, ARCHIVE = "aroundtheworld_app_git", "aroundtheworld_app_archive"
COMMIT = re.compile(r"[0-9a-f]{40}")
# What git allows in the name of a tag or branch, without the signs of its revision syntax.
REVISION = re.compile(r"[A-Za-z0-9_](?:[\w./+-]*[\w+-])?", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")

# A source is what its files are, whatever they say about how `git archive` should change them.
ATTRIBUTES = "* -export-ignore -export-subst\n"

display = Display()


class BadSourceError(Exception):
    """The source cannot be used; the message says which variable to mend, and how."""


# --- Unpacking ------------------------------------------------------------------------------------


def unpack(archive: Path, tree: Path) -> None:
    """Unpack a tar file into the empty directory `tree`.

    Not with tarfile's own filter: Debian 12's Python has none yet.

    Raises:
        BadSourceError: It is no tar file, or not all of it belongs below `tree`.
    """
    links: dict[Path, str] = {}
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                path = Path(entry.name)
                if path.is_absolute() or ".." in path.parts:
                    raise BadSourceError(f"it holds {entry.name!r}, which leads out of it")
                if entry.issym():
                    links[tree / path] = entry.linkname
                elif entry.isdir():
                    (tree / path).mkdir(parents=True, exist_ok=True)
                elif entry.isfile() or entry.islnk():
                    (tree / path).parent.mkdir(parents=True, exist_ok=True)
                    # A member that is a file, or a link to one in the archive, has content.
                    with (
                        cast(IO[bytes], tar.extractfile(entry)) as content,
                        (tree / path).open("wb") as file,
                    ):
                        shutil.copyfileobj(content, file)
                    (tree / path).chmod(0o755 if entry.mode & 0o100 else 0o644)
                else:
                    raise BadSourceError(
                        f"it holds {entry.name!r}, which is no file, directory or link"
                    )
        # Links come last, so that nothing was written through one.
        for link, target in links.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
    except (tarfile.TarError, EOFError, zlib.error, LZMAError, KeyError) as error:
        raise BadSourceError(f"it is no whole tar file, compressed or not ({error})") from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise BadSourceError("it holds two things of one name that exclude each other") from None
    for link, target in links.items():
        if not ends_inside(link, tree):
            name = link.relative_to(tree)
            raise BadSourceError(
                f"it holds the link {str(name)!r} to {target!r}, which leads out of it"
            )


def ends_inside(link: Path, tree: Path) -> bool:
    """Tell whether a symbolic link, followed to its end, stays below `tree`."""
    try:
        return link.resolve().is_relative_to(tree.resolve())
    except (OSError, RuntimeError):  # it leads in a circle
        return False


def keep(archive: Path, source: Path) -> None:
    """Unpack `archive` as the directory `source`, which is there when it is whole."""
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".new-") as work:
        tree = Path(work, "tree")
        tree.mkdir()
        unpack(archive, tree)
        tree.rename(source)


def below(source: Path, directory: str, variable: str) -> Path:
    """Return the app's directory in a source.

    Raises:
        BadSourceError: There is no such directory, or it is not in the source.
    """
    app = source / directory
    if Path(directory).is_absolute() or ".." in Path(directory).parts or not app.is_dir():
        there = sorted(path.name for path in source.iterdir() if path.is_dir())
        raise BadSourceError(
            f"{variable}.directory: {directory!r} is not a directory in this source; at its top "
            f"are: {', '.join(there) or 'none'}."
        )
    return app


# --- Archives -------------------------------------------------------------------------------------


def shown(address: str) -> str:
    """Return an address without the password that it may contain."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def download(url: str, into: Path) -> None:
    """Write what is at an http(s) URL into a file; raises `BadSourceError`."""
    display.display(f"Fetching {shown(url)} on the controller")
    try:
        with urls.open_url(url, timeout=30) as response, into.open("wb") as file:
            shutil.copyfileobj(response, file)
    except (OSError, http.client.HTTPException, urls.ConnectionError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the server's answer
        raise BadSourceError(
            f"{ARCHIVE}.path: {shown(url)} cannot be fetched on the controller: {error}"
        ) from None


def check(archive: Path, path: str, wanted: str) -> None:
    """Raise `BadSourceError` unless `archive`, given as `path`, has the checksum `wanted`."""
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadSourceError(
            f"{ARCHIVE}.path: {path!r} cannot be read on the controller: {error.strerror}. It must "
            "be a tar file there, or an http(s) URL."
        ) from None
    if found != wanted:
        raise BadSourceError(
            f"{ARCHIVE}.sha256: {wanted} was given, but {shown(path)} has {found}; it is another "
            "archive than the one that was meant."
        )


def from_archive(given: Mapping[str, Any], cache: Path) -> Path:
    """Return the directory of the app in an archive.

    Raises:
        BadSourceError: The archive cannot be had, or is not the one with this checksum.
    """
    path, wanted = given.get("path") or "", str(given.get("sha256") or "").lower()
    if not path:
        raise BadSourceError(
            f"{ARCHIVE}.path: is missing; give a file on the controller or an http(s) URL."
        )
    if not SHA256.fullmatch(wanted):
        raise BadSourceError(
            f"{ARCHIVE}.sha256: {given.get('sha256')!r} is not allowed; it must be the 64 "
            "hexadecimal digits that `sha256sum` prints for the archive."
        )
    source = cache / "sources" / wanted
    remote = re.match(r"https?://", path) is not None
    with only_one(cache / "sources" / f".{wanted}.lock"), tempfile.TemporaryDirectory() as work:
        # A file is looked at also when it is in the cache: it may have been replaced since.
        if not (remote and source.is_dir()):
            archive = Path(work, "archive") if remote else Path(path).expanduser()
            if remote:
                download(path, archive)
            check(archive, path, wanted)
            if not source.is_dir():
                try:
                    keep(archive, source)
                except BadSourceError as bad:
                    raise BadSourceError(
                        f"{ARCHIVE}.path: {shown(path)} cannot be used: {bad}."
                    ) from None
    return below(source, given.get("directory") or "", ARCHIVE)


# --- git ------------------------------------------------------------------------------------------


class Mirror:
    """A bare copy of a repository, with all of its branches and tags."""

    def __init__(self, repository: str, directory: Path) -> None:
        """Make the copy's directory; nothing is fetched yet."""
        self.repository, self.directory = repository, directory
        self.git("init", "--quiet", "--bare", "--template=", str(directory))
        (directory / "info").mkdir(exist_ok=True)
        (directory / "info" / "attributes").write_text(ATTRIBUTES)

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git, which asks nobody for a password and speaks English."""
        environment = {
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        command = ["git", f"--git-dir={self.directory}", *arguments]
        try:
            return subprocess.run(  # noqa: S603 - no shell; what is given is checked
                command, capture_output=True, text=True, check=False, env=environment
            )
        except FileNotFoundError:
            raise BadSourceError(
                f"{GIT}: the controller has no git; install it, or give an archive."
            ) from None

    def git(self, *arguments: str) -> str:
        """Return what git prints; raises `BadSourceError` with git's own words when it fails."""
        done = self.attempt(*arguments)
        if done.returncode:
            raise BadSourceError(f"{GIT}: git {arguments[0]} failed: {said(done)}")
        return done.stdout.strip()

    def object(self, name: str) -> str:
        """Return the id of what `name` means, or an empty text."""
        return self.attempt(
            "rev-parse", "--quiet", "--verify", "--end-of-options", name
        ).stdout.strip()

    def commit(self, revision: str) -> str:
        """Return the commit that a tag, branch or id means, in this order, or an empty text."""
        names = (
            [revision]
            if COMMIT.fullmatch(revision)
            else [f"refs/tags/{revision}", f"refs/heads/{revision}"]
        )
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            names.append(revision)
        return next(filter(None, (self.object(f"{name}^{{commit}}") for name in names)), "")

    def fetch(self, revision: str) -> None:
        """Bring the copy up to date, unless it is for this run or `revision` is a commit in it.

        One run means one commit for all of its hosts, even when a branch moves meanwhile.

        Raises:
            BadSourceError: The repository cannot be reached.
        """
        fetched = self.directory / "fetched"
        run = this_run()
        if COMMIT.fullmatch(revision) and self.commit(revision):
            return
        if run and fetched.exists() and fetched.read_text() == run:
            return
        display.display(f"Fetching {shown(self.repository)} on the controller")
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        done = self.attempt(
            "fetch", "--quiet", "--prune", "--no-write-fetch-head", "--", self.repository, *refs
        )
        if done.returncode:
            known = self.commit(revision)
            hint = (
                f"\nWhen it last could be, {revision} was {known}: give that id to go without it."
                if known
                else ""
            )
            raise BadSourceError(
                f"{GIT}.repository: {shown(self.repository)} cannot be fetched on the controller. "
                f"git said: {said(done)}{hint}"
            )
        fetched.write_text(run)

    def resolve(self, revision: str) -> str:
        """Return the commit of a revision; raises `BadSourceError` when there is none."""
        if commit := self.commit(revision):
            return commit
        names = self.git("for-each-ref", "--format=%(refname:lstrip=2)").splitlines()
        near = difflib.get_close_matches(revision, names) or names[-5:]
        raise BadSourceError(
            f"{GIT}.revision: {revision!r} is no tag, branch or commit of "
            f"{shown(self.repository)}; there are, for instance: {', '.join(near) or 'none'}."
        )

    def resolve_signed(self, tag: str) -> str:
        """Return the commit of a tag whose signature git accepts; raises `BadSourceError`."""
        tagged = self.object(f"refs/tags/{tag}")
        if not tagged:
            self.resolve(tag)  # what is not there at all is said in other words
            raise BadSourceError(
                f"{GIT}.revision: {tag!r} is no tag, but {GIT}.signed asks for a signed one; make "
                "it with `git tag --sign`."
            )
        done = self.attempt("verify-tag", tagged)
        if done.returncode:
            raise BadSourceError(
                f"{GIT}.revision: the tag {tag!r} has no signature that git accepts on the "
                f"controller, and {GIT}.signed asks for one. git said: {said(done)}"
            )
        # A signature holds for the name in the tag too: another signed tag under this name is not
        # this one.
        name = self.git("for-each-ref", "--format=%(tag)", f"refs/tags/{tag}")
        if name != tag:
            raise BadSourceError(
                f"{GIT}.revision: what the repository calls {tag!r} is signed as {name!r}; it is "
                "not the tag that was meant."
            )
        return self.object(f"{tagged}^{{commit}}")

    def export(self, commit: str, source: Path) -> None:
        """Write the files of a commit to the directory `source`; raises `BadSourceError`."""
        modules = [
            line.partition("\t")[2]
            for line in self.git("ls-tree", "-r", "--full-tree", commit).splitlines()
            if line.startswith("160000 ")
        ]
        if modules:
            raise BadSourceError(
                f"{GIT}: commit {commit} has submodules ({', '.join(modules)}), which are not "
                "fetched; give a directory or an archive that contains them."
            )
        with tempfile.TemporaryDirectory() as work:
            archive = Path(work, "source.tar")
            self.git("archive", "--format=tar", f"--output={archive}", commit)
            try:
                keep(archive, source)
            except BadSourceError as bad:
                raise BadSourceError(
                    f"{GIT}.revision: commit {commit} cannot be used: {bad}."
                ) from None


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed command said, without passwords."""
    return shown((done.stderr or done.stdout).strip()) or f"nothing (status {done.returncode})"


def from_git(given: Mapping[str, Any], cache: Path) -> Path:
    """Return the directory of the app in a commit.

    Raises:
        BadSourceError: The revision cannot be had, or is not signed although it should be.
    """
    repository, revision = given.get("repository") or "", str(given.get("revision") or "")
    if not repository or repository.startswith("-"):
        raise BadSourceError(
            f"{GIT}.repository: {repository!r} is not allowed; give an address that `git clone` "
            "takes, or the path of a repository on the controller."
        )
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise BadSourceError(
            f"{GIT}.revision: {revision!r} is not allowed; it must be the name of a tag or a "
            "branch, or the id of a commit."
        )
    if (local := Path(repository).expanduser()).exists():
        repository = str(local.resolve())
    name = hashlib.sha256(repository.encode()).hexdigest()[:16]
    with only_one(cache / "git" / f".{name}.lock"):
        mirror = Mirror(repository, cache / "git" / name)
        mirror.fetch(revision)
        commit = (
            mirror.resolve_signed(revision) if given.get("signed") else mirror.resolve(revision)
        )
        source = cache / "sources" / commit
        with only_one(cache / "sources" / f".{commit}.lock"):
            if not source.is_dir():
                mirror.export(commit, source)
    return below(source, given.get("directory") or "", GIT)


# --- The task -------------------------------------------------------------------------------------


def find_app(
    directory: str, git: Mapping[str, Any], archive: Mapping[str, Any], cache: Path
) -> Path:
    """Return the app's directory on the controller, from the one source that is given.

    Raises:
        BadSourceError: More than one is given, or the one that is cannot be used.
    """
    given = {"aroundtheworld_app_dir": directory, GIT: git, ARCHIVE: archive}
    names = [name for name, value in given.items() if value]
    if len(names) != 1:
        raise BadSourceError(
            f"{' and '.join(names) or 'no source'}: given together; the app comes from exactly one "
            f"of {', '.join(given)}."
        )
    if git:
        return from_git(git, cache)
    if archive:
        return from_archive(archive, cache)
    return Path(directory)


class ActionModule(ActionBase):
    """The task ``aroundtheworld_source``; takes ``directory``, ``git`` and ``archive``."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the app's directory on the controller as ``directory``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            app = find_app(**self._task.args, cache=cache_directory())
        except BadSourceError as bad:
            raise AnsibleActionFail(f"Nothing was changed, because of this:\n  - {bad}") from None
        result.update(changed=False, directory=str(app))
        return result
