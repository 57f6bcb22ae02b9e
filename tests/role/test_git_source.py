"""The same commit is the same files, whatever the controller's git is configured to do."""

import os
import subprocess

import pytest

from aroundtheworld_controller.app import git as git_source
from aroundtheworld_controller.app.content import app_files, content_id
from tests.role.repositories import commit, from_git, refusal, source

ODD = {
    "crlf.txt": b"one\r\ntwo\r\n",
    "lf.txt": b"one\ntwo\n",
    "mixed.txt": b"one\r\ntwo\n",
    "utf16.txt": "\ufeffcaf\u00e9\n".encode("utf-16-le"),
    "ident.py": b"# $Id$\n",
    "version.py": b"VERSION = '$Format:%H$'\n",
    "photo.jpg": b"\xff\xd8\r\n\x00",
    'caf\u00e9 \n"quoted"\t.html': b"a name",
    "ignored/file": b"in the release all the same",
    "empty": b"",
}
ATTRIBUTES = """\
*.txt text filter=loud diff=loud
ident.py ident
version.py export-subst
ignored export-ignore
photo.jpg filter=loud
"""


@pytest.fixture
def odd(git):
    """Commits files that git could change on their way out, and returns the commit."""
    for name, content in ODD.items():
        path = git.repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    git("add", "--all")
    # Committed first, so that nothing is changed on its way in.
    git("commit", "--quiet", "--message", "Odd")
    (git.repository / ".gitattributes").write_text(ATTRIBUTES)
    git("add", ".gitattributes")
    git("commit", "--quiet", "--message", "Attributes")
    return git("rev-parse", "HEAD")


@pytest.fixture
def mark(tmp_path):
    """The file that anything which runs would leave."""
    return tmp_path / "ran"


def settings(mark):
    """Settings of an operator by which git would change or run something, by name."""
    return {
        "core.autocrlf": "true",
        "core.eol": "crlf",
        "core.fileMode": "false",
        "core.quotePath": "true",
        "filter.loud.smudge": f"touch {mark}; tr a-z A-Z",
        "filter.loud.process": f"touch {mark}",
        "filter.loud.required": "true",
        "diff.loud.textconv": f"touch {mark}; cat",
        "core.hooksPath": str(mark.parent / "hooks"),
        "core.fsmonitor": f"touch {mark}",
        "core.attributesFile": str(mark.parent / "attributes"),
        "init.templateDir": str(mark.parent / "template"),
        "init.defaultObjectFormat": "sha256",
        "tar.umask": "0077",
        "color.ui": "always",
        "log.showSignature": "true",
        "fetch.recurseSubmodules": "true",
        "alias.ls-tree": f"!touch {mark}",
    }


