"""What a release is made of, and how it and its environment come to be whole on a host."""

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import types
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils.aroundtheworld import virtualenv
from ansible.module_utils.aroundtheworld.layout import WHOLE

from aroundtheworld_controller import content as content_room
from aroundtheworld_controller import wheels
from aroundtheworld_controller.content import (
    RUNNER,
    app_files,
    content_id,
    describe_release,
    release_name,
)
from aroundtheworld_controller.lockfile import environment_for, lock_for, read_lock
from aroundtheworld_controller.variables import BadInputError
from tests.role_files import CHECKOUT, load_python

action = load_python("action_plugins/aroundtheworld_release.py")
module = load_python("library/aroundtheworld_release.py")

HASHES = ["sha256:" + digit * 64 for digit in "01"]

# --- Its content ----------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path):
    app = tmp_path / "app"
    for name in ("shop/__init__.py", "shop/web.py", "static/logo.svg", "run.sh"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(f"# {name}\n")
    return app


def content(app, exclude=()):
    return content_id({"app": (app, app_files(app, exclude))})


def test_the_same_content_is_the_same_release_wherever_and_whenever(app, tmp_path):
    before = content(app)
    os.utime(app / "run.sh", (1, 1))
    app.rename(tmp_path / "elsewhere")
    assert content(tmp_path / "elsewhere") == before
    assert len(before) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "shop" / "web.py").write_text("# other\n"),
        lambda app: (app / "shop" / "web.py").rename(app / "shop" / "site.py"),
        lambda app: (app / "new.py").touch(),
        lambda app: (app / "run.sh").unlink(),
    ],
    ids=["content", "name", "new file", "file gone"],
)
def test_other_content_is_another_release(app, change):
    before = content(app)
    change(app)
    assert content(app) != before


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o755, 0o777])
def test_the_id_does_not_depend_on_modes(app, mode):
    """A file system of Windows gives all files one mode, and a umask takes bits away."""
    before = content(app)
    for path in app.rglob("*.*"):
        path.chmod(mode)
    assert content(app) == before


def test_the_id_of_a_release_is_the_one_that_it_has_had(tmp_path):
    for name, text in {"run": "#!/bin/sh\n", "shop/web.py": "x = 1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert content(tmp_path) == "7c8ae210a4f0"  # as commit 9b2a007 had it, for a script of mode 755


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda app: None, ""),
        (lambda app: (app / "run.sh").write_text("another"), "were changed while the run went on"),
        (
            lambda app: (app / "run.sh").unlink(),
            r"run\.sh could be read when the run",
        ),
    ],
)
def test_what_is_deployed_is_what_the_id_stands_for(app, tmp_path, change, message):
    """An editor may have saved a file between the plan and the release."""
    files = app_files(app, [])
    trees = {"app": {"root": str(app), "files": [file.as_posix() for file in files]}}
    release = {"id": content_id({"app": (app, files)}), "trees": trees}
    change(app)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        if message:
            with pytest.raises(AnsibleActionFail, match=message):
                action.add_release(archive, release)
        else:
            action.add_release(archive, release)


@pytest.mark.parametrize(
    ("head", "program"),
    [
        (b"#!/bin/sh\n", True),
        (b"\x7fELF\x02", True),
        (b"import os\n", False),
        (b"", False),
        (b" #!", False),
    ],
)
def test_what_begins_as_a_program_is_executable_on_the_host(tmp_path, head, program):
    (tmp_path / "file").write_bytes(head)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_tree(archive, "app", tmp_path, ["file"])
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getmember("app/file").mode == (0o755 if program else 0o644)


def test_on_macos_an_accent_has_one_name():
    composed, decomposed = "caf\u00e9.html", "cafe\u0301.html"
    assert release_name(decomposed, "darwin") == composed
    assert release_name(decomposed, "linux") == decomposed


# --- What can be in no release --------------------------------------------------------------------


def refused_files(app, exclude=()):
    with pytest.raises(BadInputError) as caught:
        app_files(app, exclude)
    return caught.value.problems


@pytest.mark.parametrize("target", [".", "..", "/", "shop", "../static/../shop", "up"])
def test_a_link_in_a_circle_is_refused_with_its_path(app, target):
    (app / "shop" / "up").symlink_to(target if target != "shop" else "../shop")
    (problem,) = refused_files(app)
    assert problem.startswith(f"aroundtheworld_app_dir: '{app}/shop/up' is a link in a circle")
    assert problem.endswith("remove it, or name it in aroundtheworld_app_exclude.")
    assert app_files(app, ["up"])


