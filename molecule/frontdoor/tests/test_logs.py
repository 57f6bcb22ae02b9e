"""The logs: which request a line is about, and that no line is lost when they are rotated."""

import json
import re
import secrets
import time

import pytest

from tests.waiting import until

LOGS = "/var/log/nginx/aroundtheworld"
ENTRY = "/etc/logrotate.d/aroundtheworld"
# A visitor who sends these bytes in a URI and headers; what comes back does not matter.
SEND = r"""
import socket
HEAD = b"GET /MARK HTTP/1.1\r\nHost: www.example.org\r\n"
for text in (b"\xff", b"\xed\xa0\x80", b"\xc3\xa9", b"\x01\x1f\"\\", bytes(range(128, 256))):
    for request in (HEAD.replace(b"MARK", b"MARK%b" % text),
                    HEAD + b"User-Agent: %b\r\n" % text,
                    HEAD + b"Referer: %b\r\n" % text):
        with socket.create_connection(("127.0.0.1", 80), 5) as connection:
            connection.sendall(request + b"\r\n")
            connection.recv(4096)
"""


@pytest.fixture(scope="module")
def entries(host):
    """Return a function that reads what the access log has of a text, once it has so much."""

    def read(text, count=1):
        search = f"cd {LOGS} && zcat --force access.log* | grep --text --fixed-strings {text}"
        lines = until(
            lambda: host.run(search).stdout_bytes.splitlines(), lambda found: len(found) >= count
        )
        return [json.loads(line.decode()) for line in lines]

    return read


def test_one_id_is_in_all_logs_of_a_request(host, get, entries, worker_statuses):
    mark = secrets.token_hex(8)
    response = get(f"/nowhere/{mark}")
    assert response.status == 404
    (entry,) = entries(mark)
    port = int(entry["upstream"].rpartition(":")[2])
    assert (entry["pool"], entry["host"], entry["status"]) == ("public", "www.example.org", 404)
    assert entry["release"] == worker_statuses()[port]["release"]
    assert not [name for name in response.headers if "release" in name.lower()]
    journal = f"journalctl --output=cat --unit=aroundtheworld@{port} --grep={entry['request_id']}"
    line = until(lambda: host.run(journal).stdout.strip())
    # Both have as much of an address as the site's variables say.
    assert re.fullmatch(r"[0-9.]+\.0", entry["client"])
    summary = f"404 GET /nowhere/{mark} ({entry['client']}) "
    assert line.startswith(f"tornado.access [{entry['request_id']}]: {summary}")


def test_every_line_is_json_whatever_a_visitor_sends(host, entries):
    mark = secrets.token_hex(8)
    host.check_output("python3 -c %s", SEND.replace("MARK", mark))
    found = entries(mark, 10)  # nginx itself refuses some of the URIs, and does not log these
    assert "\N{REPLACEMENT CHARACTER}" in {entry["user_agent"] for entry in found}
    assert {entry["pool"] for entry in found} <= {"public", ""}


def test_logrotate_finds_each_log_once(host):
    output = host.run("logrotate --debug /etc/logrotate.conf 2>&1")
    assert output.rc == 0
    assert not re.search("^error:|duplicate|insecure", output.stdout, re.MULTILINE)
    for log in ("access.log", "error.log"):
        assert output.stdout.count(f"considering log {LOGS}/{log}\n") == 1


def test_no_line_is_lost_when_the_logs_are_rotated(host, http, visited, entries):
    mark = secrets.token_hex(8)
    before = host.check_output(f"cat /run/nginx.pid; ls {LOGS}").split()
    headers = {"Host": "www.example.org"}
    with visited(http, f"/nowhere/{mark}", rate=100, headers=headers) as outcomes:
        for _ in range(2):
            time.sleep(1)
            host.check_output(f"logrotate --force {ENTRY}")
        time.sleep(1)
    assert set(outcomes) == {"404"}
    sent = sum(outcomes.values())
    ids = [entry["request_id"] for entry in entries(mark, sent)]
    assert len(ids) == len(set(ids)) == sent
    after = host.check_output(f"cat /run/nginx.pid; ls {LOGS}").split()
    assert after[0] == before[0]
    assert {"access.log", "access.log.1", "access.log.2.gz"} <= set(after)
    # Each file has a part of them, and nobody else on the host may read it.
    for name in ("access.log", "access.log.1", "access.log.2.gz"):
        assert host.run(f"zcat --force {LOGS}/{name} | grep --quiet {mark}").rc == 0
        assert host.file(f"{LOGS}/{name}").mode & 0o007 == 0
        assert host.file(f"{LOGS}/{name}").group == "adm"
