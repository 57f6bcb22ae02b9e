"""A release and its virtual environment come to be whole on a host."""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import virtualenv
from ansible.module_utils.aroundtheworld.layout import WHOLE

from tests.render import RELEASE_ID, evaluate, variables_for
from tests.role import process_promises as promises
from tests.role.host_python import ENVIRONMENT
from tests.role_files import load_python

action = load_python("action_plugins/aroundtheworld_release.py")
module = load_python("library/aroundtheworld_release.py")


class Host:
    """A home directory, and commands of which only `tar` is real."""

    def __init__(self, directory):
        self.home = directory / "home"
        self.environment = self.home / "environments" / ENVIRONMENT["id"]
        self.release = self.home / "releases" / RELEASE_ID
        for made in (self.environment.parent, self.release.parent):
            made.mkdir(parents=True)
        self.commands = []
        self.fails = None
        self.looks_at = ""
        self.archive = directory / "release.tar.gz"

    def run_command(self, command):
        verbs = ("systemd-run", "tar", "venv", "install", "compileall")
        verb = next(name for name in verbs if name in command)
        self.commands.append(verb)
        if verb == self.fails:
            return 1, "", f"{verb} does not work today\n"
        if verb == "tar":
            subprocess.run(command, check=True)
        elif verb == "venv":
            (action.Path(command[-1]) / "bin").mkdir(parents=True)
        elif verb == "systemd-run":
            self.started = command
            found = re.search(r"--property=WorkingDirectory=(\S+)/app", " ".join(command))
            self.place = Path(found[1])
            self.seen = sorted(path.name for path in self.place.iterdir())
            if self.looks_at:
                self.looked = (self.place / self.looks_at).read_text()
            return 0, "two tables more\n", ""
        return 0, "", ""

    def pack(self, *parts):
        with tarfile.open(self.archive, "w:gz") as archive:
            for part in parts:
                file = self.home.parent / "content"
                file.write_text(part)
                archive.add(file, part)


PARTS = ("app/shop.py", "runner/run.py", "wheels/tornado.whl", "requirements.txt")


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)
    monkeypatch.setattr(
        module.AnsibleModule, "run_command", lambda self, command: host.run_command(command)
    )
    (tmp_path / "pip-24.0-py3-none-any.whl").touch()
    monkeypatch.setattr(virtualenv, "DEBIAN_WHEELS", tmp_path)
    host.pack(*PARTS)
    return host


@pytest.fixture
def run(host, run_module):
    def run(*, archive=True, **more):
        if archive:
            more["archive"] = str(host.archive)
        return run_module(
            module, home=str(host.home), release=RELEASE_ID, environment=ENVIRONMENT["id"], **more
        )

    run.failed = run_module.failed
    return run


def missing(run):
    return run(archive=False)["missing"]


def test_what_is_missing_is_said_and_then_installed(host, run):
    assert missing(run) == ["environment", "release"]
    assert run()["missing"] == ["environment", "release"]
    assert missing(run) == []
    assert not run(archive=False)["changed"]
    assert sorted(path.name for path in host.release.iterdir()) == [
        "app",
        "manifest.json",
        "runner",
        "venv",
    ]
    assert (host.release / "venv").resolve() == host.environment
    manifest = json.loads((host.release / "manifest.json").read_text())
    assert manifest == {"release": RELEASE_ID, "environment": ENVIRONMENT["id"]}


def test_workers_can_read_the_release_whatever_the_umask(host, run):
    before = os.umask(0o077)
    try:
        run()
    finally:
        os.umask(before)
    assert host.release.stat().st_mode & 0o777 == 0o755
    assert (host.release / "manifest.json").stat().st_mode & 0o777 == 0o644
    assert (host.release / "app").stat().st_mode & 0o777 == 0o755


SCRIPTS = {
    "bin/shop-admin": "#!python\nimport shop\n",
    "bin/shop-window": "#!pythonw -X dev\n",
    "bin/shop.sh": "#!/bin/sh\n",
}


def pack_scripts(host):
    with tarfile.open(host.archive, "w:gz") as archive:
        for name, text in {**dict.fromkeys(PARTS, ""), "lib/shop.py": "", **SCRIPTS}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


def test_a_releases_own_scripts_run_in_its_virtual_environment(host, run):
    pack_scripts(host)
    run()
    scripts = {path.name: path.read_text() for path in (host.release / "bin").iterdir()}
    assert scripts == {
        "shop-admin": f"#!{host.release}/venv/bin/python\nimport shop\n",
        "shop-window": f"#!{host.release}/venv/bin/python -X dev\n",
        "shop.sh": "#!/bin/sh\n",
    }
    assert host.commands.count("compileall") == 4  # the environment, app, runner, and lib


def test_a_dry_run_has_the_scripts_where_the_release_is_for_a_while(host, run):
    pack_scripts(host)
    host.looks_at = "bin/shop-admin"
    run(check=True, migrate_check=["shop-admin"], process=["WorkingDirectory=${release}/app"])
    assert host.looked.startswith(f"#!{host.place}/environment/bin/python\n")


