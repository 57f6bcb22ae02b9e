"""An app from a git revision is the same directory, made once, or refused by name."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from aroundtheworld_controller.app import git as git_source
from aroundtheworld_controller.app.content import app_files, content_id
from aroundtheworld_controller.app.release import describe_release
from aroundtheworld_controller.runs.run import this_run
from aroundtheworld_controller.variables import BadInputError
from tests.role.repositories import FILES, commit, contents, from_git, refusal, source


def test_a_directory_is_used_where_it_is(cache):
    assert source.find_app("/srv/shop", {}, {}, cache) == Path("/srv/shop")


def test_two_sources_are_refused(git, cache):
    value = {"repository": str(git.repository), "revision": "main"}
    message = refusal(source.find_app, "/srv/shop", value, {}, cache)
    assert "aroundtheworld_app_dir and aroundtheworld_app_git: set together" in message
    assert "exactly one of" in message
    assert not cache.exists()


def test_no_source_is_refused_by_the_plan():
    with pytest.raises(BadInputError, match="exactly one of them must say where the app"):
        describe_release({"aroundtheworld_app_dir": ""})


def test_content_is_the_same_whatever_the_source(git, cache, tmp_path):
    (git.repository / "app" / "run").write_text("#!/bin/sh\n")
    (git.repository / "app" / "run").chmod(0o700)
    (git.repository / ".gitattributes").write_text("README export-ignore\nweb.py export-subst\n")
    commit(git, {"app/shop/web.py": "version = '$Format:%H$'\n"})
    path = tmp_path / "shop.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        tar.add(git.repository / "app", "shop-1.2/app")
    value = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    apps = [
        git.repository / "app",
        from_git(git, cache, directory="app"),
        source.find_app("", {}, value | {"directory": "shop-1.2/app"}, cache),
    ]
    identities = {content_id({"app": (app, app_files(app, []))}) for app in apps}
    assert len(identities) == 1
    assert (from_git(git, cache) / "README").exists()


def test_a_branch_a_tag_and_a_commit_are_found(git, cache):
    first = git("rev-parse", "HEAD")
    git("tag", "v1")
    commit(git, {"README": "Two shops."})
    readme = {
        revision: (from_git(git, cache, revision) / "README").read_text()
        for revision in ("main", "v1", first, first[:10])
    }
    assert readme == {
        "main": "Two shops.",
        "v1": "A shop.",
        first: "A shop.",
        first[:10]: "A shop.",
    }


def test_a_tag_comes_before_a_branch_of_its_name(git, cache):
    git("tag", "stable")
    commit(git, {"README": "Newer."})
    git("branch", "stable")
    assert (from_git(git, cache, "stable") / "README").read_text() == "A shop."


def test_a_commit_in_the_cache_needs_no_repository(git, cache):
    first = git("rev-parse", "HEAD")
    app = from_git(git, cache, first)
    shutil.rmtree(git.repository / ".git")
    assert from_git(git, cache, first) == app


def test_a_branch_without_its_repository_is_refused_with_the_commit_that_it_was(
    git, cache, monkeypatch
):
    first = git("rev-parse", "HEAD")
    from_git(git, cache)
    shutil.rmtree(git.repository / ".git")
    monkeypatch.setattr(git_source, "this_run", lambda: "another run")
    message = refusal(from_git, git, cache)
    assert f"aroundtheworld_app_git.repository: {git.repository} cannot be fetched" in message
    assert "git's message:" in message
    assert message.endswith(f"main was {first}: give that id to go without it.")


def test_a_branch_that_moves_is_one_commit_in_a_run_and_the_new_one_in_the_next(
    git, cache, monkeypatch
):
    monkeypatch.setattr(git_source, "this_run", lambda: "one run")
    before = from_git(git, cache)
    commit(git, {"README": "Moved."})
    assert from_git(git, cache) == before
    monkeypatch.setattr(git_source, "this_run", lambda: "the next")
    assert (from_git(git, cache) / "README").read_text() == "Moved."


def test_a_run_is_told_by_the_process_that_started_this_one():
    assert this_run().startswith(f"{os.getppid()} ")


def test_a_moved_tag_is_followed(git, cache, monkeypatch):
    git("tag", "latest")
    from_git(git, cache, "latest")
    commit(git, {"README": "Moved."})
    git("tag", "--force", "latest")
    monkeypatch.setattr(git_source, "this_run", lambda: "the next")
    assert (from_git(git, cache, "latest") / "README").read_text() == "Moved."


def test_a_tag_that_was_withdrawn_is_not_deployed_from_the_cache(git, cache, monkeypatch):
    git("tag", "v1")
    from_git(git, cache, "v1")
    git("tag", "--delete", "v1")
    monkeypatch.setattr(git_source, "this_run", lambda: "the next")
    assert "'v1' is no tag, branch or commit" in refusal(from_git, git, cache, "v1")


def test_an_unknown_revision_is_refused_with_the_nearest(git, cache):
    git("tag", "v1.2")
    message = refusal(from_git, git, cache, "v1.3")
    assert message.startswith(
        "aroundtheworld_app_git.revision: 'v1.3' is no tag, branch or commit of"
    )
    assert message.endswith("v1.2.")


@pytest.mark.parametrize("revision", ["", "-v", "main~1", "main..v1", "a b", "@{-1}", "a\n", "v1/"])
def test_what_is_no_name_of_a_revision_is_refused(git, cache, revision):
    message = refusal(from_git, git, cache, revision)
    assert f"aroundtheworld_app_git.revision: {revision!r} is not allowed" in message


@pytest.mark.parametrize("repository", ["", "--upload-pack=/bin/sh"])
def test_what_is_no_repository_is_refused(cache, repository):
    value = {"repository": repository, "revision": "main"}
    message = refusal(source.find_app, "", value, {}, cache)
    assert f"aroundtheworld_app_git.repository: {repository!r} is not allowed" in message


def test_a_transport_that_runs_a_command_is_refused(cache, tmp_path):
    value = {"repository": f"ext::touch {tmp_path}/run", "revision": "main"}
    message = refusal(source.find_app, "", value, {}, cache)
    assert "aroundtheworld_app_git.repository: 'ext::touch" in message
    assert "it would run a command" in message
    assert not (tmp_path / "run").exists()


def test_a_password_in_an_address_is_not_shown(cache):
    value = {"repository": "http://ada:lovelace@127.0.0.1:1/shop.git", "revision": "main"}
    message = refusal(source.find_app, "", value, {}, cache)
    assert "http://127.0.0.1:1/shop.git cannot be fetched" in message
    assert "lovelace" not in message


def test_a_directory_that_the_revision_lacks_is_refused(git, cache):
    message = refusal(from_git, git, cache, directory="apps")
    assert message == (
        "aroundtheworld_app_git.directory: 'apps' is not a directory in this source; at its top "
        "are: app."
    )


def test_a_directory_outside_of_the_source_is_refused(git, cache):
    assert "'../..' is not a directory in this source" in refusal(
        from_git, git, cache, directory="../.."
    )


def test_submodules_are_refused(git, cache):
    first = git("rev-parse", "HEAD")
    git("update-index", "--add", "--cacheinfo", f"160000,{first},vendored")
    git("commit", "--quiet", "--message", "A submodule")
    assert "has submodules (vendored), which are not fetched" in refusal(from_git, git, cache)


def test_a_commit_with_a_link_out_of_it_is_refused_and_leaves_nothing(git, cache):
    (git.repository / "app" / "secrets").symlink_to("../../../etc")
    commit(git, {})
    message = refusal(from_git, git, cache)
    assert "holds the link 'app/secrets' to '../../../etc', which leads out of it" in message
    assert [path for path in (cache / "trees").glob("*") if path.is_dir()] == []


def test_a_signed_tag_is_accepted(git, cache):
    git("tag", "--sign", "--message", "One", "v1")
    assert contents(from_git(git, cache, "v1", signed=True)) == FILES


@pytest.mark.parametrize("options", [(), ("--annotate", "--message", "One")])
def test_a_tag_without_a_signature_is_refused(git, cache, options):
    git("tag", *options, "v1")
    message = refusal(from_git, git, cache, "v1", signed=True)
    assert "the tag 'v1' has no signature that git accepts" in message
    assert "git's message: error: " in message


def test_a_signature_of_a_stranger_is_refused(git, cache, tmp_path):
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    git("-c", f"user.signingKey={stranger}", "tag", "--sign", "--message", "One", "v1")
    assert "no signature that git accepts" in refusal(from_git, git, cache, "v1", signed=True)


@pytest.mark.parametrize("named", ["main", "HEAD"])
def test_what_is_no_tag_is_refused_where_it_must_be_signed(git, cache, named):
    revision = git("rev-parse", named) if named == "HEAD" else named
    message = refusal(from_git, git, cache, revision, signed=True)
    assert f"{revision!r} is no tag, but aroundtheworld_app_git.signed is true" in message


def test_a_signed_tag_under_another_tags_name_is_refused(git, cache):
    git("tag", "--sign", "--message", "One", "v1")
    git("update-ref", "refs/tags/v2", git("rev-parse", "refs/tags/v1"))
    assert "calls 'v2' is signed as 'v1'" in refusal(from_git, git, cache, "v2", signed=True)