@pytest.fixture
def configured(git, mark, monkeypatch):
    """Tells git all of that, in the operator's configuration and in the environment."""
    (mark.parent / "attributes").write_text("* text eol=crlf filter=loud\n")
    for directory in ("hooks", "template/hooks"):
        hooks = mark.parent / directory
        hooks.mkdir(parents=True)
        for name in ("post-checkout", "reference-transaction", "pre-auto-gc", "post-index-change"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
            (hooks / name).chmod(0o755)
    for number, (name, value) in enumerate(settings(mark).items()):
        git("config", "--global", name, value)
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(number + 1))
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(mark.parent / "template"))
    elsewhere = str(mark.parent / "elsewhere")
    for name in ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "NAMESPACE", "COMMON_DIR"):
        monkeypatch.setenv(f"GIT_{name}", elsewhere)
    monkeypatch.setenv("GIT_TRACE", str(mark.parent / "trace"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {mark}")
    monkeypatch.setenv("GIT_FSMONITOR_TEST", f"touch {mark}")


def identity(app):
    return content_id({"app": (app, app_files(app, []))})


def test_the_files_are_what_was_committed_to_the_last_byte(odd, git, cache, configured, mark):
    app = from_git(git, cache, odd)
    assert {name: (app / name).read_bytes() for name in ODD} == ODD
    assert not mark.exists()
    assert not (mark.parent / "trace").exists()
    assert not (mark.parent / "elsewhere").exists()


def test_the_same_commit_is_the_same_release_on_every_laptop(odd, git, tmp_path, request):
    before = identity(from_git(git, tmp_path / "one", odd))
    request.getfixturevalue("configured")
    assert identity(from_git(git, tmp_path / "other", odd)) == before


def test_a_signature_is_still_believed_by_the_operators_configuration(git, cache, configured, mark):
    environment = {name: os.environ[name] for name in ("HOME", "PATH")}
    command = ["git", "-C", git.repository, "tag", "--sign", "--message", "One", "v1"]
    subprocess.run(command, check=True, env=environment)
    mark.unlink(missing_ok=True)  # the operator's own git ran their own hooks
    assert (from_git(git, cache, "v1", signed=True) / "README").exists()
    assert not mark.exists()


def test_a_commit_is_what_its_id_says_although_another_replaces_it(git, cache):
    first = git("rev-parse", "HEAD")
    second = commit(git, {"README": "Another."})
    git("replace", first, second)
    assert (from_git(git, cache, first) / "README").read_text() == "A shop."
    (mirror,) = [path for path in (cache / "git").iterdir() if path.is_dir()]
    subprocess.run(["git", "--git-dir", mirror, "replace", first, second], check=True)
    (cache / "trees" / first).rename(cache / "old")
    assert (from_git(git, cache, first) / "README").read_text() == "A shop."


def tree_with(git, name):
    """Makes a commit whose tree has an entry of any name, as git itself would not."""
    blob = git("hash-object", "-w", "README")
    entry = b"100644 " + name + b"\0" + bytes.fromhex(blob)
    done = subprocess.run(
        ["git", "-C", git.repository, "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        input=entry, capture_output=True, check=True,
    )  # fmt: skip
    made = git("commit-tree", "-m", "Odd", done.stdout.decode().strip())
    git("update-ref", "refs/heads/odd", made)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"..", "'..', which leads out of it"),
        (b"../../out", "'../../out', which leads out of it"),
        (b"/etc/out", "'/etc/out', which leads out of it"),
        (b"caf\xe9", "whose name is not UTF-8"),
    ],
)
def test_a_tree_that_leads_out_of_itself_is_refused(git, cache, name, expected):
    tree_with(git, name)
    message = refusal(from_git, git, cache, "odd")
    assert message.startswith("aroundtheworld_app_git.revision: commit ")
    assert expected in message
    assert [path for path in (cache / "trees").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("address", ["ext::sh -c 'touch {}'", "EXT::touch {}", "fd::7", "-x"])
def test_an_address_that_runs_something_is_refused(cache, mark, address, monkeypatch):
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext:file:fd")
    value = {"repository": address.format(mark), "revision": "main"}
    assert "aroundtheworld_app_git.repository: " in refusal(source.find_app, "", value, {}, cache)
    assert not mark.exists()


def test_an_address_that_is_rewritten_to_a_command_runs_nothing(git, cache, mark, monkeypatch):
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext:file")
    git("config", "--global", f"url.ext::touch {mark}/.insteadOf", "shop:")
    git("config", "--global", "protocol.ext.allow", "always")
    value = {"repository": "shop:x", "revision": "main"}
    assert "'ext' not allowed" in refusal(source.find_app, "", value, {}, cache)
    assert not mark.exists()


def test_the_operators_own_way_to_a_host_is_taken(git, cache, mark):
    ssh = mark.parent / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >{mark}\nexit 1\n')
    ssh.chmod(0o755)
    git("config", "--global", "core.sshCommand", str(ssh))
    value = {"repository": "git@web.example:shop.git", "revision": "main"}
    assert "cannot be fetched" in refusal(source.find_app, "", value, {}, cache)
    assert "git@web.example" in mark.read_text()


@pytest.mark.parametrize("password", ["lovelace", "love/lace", "love%2Flace", "l@ve/lace?x#y"])
def test_no_password_is_shown_whatever_git_prints(cache, capsys, password):
    address = f"http://ada:{password}@127.0.0.1:1/shop.git"
    value = {"repository": address, "revision": "main"}
    message = refusal(source.find_app, "", value, {}, cache) + capsys.readouterr().out
    assert "http://127.0.0.1:1/shop.git" in message
    assert "lace" not in message
    assert "l@ve" not in message
    names = {path.name for path in (cache / "git").iterdir()}
    other = value | {"repository": address.replace(password, "another")}
    refusal(source.find_app, "", other, {}, cache)
    assert {path.name for path in (cache / "git").iterdir()} == names


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://ada:lovelace@host/shop", "'https://host/shop' is not allowed; it must be a map"),
        ({"repository": "x", "revison": "y"}, "revison: there is no such setting; did you mean"),
        ({"repository": ["https://ada:lovelace@host"]}, "repository: ['https://host'] is not"),
    ],
)
def test_a_source_of_another_form_is_refused_in_a_sentence(cache, value, expected):
    message = refusal(source.find_app, "", value, {}, cache)
    assert expected in message
    assert "lovelace" not in message


def test_an_object_that_is_missing_is_a_refusal(git, cache, tmp_path):
    mirror = git_source.Mirror(str(git.repository), tmp_path / "mirror")
    with mirror.contents() as batch, pytest.raises(source.BadSourceError, match="is missing in"):
        list(batch.read("0" * 40, 3))


def test_git_without_a_configuration_sees_none(configured, tmp_path):
    environment = git_source.neutral_environment(tmp_path)
    done = subprocess.run(
        ["git", "config", "--list"], capture_output=True, text=True, env=environment, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == ""