def test_modules_in_src_are_not_compiled_twice(host, run):
    with tarfile.open(host.archive, "w:gz") as archive:
        for name in PARTS:
            archive.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("lib")
        link.type, link.linkname = tarfile.SYMTYPE, "app/src"
        archive.addfile(link)
        source = tarfile.TarInfo("app/src")
        source.type = tarfile.DIRTYPE
        source.mode = 0o755
        archive.addfile(source)
    run()
    assert (host.release / "lib").readlink() == Path("app/src")
    assert host.commands.count("compileall") == 3


def test_an_environment_that_is_there_is_shared(host, run):
    run()
    shutil.rmtree(host.release)
    host.commands.clear()
    host.pack(*PARTS[:2])
    assert run()["missing"] == ["release"]
    assert "venv" not in host.commands


def test_an_environment_that_was_cut_off_is_made_anew(host, run):
    run()
    (host.environment / WHOLE).unlink()
    (host.environment / "half").touch()
    assert missing(run) == ["environment"]
    run()
    assert not (host.environment / "half").exists()
    assert missing(run) == []


def test_another_environment_only_needs_a_link(host, run):
    run()
    (host.release / "venv").unlink()
    (host.release / "venv").symlink_to("../../environments/of-the-old-python")
    assert missing(run) == ["link"]
    host.pack()
    host.commands.clear()
    run()
    # And its byte code is for the Python of the environment.
    assert host.commands == ["tar", "compileall", "compileall"]
    assert missing(run) == []


def test_an_environment_of_a_former_role_names_the_version_of_its_python(host, run, monkeypatch):
    program = host.home.parent / "python3"
    program.symlink_to("python3.11")
    (host.home.parent / "python3.11").touch()
    monkeypatch.setattr(virtualenv, "HOST_PYTHON", (str(program), "-I"))
    run()
    link = host.environment / "bin" / "python3"
    link.symlink_to(program)
    assert missing(run) == ["interpreter"]
    host.pack()
    host.commands.clear()
    run()
    assert (host.commands, missing(run)) == (["tar"], [])
    assert link.readlink() == host.home.parent / "python3.11"
    # A wheel's scripts go there too.
    link.unlink()
    link.touch()
    assert missing(run) == []


@pytest.mark.parametrize("command", ["tar", "venv", "install"])
def test_a_command_that_fails_leaves_nothing_half_written(host, run, command):
    host.fails = command
    with pytest.raises(run.failed, match=f"{command} does not work today"):
        run()
    assert list(host.environment.parent.iterdir()) == []
    assert list(host.release.parent.iterdir()) == []
    host.fails = None
    run()
    assert missing(run) == []


def test_a_disk_that_is_full_is_named(host, run, monkeypatch):
    def fail(path, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Path, "rename", fail)
    with pytest.raises(run.failed, match=r"could not be written: .*No space left on device"):
        run()
    assert not host.release.exists()


@pytest.mark.parametrize("there", [(), ("environment",), ("environment", "release")])
def test_check_mode_says_what_the_migration_would_do(host, run, there):
    if "environment" in there:
        run()
    if there == ("environment",):
        shutil.rmtree(host.release)
    host.commands.clear()
    result = run(
        archive="release" not in there,
        check=True,
        migrate_check=["migrate", "--check", "all of it"],
        process=evaluate("__aroundtheworld_transient", variables_for({})),
        secrets=["cookie_secret"],
    )
    assert result["migration"] == "two tables more"
    assert "two tables more" in result["diff"]["after"]
    assert {"app", "runner"} <= {*host.seen}
    options, command = host.started[: host.started.index("--")], host.started[-4:]
    assert command == ["/usr/bin/env", "migrate", "--check", "all of it"]
    unit = next(option[7:] for option in options if option.startswith("--unit="))
    environment = host.environment if "environment" in there else host.place / "environment"
    places = {
        promises.RELEASE: str(host.release if "release" in there else host.place),
        promises.VIRTUAL_ENVIRONMENT: f"{environment}/bin",
        "%d": f"/run/credentials/{unit}.service",
    }
    promised = (promises.RELEASES | promises.PROCESS | promises.SANDBOX).values()
    expected = [word for promise in promised for word in promises.properties(promise, places)]
    # A secret may be new, and then not on the host yet.
    expected.append("--property=SetCredential=cookie_secret:not written yet")
    found = [option for option in options if option.startswith("--property")]
    assert sorted(found) == sorted(expected)
    assert missing(run) == [name for name in ("environment", "release") if name not in there]
    assert [path for path in host.release.parent.iterdir() if path.name.startswith(".")] == []


def test_a_release_that_cannot_say_what_its_migration_would_do_fails_the_dry_run(host, run):
    host.fails = "systemd-run"
    with pytest.raises(run.failed, match="cannot say what its migration would do, because `look`"):
        run(check=True, migrate_check=["look"])
    assert list(host.release.parent.iterdir()) == []


def test_check_mode_changes_nothing(host, run):
    assert run(check=True)["missing"] == ["environment", "release"]
    assert host.commands == []
    assert list(host.release.parent.iterdir()) == []
