"""What a worker says of itself, through its socket or the note that was made for it."""

import http.server
import json
import os
import socket
import socketserver
import tempfile
import threading
from pathlib import Path

import pytest

from tests.role_files import load_python

systemd = load_python("module_utils/aroundtheworld/systemd.py")
NOTED = {"release": "4b1c", "config": "91ab", "pool": "flask"}


@pytest.fixture
def control():
    with tempfile.TemporaryDirectory(prefix="role-") as directory:
        yield Path(directory, "control.sock")


@pytest.fixture
def answered(control):
    """Has somebody answer on the socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"release": "2f6c", "state": "ready"}).encode())

        def log_message(self, *_):
            pass

    with socketserver.ThreadingUnixStreamServer(str(control), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def note(control, text="4b1c 91ab flask\n"):
    control.with_name("runs").write_text(text)


def test_a_worker_says_it_on_its_socket(control, answered):
    assert systemd.health(control) == {"release": "2f6c", "state": "ready"}


def test_of_a_command_it_is_noted(control):
    note(control)
    assert systemd.health(control) == NOTED


@pytest.mark.parametrize("disguise", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_note_that_is_no_file_holds_nobody_up(control, disguise):
    disguise(control.with_name("runs"))
    assert systemd.health(control) == {}


def test_a_socket_that_is_left_from_a_worker_hides_no_note(control):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(control))
    note(control)
    assert systemd.health(control) == NOTED


def test_a_note_that_is_left_from_a_command_hides_no_worker(control, answered):
    note(control)
    assert systemd.health(control)["release"] == "2f6c"


@pytest.mark.parametrize("text", [None, "", "4b1c"])
def test_who_says_nothing_is_not_known(control, text):
    if text is not None:
        note(control, text)
    assert systemd.health(control) == {}