def test_two_directories_that_lead_to_each_other_are_refused(app):
    (app / "shop" / "other").symlink_to("../static")
    (app / "static" / "other").symlink_to("../shop")
    assert {problem.split("'")[1] for problem in refused_files(app)} == {
        f"{app}/shop/other/other",
        f"{app}/static/other/other",
    }


def test_what_is_no_file_is_refused_and_not_read(app):
    os.mkfifo(app / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(app)
        listening.bind("gunicorn.sock")
        os.chdir(before)
        (app / "null").symlink_to("/dev/null")
        (app / "gone").symlink_to("nowhere")
        problems = refused_files(app)
    assert [problem.split("'")[1] for problem in problems] == [
        f"{app}/{name}" for name in ("gone", "gunicorn.sock", "null", "pipe")
    ]
    assert "is a link to 'nowhere', which is not there" in problems[0]
    assert "is not a file, directory or link, but a socket, pipe or device" in problems[1]
    assert app_files(app, ["gone", "*.sock", "null", "pipe"])


def test_a_name_that_is_not_utf8_is_refused(app):
    Path(os.fsdecode(os.fsencode(app) + b"/caf\xe9")).mkdir()
    (problem,) = refused_files(app)
    assert "has a name that is not UTF-8" in problem
    problem.encode()  # so it can be printed


def test_more_files_than_a_release_may_have_are_refused(app, monkeypatch):
    monkeypatch.setattr(content_room, "MOST_FILES", 2)
    (problem,) = refused_files(app)
    assert "is one file more than a release may have (2)" in problem


def test_what_git_lfs_put_in_place_of_a_file_is_refused(app):
    (app / "requirements.txt").touch()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    (app / "static" / "photo.jpg").write_text(pointer)
    variables = {
        "aroundtheworld_app_dir": str(app),
        "aroundtheworld_make_app": "shop.web:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": [],
        "aroundtheworld_static": [],
    }
    with pytest.raises(BadInputError, match=r"static/photo\.jpg' is not the file itself, but what"):
        describe_release(variables)
    variables["aroundtheworld_app_exclude"] = ["*.jpg"]
    assert describe_release(variables)[0]["id"]


def test_excluded_names_are_in_no_release(app):
    exclude = [".*", "__pycache__", "*.pyc", "tests"]
    before = content(app, exclude)
    for name in (".git/config", "shop/__pycache__/web.pyc", "shop/a.pyc", "tests/test.py", ".env"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()
    assert content(app, exclude) == before
    assert content(app) != before


def test_what_links_lead_to_is_in_the_release(app, tmp_path):
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "style.css").touch()
    (app / "static" / "built").symlink_to(tmp_path / "built")
    assert "static/built/style.css" in [str(file) for file in app_files(app, [])]


def test_the_runners_links_to_the_roles_modules_are_files_in_a_release(tmp_path):
    """Root imports nothing of a release, so the modules that both use come from two places."""
    names = ["bounded_http.py", "crashes.py", "percentiles.py"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_tree(archive, "runner", RUNNER, [f"aroundtheworld_runner/{n}" for n in names])
    with tarfile.open(tmp_path / "a.tar") as archive:
        files = {Path(entry.name).name: archive.extractfile(entry).read() for entry in archive}
    modules = CHECKOUT / "roles" / "aroundtheworld" / "module_utils" / "aroundtheworld"
    assert files == {name: (modules / name).read_bytes() for name in names}


def test_the_games_own_release_can_be_described():
    variables = {
        "aroundtheworld_app_dir": str(CHECKOUT / "app"),
        "aroundtheworld_make_app": "aroundtheworld.app:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": ["__pycache__", "tests"],
        "aroundtheworld_static": [],
    }
    release, requirements = describe_release(variables)
    assert "aroundtheworld/app.py" in release["trees"]["app"]["files"]
    assert "aroundtheworld_runner/__main__.py" in release["trees"]["runner"]["files"]
    assert "tornado" in [requirement["name"] for requirement in requirements]
    assert all(requirement["hashes"] for requirement in requirements)


# --- Its lock -------------------------------------------------------------------------------------

LOCK = """\
# made by uv
greenlet==3.2 ; python_full_version < '3.13' \\
    --hash=sha256:{0}
tornado==6.5.2 \\
    --hash=sha256:{1} \\
    --hash=sha256:{0}
    # via -r requirements.in
colorama==0.4.6 ; sys_platform == 'win32' --hash=sha256:{0}
uvloop[dev]==0.21 --hash=sha256:{1}
""".format("0" * 64, "1" * 64)


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(LOCK)
    return read_lock(path)


def markers(version):
    return {
        "python_version": version,
        "python_full_version": f"{version}.2",
        "sys_platform": "linux",
    }


def test_a_lock_is_read_with_markers_and_hashes(requirements):
    assert requirements[1] == {
        "name": "tornado",
        "version": "6.5.2",
        "marker": "",
        "hashes": HASHES,
    }
    assert requirements[0]["marker"] == 'python_full_version < "3.13"'
    assert [requirement["name"] for requirement in requirements] == [
        "greenlet",
        "tornado",
        "colorama",
        "uvloop",
    ]


def test_a_lock_from_another_system_is_read_or_refused_in_a_sentence(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_bytes(b"\xef\xbb\xbf" + LOCK.replace("\n", "\r\n").encode())
    assert [requirement["name"] for requirement in read_lock(path)][:2] == ["greenlet", "tornado"]
    path.write_bytes(LOCK.encode("utf-16"))
    with pytest.raises(
        BadInputError, match=r"aroundtheworld_requirements: requirements\.txt in .*"
    ):
        read_lock(path)


def test_markers_are_decided_for_the_hosts_python(requirements):
    assert lock_for(requirements, markers("3.11")).splitlines() == [
        f"greenlet==3.2 --hash={HASHES[0]}",
        f"tornado==6.5.2 --hash={HASHES[0]} --hash={HASHES[1]}",
        f"uvloop==0.21 --hash={HASHES[1]}",
    ]
    assert "greenlet" not in lock_for(requirements, markers("3.13"))


PYTHON = {
    "version": "3.11",
    "implementation": "cp",
    "platform": "x86_64-glibc2.36",
    "machine": "x86_64",
    "libc_version": "2.36",
    "markers": markers("3.11"),
}


def test_an_environment_is_named_by_its_lock_and_its_python(requirements):
    one = environment_for(requirements, PYTHON)
    assert one == environment_for(list(reversed(requirements)), PYTHON)
    others = [
        environment_for(requirements[1:], PYTHON),
        environment_for(requirements, PYTHON | {"version": "3.13"}),
        environment_for(requirements, PYTHON | {"platform": "aarch64-glibc2.36"}),
    ]
    assert len({one["id"], *(other["id"] for other in others)}) == 4


# --- Wheels, on the controller --------------------------------------------------------------------


def test_wheels_for_the_hosts_c_library_or_an_older_one_will_do():
    tags = wheels.platforms(PYTHON)
    assert tags[0] == "manylinux_2_36_x86_64"
    assert "manylinux_2_17_x86_64" in tags
    assert "manylinux2014_x86_64" in tags
    assert "manylinux_2_37_x86_64" not in tags
    assert all(
        tag.endswith("_aarch64") for tag in wheels.platforms(PYTHON | {"machine": "aarch64"})
    )


def test_wheels_are_asked_for_by_hash_and_for_the_hosts_python(tmp_path):
    command = wheels.download_command(["pip"], tmp_path / "lock", tmp_path / "into", PYTHON)
    for option in ("--require-hashes", "--only-binary=:all:", "--no-deps"):
        assert option in command
    options = list(itertools.pairwise(command))
    assert ("--python-version", "3.11.2") in options
    assert [abi for name, abi in options if name == "--abi"] == ["cp311", "abi3", "none"]
    assert ("--platform", "manylinux_2_36_x86_64") in options
    assert ("--requirement", str(tmp_path / "lock")) in options


ENVIRONMENT = {"id": "ba9876543210", "lock": f"tornado==6.5.2 --hash={HASHES[0]}\n"}


@pytest.fixture
def pip(monkeypatch):
    """Stands for pip: makes one wheel, slowly, or fails where `fails` says so."""
    pip = types.SimpleNamespace(calls=[], fails="")

    def run(command, **_):
        pip.calls.append(command)
        into = command[command.index("--dest") + 1]
        (Path(into) / "tornado.whl").touch()
        threading.Event().wait(0.05)
        return types.SimpleNamespace(returncode=bool(pip.fails), stderr=pip.fails)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    monkeypatch.setattr(wheels, "find_pip", lambda: ["pip"])
    return pip


def test_wheels_are_fetched_once(pip, tmp_path):
    fetched = wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path)
    assert [wheel.name for wheel in fetched.iterdir()] == ["tornado.whl"]
    assert wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path) == fetched
    assert len(pip.calls) == 1


def test_hosts_that_want_the_same_wheels_at_once_share_one_fetch(pip, tmp_path):
    threads = [
        threading.Thread(target=wheels.fetch_wheels, args=(ENVIRONMENT, PYTHON, tmp_path))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip.calls) == 1


def test_wheels_that_cannot_be_had_are_explained_and_not_kept(pip, tmp_path):
    pip.fails = "\n".join([*(f"line {number}" for number in range(20)), "No matching distribution"])
    with pytest.raises(AnsibleActionFail) as caught:
        wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path)
    message = str(caught.value)
    assert "aroundtheworld_requirements: the locked wheels could not be fetched" in message
    assert "for Python 3.11 on x86_64-glibc2.36" in message
    assert "No matching distribution" in message
    assert "line 1\n" not in message
    pip.fails = ""
    assert wheels.fetch_wheels(ENVIRONMENT, PYTHON, tmp_path).is_dir()
    assert len(pip.calls) == 2


