"""The app from a commit of a git repository, exactly as it is in there.

Which files a commit has does not depend on the controller: neither on its git's configuration
(`autocrlf`, `eol`, filters such as LFS's, attributes) nor on its file system's case. So files are
not checked out and not archived, but read as git stores them, by a git that sees no configuration.
The operator's own counts where it is needed, to reach a repository and to believe a signature.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from ansible.utils.display import Display

from aroundtheworld_controller.addresses import shown, shown_with
from aroundtheworld_controller.app.source_tree import BadSourceError, SourceTree
from aroundtheworld_controller.cache import locked, make_once
from aroundtheworld_controller.runs.run import this_run

GIT = "aroundtheworld_app_git"
COMMIT = re.compile(r"[0-9a-f]{40}")
# What git allows in the name of a tag or branch, without the signs of its revision syntax.
REVISION = re.compile(r"[A-Za-z0-9_](?:[\w./+-]*[\w+-])?", re.ASCII)
# Transports that run a command which the address names.
RUNS_COMMANDS = re.compile(r"(ext|fd)::", re.I)
CHUNK = 1 << 20  # bytes

# Of the caller's GIT_* variables, those by which git reaches a repository and knows its operator.
# Others would lead it to another repository, object store or index, or have it trace secrets.
OPERATORS = re.compile(
    r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|EXEC_PATH|CONFIG_\w+|SSL_\w+|PROXY_\w+|HTTP_\w+"
    r"|ALLOW_PROTOCOL|PROTOCOL|PROTOCOL_FROM_USER|COMMITTER_\w+|AUTHOR_\w+)"
)
ALWAYS = {
    "GIT_TERMINAL_PROMPT": "0",  # ask nobody for a password
    "GIT_NO_REPLACE_OBJECTS": "1",  # a commit is what its id says
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}
NO_CONFIGURATION = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
}
# Whatever the operator's configuration says: no hook, no command instead of a transport, and
# nothing is fetched beyond the refspecs.
NOTHING_RUNS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "protocol.ext.allow": "never",
    "fetch.recurseSubmodules": "false",
    "gc.autoDetach": "false",
}

display = Display()


def operators_environment() -> dict[str, str]:
    """Return the environment of a git that acts in the operator's name."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or OPERATORS.fullmatch(name)
    }
    if allowed := kept.get("GIT_ALLOW_PROTOCOL"):  # it counts more than protocol.ext.allow
        protocols = [name for name in allowed.split(":") if name not in ("ext", "fd")]
        kept["GIT_ALLOW_PROTOCOL"] = ":".join(protocols) or "none"
    return kept | ALWAYS


