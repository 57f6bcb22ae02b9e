"""The command line: what it refuses, and that it says why in a sentence."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import harness
import pytest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: MODULE:MAKE_APP"),
        (["sample"], "must look like package.module:make_app, not 'sample'"),
        (["sample:"], "must look like package.module:make_app, not 'sample:'"),
        (["sample:make_app()"], "not 'sample:make_app()'"),
        (["sample:make_app"], "there is no socket to serve: start the service by its systemd"),
        (["sample:make_app", "--address", "127.0.0.1"], "--address needs --port"),
        (["sample:make_app", "--port", "65536"], "a port from 1 to 65535"),
        (["sample:make_app", "--port", "http"], "not 'http'"),
        (["sample:make_app", "--linger", "-1"], "a number of seconds, 0 or more, not '-1'"),
        (["sample:make_app", "--drain-timeout", "inf"], "0 or more, not 'inf'"),
        (["sample:make_app", "--hold", "--port", "0"], "--hold needs --control"),
        (["sample:make_app", "--drain", "3"], "unrecognized arguments: --drain 3"),
    ],
)
def test_bad_arguments(arguments, sentence):
    ended = harness.run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith("aroundtheworld_runner: ")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_systemd_and_a_port_at_once_are_refused(start):
    worker = start("sample:make_app", "--port", "0")
    assert worker.wait() == 2
    assert "--port is for development" in worker.stderr()


def test_options_of_a_newer_role_are_ignored_and_named(start):
    """Or a release whose runner is older than the unit could not be gone back to."""
    worker = start("sample:make_app", "--drain-timeout", "5", "--from-the-future", "3", "--soon")
    worker.ready()
    assert "does not know it: --from-the-future 3 --soon" in worker.stderr()
    assert worker.health()[1]["state"] == "ready"


def test_a_port_that_is_taken_is_named(listening):
    port = listening.getsockname()[1]
    ended = harness.run("sample:make_app", "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"aroundtheworld_runner: cannot bind 127.0.0.1 port {port}: Address already in use\n"
    )


def test_check_passes_a_good_application_without_making_it():
    for factory in ("sample:make_app", "sample:make_trouble"):
        ended = harness.run(factory, "--check")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"{factory} can be imported\n"


@pytest.mark.parametrize(
    ("factory", "error"),
    [
        (
            "nowhere.app:make_app",
            "there is no module 'nowhere' (for 'make_app' of 'nowhere.app'); "
            "check the name and PYTHONPATH\n",
        ),
        (
            "sample.app:make_app",
            "there is no module 'sample.app' (for 'make_app' of "
            "'sample.app'); check the name and PYTHONPATH\n",
        ),
        ("sample:make_ap", "module 'sample' has no 'make_ap'; did you mean 'make_app'?\n"),
        ("sample:zzz", "module 'sample' has no 'zzz'\n"),
        (
            "sample:not_callable",
            "sample:not_callable must be a function that returns the "
            "application, but is of type str\n",
        ),
    ],
)
def test_check_names_what_is_missing(factory, error):
    ended = harness.run(factory, "--check")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"aroundtheworld_runner: {error}"


def test_check_ends_in_the_applications_own_line():
    ended = harness.run("broken:make_app", "--check")
    assert ended.returncode == 1
    sentence, *tail = ended.stderr.splitlines()
    assert sentence.startswith(
        "aroundtheworld_runner: importing 'broken' failed: json.decoder.JSONDecodeError: Expecting"
    )
    frames = [line for line in tail if line.startswith("  File ")]
    assert [re.sub(r".*, line", "line", frame) for frame in frames] == [
        "line 10, in <module>",
        "line 7, in read_settings",
    ]
    assert all("/apps/broken.py" in frame for frame in frames)


def test_check_tells_a_missing_dependency_from_a_missing_application():
    ended = harness.run("lacks_a_dependency:make_app", "--check")
    assert ended.returncode == 1
    assert (
        "importing 'lacks_a_dependency' failed: "
        "ModuleNotFoundError: No module named 'no_such_package'" in ended.stderr
    )


def test_a_port_for_development():
    process = subprocess.Popen(
        [sys.executable, "-m", "aroundtheworld_runner", "sample:make_app", "--port", "0"],
        env=harness.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        line = process.stderr.readline()
        try:
            address = re.search(r"serving on (127\.0\.0\.1:\d+)$", line.strip())
            assert address, line
            with urllib.request.urlopen(f"http://{address[1]}/", timeout=5) as response:
                assert response.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 0
        finally:
            process.kill()


def test_another_address_for_development():
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        port = sock.getsockname()[1]
        sock.listen()
        ended = harness.run("sample:make_app", "--port", str(port), "--address", "127.0.0.2")
    assert ended.returncode == 1
    assert f"cannot bind 127.0.0.2 port {port}" in ended.stderr