def test_an_archive_belongs_to_root_and_nobody_else_may_write(app, tmp_path):
    (app / "run.sh").write_text("#!/bin/sh\n")
    (app / "run.sh").chmod(0o775)
    (app / "shop" / "web.py").chmod(0o666)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        action.add_tree(archive, "app", app, ["run.sh", "shop/web.py"])
    with tarfile.open(tmp_path / "a.tar") as archive:
        entries = {entry.name: entry for entry in archive}
    assert {name: oct(entry.mode) for name, entry in entries.items()} == {
        "app/run.sh": "0o755",
        "app/shop/web.py": "0o644",
    }
    assert {(entry.uid, entry.gid, entry.uname) for entry in entries.values()} == {(0, 0, "root")}


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert action.cache_directory() == tmp_path / "aroundtheworld"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert action.cache_directory() == tmp_path / ".cache" / "aroundtheworld"


# --- On the host ----------------------------------------------------------------------------------

RELEASE = "0123456789ab"


class Host:
    """A home directory, and commands of which only `tar` is real."""

    def __init__(self, directory):
        self.home = directory / "home"
        self.environment = self.home / "environments" / ENVIRONMENT["id"]
        self.release = self.home / "releases" / RELEASE
        for made in (self.environment.parent, self.release.parent):
            made.mkdir(parents=True)
        self.commands = []
        self.fails = None
        self.archive = directory / "release.tar.gz"

    def run_command(self, command):
        verbs = ("systemd-run", "tar", "venv", "install", "compileall")
        verb = next(one for one in verbs if one in command)
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
            self.seen = sorted(path.name for path in Path(found[1]).iterdir())
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
            module, home=str(host.home), release=RELEASE, environment=ENVIRONMENT["id"], **more
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
    assert manifest == {"release": RELEASE, "environment": ENVIRONMENT["id"]}