def neutral_environment(home: Path) -> dict[str, str]:
    """Return the environment of a git that depends on nothing but its repository."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name == "GIT_EXEC_PATH"
    }
    # Before 2.32, git reads its user's configuration where HOME and XDG_CONFIG_HOME say.
    return kept | ALWAYS | NO_CONFIGURATION | {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}


class Mirror:
    """A bare copy of a repository, with all of its branches and tags."""

    def __init__(self, repository: str, directory: Path) -> None:
        """Make the copy's directory; nothing is fetched yet."""
        self.repository, self.directory = repository, directory
        self.git("init", "--quiet", "--bare", "--template=", str(directory))

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs git on the copy."""
        return ["git", f"--git-dir={self.directory}", *arguments]

    def attempt(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run git, without anybody's configuration unless there is another `environment`."""
        try:
            return subprocess.run(  # noqa: S603 - no shell; the arguments are checked
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
                env=environment or neutral_environment(self.directory),
            )
        except FileNotFoundError:
            raise BadSourceError(
                f"{GIT}: the controller has no git; install it, or give an archive."
            ) from None

    def as_operator(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git with the operator's keys, proxies and trust."""
        environment = operators_environment()
        options = [part for pair in NOTHING_RUNS.items() for part in ("-c", "=".join(pair))]
        if not {"GIT_SSH", "GIT_SSH_COMMAND"} & set(environment):
            configured = self.attempt("config", "core.sshCommand", environment=environment)
            command = configured.stdout.strip() or "ssh -o BatchMode=yes"
            environment["GIT_SSH_COMMAND"] = command
        return self.attempt(*options, *arguments, environment=environment)

    def explain(self, done: subprocess.CompletedProcess[str]) -> str:
        """Return what a failed command printed, without passwords."""
        text = shown_with(self.repository, (done.stderr or done.stdout).strip())
        return text or f"nothing (status {done.returncode})"

    def git(self, *arguments: str) -> str:
        """Return what git prints; raises `BadSourceError` with git's own words when it fails."""
        done = self.attempt(*arguments)
        if done.returncode:
            raise BadSourceError(f"{GIT}: git {arguments[0]} failed: {self.explain(done)}")
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
        options = ("--quiet", "--prune", "--no-write-fetch-head", "--no-recurse-submodules")
        done = self.as_operator("fetch", *options, "--", self.repository, *refs)
        if done.returncode:
            known = self.commit(revision)
            hint = (
                f"\nWhen it last could be, {revision} was {known}: give that id to go without it."
                if known
                else ""
            )
            raise BadSourceError(
                f"{GIT}.repository: {shown(self.repository)} cannot be fetched on the controller. "
                f"git's message: {self.explain(done)}{hint}"
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
            self.resolve(tag)  # a tag that does not exist has another message
            raise BadSourceError(
                f"{GIT}.revision: {tag!r} is no tag, but {GIT}.signed is true; make "
                "it with `git tag --sign`."
            )
        done = self.as_operator("verify-tag", tagged)
        if done.returncode:
            raise BadSourceError(
                f"{GIT}.revision: the tag {tag!r} has no signature that git accepts on the "
                f"controller, and {GIT}.signed is true. git's message: {self.explain(done)}"
            )
        # A signature holds for the name in the tag too: another signed tag under this name is not
        # this tag.
        name = self.git("for-each-ref", "--format=%(tag)", f"refs/tags/{tag}")
        if name != tag:
            raise BadSourceError(
                f"{GIT}.revision: what the repository calls {tag!r} is signed as {name!r}; it is "
                "not the tag that was meant."
            )
        return self.object(f"{tagged}^{{commit}}")

    def export(self, commit: str, directory: Path) -> None:
        """Write the files of a commit into the empty directory; raises `BadSourceError`."""
        entries = list(self.entries(commit))
        if modules := [name for mode, _, _, name in entries if mode == "160000"]:
            raise BadSourceError(
                f"it has submodules ({', '.join(modules)}), which are not fetched; give a "
                "directory or an archive that contains them"
            )
        tree = SourceTree(directory)
        with self.contents() as batch:
            for mode, digest, size, name in entries:
                content = batch.read(digest, size)
                if mode == "120000":
                    target = b"".join(content).decode("utf-8", "surrogateescape")
                    tree.add_link(name, target)
                else:
                    tree.add_file(name, content, size)
        tree.finish()

    def entries(self, commit: str) -> Iterator[tuple[str, str, int, str]]:
        """Yield mode, object, size in bytes and name of what a commit holds."""
        listing = self.git("ls-tree", "-r", "-z", "-l", "--full-tree", commit)
        for entry in filter(None, listing.split("\0")):
            about, _, name = entry.partition("\t")
            mode, _, digest, size = about.split()
            yield mode, digest, int(size) if size.isdigit() else 0, name

    def contents(self) -> Batch:
        """Return what reads objects of the copy."""
        return Batch(self.command("cat-file", "--batch"), neutral_environment(self.directory))


class Batch:
    """Reads objects, one after the other, from one process; a context."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process."""
        self.process = subprocess.Popen(  # noqa: S603 - a fixed command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def __enter__(self) -> Batch:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, also in the middle of an object."""
        self.process.kill()
        self.process.communicate()

    def read(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield the content of an object, `size` bytes in all; raises `BadSourceError`."""
        requests, replies = cast(BinaryIO, self.process.stdin), cast(BinaryIO, self.process.stdout)
        requests.write(f"{digest}\n".encode())
        requests.flush()
        if replies.readline().split() != [digest.encode(), b"blob", str(size).encode()]:
            raise BadSourceError(f"its object {digest} is missing in the copy of the repository")
        left = size
        while left:
            chunk = replies.read(min(left, CHUNK))
            if not chunk:
                raise BadSourceError(f"its object {digest} cannot be read")
            left -= len(chunk)
            yield chunk
        replies.read(1)  # the end of its line


def local_repository(repository: str) -> str:
    """Return the address of a repository, absolute where it is a path on the controller."""
    local = Path(repository).expanduser()
    return str(local.resolve()) if "://" not in repository and local.exists() else repository


def mirror_directory(repository: str, cache: Path) -> Path:
    """Return where the copy of a repository is."""
    # Without the password: a hash would not keep it secret, and a new password is not another
    # repository.
    name = hashlib.sha256(shown(local_repository(repository)).encode()).hexdigest()[:16]
    return cache / "git" / name


def from_git(source: Mapping[str, Any], cache: Path) -> Path:
    """Return the directory with the files of a commit.

    Raises:
        BadSourceError: The revision cannot be had, or is not signed although it should be.
    """
    repository, revision = source.get("repository") or "", str(source.get("revision") or "")
    if not repository or repository.startswith("-") or not repository.isprintable():
        raise BadSourceError(
            f"{GIT}.repository: {shown(repository)!r} is not allowed; give an address that "
            "`git clone` takes, or the path of a repository on the controller."
        )
    if RUNS_COMMANDS.match(repository):
        raise BadSourceError(
            f"{GIT}.repository: {shown(repository)!r} is not allowed; it would run a command. "
            "Give an address with https:// or ssh://, or a path on the controller."
        )
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise BadSourceError(
            f"{GIT}.revision: {revision!r} is not allowed; it must be the name of a tag or a "
            "branch, or the id of a commit."
        )
    place = mirror_directory(repository, cache)
    with locked(place.with_name(f".{place.name}.lock")):
        mirror = Mirror(local_repository(repository), place)
        mirror.fetch(revision)
        commit = (
            mirror.resolve_signed(revision) if source.get("signed") else mirror.resolve(revision)
        )

        def export(directory: Path) -> None:
            try:
                mirror.export(commit, directory)
            except BadSourceError as bad:
                raise BadSourceError(
                    f"{GIT}.revision: commit {commit} cannot be used: {bad}."
                ) from None

        return make_once(cache / "trees" / commit, export)
