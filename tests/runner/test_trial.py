"""A command is tried with a socket as systemd passes it, or with a port of its own."""

import os
import subprocess
import sys

import pytest

from tests.runner.harness import RUNNER

# Answers with the status of its argument, on systemd's socket or on the port of its arguments.
SERVE = """
import http.server, os, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("request for Host", self.headers["Host"], flush=True)
        self.send_response(int(sys.argv[1]) if self.path == "/health?x=1" else 200)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
if len(sys.argv) > 2:
    server.server_address = (sys.argv[2], int(sys.argv[3]))
    server.server_bind()
    server.server_activate()
else:
    assert os.environ["LISTEN_FDS"] == "1" and os.environ["LISTEN_PID"] == str(os.getpid())
    server.socket = socket.socket(fileno=3)
print("serving as", os.getpid(), flush=True)
server.serve_forever()
"""


def trial(*command, options=(), **environment):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "aroundtheworld_runner.trial", "--pool", "admin"),
            *("--path", "/health?x=1", "--start-timeout", "5", *options, "--", *command),
        ],
        env={**os.environ, "PYTHONPATH": str(RUNNER), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def serve(*arguments):
    return [sys.executable, "-c", SERVE, *map(str, arguments)]


@pytest.mark.parametrize(("status", "allowed"), [(200, ""), (302, ""), (404, "2xx,404")])
def test_a_command_that_answers_on_the_passed_socket_passes_and_is_stopped(status, allowed):
    code, output, errors = trial(*serve(status), AROUNDTHEWORLD_HEALTH_STATUS=allowed)
    assert (code, errors) == (0, "")
    assert "the command of pool admin answers" in output
    process = int(output.split("serving as ")[1].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


# As Tornado has it: it accepts until nobody is left, and would wait there if the socket blocked.
EVENT_LOOP = """
import asyncio, os, socket, tornado.httpserver, tornado.web
class Handler(tornado.web.RequestHandler):
    def get(self):
        print({name: os.environ[f"AROUNDTHEWORLD_{name}"] for name in ("POOL", "PORT")}, flush=True)
        print("names", os.environ["LISTEN_FDNAMES"].split(":"), flush=True)
async def main():
    passed = socket.socket(fileno=3)
    print("passed", passed.getsockname()[1], flush=True)
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/health", Handler)]))
    server.add_socket(passed)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_a_command_has_in_its_trial_what_it_has_as_a_worker():
    code, output, errors = trial(sys.executable, "-c", EVENT_LOOP)
    assert (code, errors) == (0, "")
    port = output.split("passed ")[1].split()[0]
    assert str({"POOL": "admin", "PORT": port}) in output
    assert "names ['trial']" in output


def test_a_command_that_binds_gets_a_free_port():
    code, output, errors = trial(*serve(200, "{address}", "{port}"), options=["--binds"])
    assert (code, errors) == (0, "")
    assert "answers" in output


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["sh", "-c", "echo no such app >&2; exit 3"], "it ended with status 3 instead of serving"),
        (["sh", "-c", "kill -9 $$"], "it ended with signal 9 instead of serving"),
        (["/usr/bin/env", "no-such-command"], "it ended with status 127 instead of serving"),
    ],
)
def test_a_command_that_cannot_serve_is_named_with_its_pool(command, problem):
    code, _, errors = trial(*command)
    assert code == 1
    assert errors.endswith(f"The command of pool admin cannot be run: {problem}.\n")


@pytest.mark.parametrize("options", [[], ["--binds"]])
def test_a_command_that_never_answers_fails(options):
    timing = ["--answer-timeout", "0.2", "--start-timeout", "1"]
    code, _, errors = trial("sleep", "60", options=[*options, *timing])
    assert code == 1
    assert "pool admin cannot be run: it did not answer /health?x=1" in errors
    assert "within 1 s." in errors


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_command_that_answers_with_errors_is_named_with_what_is_allowed(status):
    code, _, errors = trial(
        *serve(status),
        AROUNDTHEWORLD_HEALTH_HOST="shop.example.org",
        AROUNDTHEWORLD_HEALTH_SCHEME="https",
    )
    assert code == 1
    assert (
        f"it answers /health?x=1 with status {status}, requested as "
        "https://shop.example.org/health?x=1; allowed: 2xx, 3xx. " in errors
    )


def test_a_command_gets_the_request_of_a_visitor():
    code, output, _ = trial(*serve(200), AROUNDTHEWORLD_HEALTH_HOST="shop.example.org:8080")
    assert code == 0
    assert "request for Host shop.example.org:8080" in output


def test_a_command_that_answers_byte_by_byte_fails():
    drip = """
import socket, time
listening = socket.socket(fileno=3)
listening.setblocking(True)
while True:
    connection = listening.accept()[0]
    try:
        for letter in b"HTTP/1.1 200 OK\\r\\n" + b"X: y\\r\\n" * 1000:
            connection.sendall(bytes([letter]))
            time.sleep(0.02)
    except OSError:
        pass
"""
    options = ("--start-timeout", "1", "--answer-timeout", "0.5")
    code, _, errors = trial(sys.executable, "-c", drip, options=options)
    assert code == 1
    assert "no whole answer within 0." in errors