def test_workers_can_read_the_release_whatever_the_umask(host, run):
    before = os.umask(0o077)
    try:
        run()
    finally:
        os.umask(before)
    assert host.release.stat().st_mode & 0o777 == 0o755
    assert (host.release / "manifest.json").stat().st_mode & 0o777 == 0o644
    assert (host.release / "app").stat().st_mode & 0o777 == 0o755


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
    assert host.commands == ["tar"]
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
        process="User=tornado\n# Why.\n\nEnvironment=S_FILE=%d/s\n",
    )
    assert result["migration"] == "two tables more"
    assert "two tables more" in result["diff"]["after"]
    assert {"app", "runner"} <= {*host.seen}
    options, command = host.started[: host.started.index("--")], host.started[-4:]
    assert command == ["/usr/bin/env", "migrate", "--check", "all of it"]
    unit = next(one.removeprefix("--unit=") for one in options if one.startswith("--unit="))
    assert "--property=User=tornado" in options
    assert f"--property=Environment=S_FILE=/run/credentials/{unit}.service/s" in options
    assert not any("Why" in one for one in options)
    assert missing(run) == [one for one in ("environment", "release") if one not in there]
    assert [path for path in host.release.parent.iterdir() if path.name.startswith(".")] == []


def test_a_secret_that_is_not_written_yet_does_not_keep_the_migration_from_being_looked_at(
    host, run, tmp_path
):
    (tmp_path / "old").touch()
    names = {"old": tmp_path / "old", "new": tmp_path / "new"}
    process = "User=tornado\n" + "".join(
        f"LoadCredential={name}:{path}\nEnvironment={name.upper()}_FILE=%d/{name}\n"
        for name, path in names.items()
    )
    run(check=True, migrate_check=["look"], process=process)
    started = " ".join(host.started)
    assert f"LoadCredential=old:{tmp_path}/old" in started
    assert "OLD_FILE=" in started
    assert "NEW_FILE=" not in started
    assert "new" not in started.replace("new-", "")


def test_a_release_that_cannot_say_what_its_migration_would_do_fails_the_dry_run(host, run):
    host.fails = "systemd-run"
    with pytest.raises(run.failed, match="cannot say what its migration would do, because `look`"):
        run(check=True, migrate_check=["look"])
    assert list(host.release.parent.iterdir()) == []


def test_check_mode_changes_nothing(host, run):
    assert run(check=True)["missing"] == ["environment", "release"]
    assert host.commands == []
    assert list(host.release.parent.iterdir()) == []
