from __future__ import annotations

import dataclasses
import re
import socket
import threading

import pytest
import sqlalchemy as sa

from aroundtheworld import workers
from aroundtheworld.config import Config
from aroundtheworld.db import schema

HEALTH = (
    b'{"state": "ready", "pool": "admin", "port": 10004, "release": "abc", "connections": 2,'
    b' "requests_in_flight": 1, "requests_total": 77, "busy_seconds": 12.3,'
    b' "busy_in": "AdminReport.get", "uptime_seconds": 5.0}'
)


def answer(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def directory(tmp_path):
    """Where workers' sockets are; short, as such a path must be."""
    return tmp_path


@pytest.fixture
def add_worker(directory):
    """A function that adds a worker which answers with these bytes; with None, never."""
    listeners = []

    def add(port, response):
        (directory / port).mkdir()
        listener = socket.socket(socket.AF_UNIX)
        listeners.append(listener)
        listener.bind(str(directory / port / "control.sock"))
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(response)

        if response is not None:
            threading.Thread(target=serve, daemon=True).start()

    yield add
    for listener in listeners:
        listener.close()


def test_every_worker_says_what_it_does_or_why_not(add_worker, directory, monkeypatch):
    monkeypatch.setattr(workers, "TIMEOUT_SECONDS", 0.3)
    add_worker("10001", answer(HEALTH))
    add_worker("10002", None)
    add_worker("10003", b"nonsense\r\n\r\n")
    add_worker("10004", answer(b"[1]"))
    add_worker("10005", answer(b"{"))
    add_worker("10006", b"")
    (directory / "10007").mkdir()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(directory / "10007" / "control.sock"))
    found = {worker.name: worker for worker in workers.ask(directory)}
    assert found["10001"].health["busy_in"] == "AdminReport.get"
    assert found["10002"].problem == "no answer within 0.3 s"
    for name in ("10003", "10004", "10005"):
        assert found[name].problem == "an answer that is none"
    assert found["10006"].problem
    assert found["10007"].problem == "Connection refused"
    assert not any(worker.health for name, worker in found.items() if name != "10001")


def test_where_no_workers_are_there_are_none(directory):
    assert workers.ask(directory) == []
    assert workers.ask(directory / "nowhere") == []


def test_the_page_shows_them(site, admin, add_worker, directory):
    assert "<code>WORKERS_DIRECTORY</code> is not set" in admin.page("/admin/workers")
    site.app.config = dataclasses.replace(site.app.config, workers=directory)
    assert "s socket in <code>" in admin.page("/admin/workers")
    add_worker("10004", answer(HEALTH))
    add_worker("10005", b"")
    page = admin.page("/admin/workers")
    assert "busy for 12.3 s in AdminReport.get" in page
    assert ">77</td>" in page
    assert page.count('<th scope="row">') == 2


def test_the_environment_says_where_the_sockets_are():
    variables = {"DATABASE_URL": "sqlite://", "COOKIE_SECRET": "x" * 32}
    assert Config.from_environment(variables).workers is None
    variables["WORKERS_DIRECTORY"] = "/run/game"
    assert str(Config.from_environment(variables).workers) == "/run/game"


def test_players_are_listed_with_what_they_did(site, admin, browser):
    browser.play(lambda _: 0)
    page = admin.page("/admin/players")
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", page)
    assert len(rows) == 2
    assert rows[0].startswith("guest 2")
    assert '<td class="number">1</td>' in rows[0]
    assert rows[1].startswith('ada <span class="aside">administrator')


def test_players_are_found_by_name_and_paged(site, admin):
    names = [f"player-{number}" if number % 2 else None for number in range(60)]
    site.app.database.write(
        lambda c: c.execute(
            sa.insert(schema.players),
            [{"name": name, "password_hash": name and "!", "created_at": 1} for name in names],
        )
    )
    assert admin.page("/admin/players").count('<th scope="row">') == 50
    assert admin.page("/admin/players?page=2").count('<th scope="row">') == 11
    assert admin.page("/admin/players?text=ADA").count('<th scope="row">') == 1
    assert admin.page("/admin/players?text=%25").count('<th scope="row">') == 0
    assert admin.page("/admin/players?text=player-").count('<th scope="row">') > 10


@pytest.mark.parametrize("path", ["/admin/players", "/admin/workers", "/admin/questions",
                                  "/admin/questions.csv", "/admin/photos", "/admin/reports",
                                  "/admin/reports/1/0.svg", "/admin/questions/import"])  # fmt: skip
def test_visitors_see_only_the_login(browser, path):
    response = browser.get(path)
    assert response.code == 303
    assert response.headers["Location"].startswith("/admin/login?next=%2Fadmin")
    assert response.body == b""


@pytest.mark.parametrize("path", ["/admin/photos/remake", "/admin/photos/1/delete",
                                  "/admin/questions/new", "/admin/questions/1/delete",
                                  "/admin/reports", "/admin/photos"])  # fmt: skip
def test_visitors_can_send_nothing(browser, path):
    browser.post("/quiz")
    response = browser.post(path, kind="growth")
    assert response.code == 303
    assert response.headers["Location"].startswith("/admin/login?next=%2Fadmin")
