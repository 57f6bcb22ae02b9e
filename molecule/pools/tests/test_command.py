"""A command that binds its port itself, which has no socket of systemd's."""

import pytest

pytestmark = pytest.mark.once


def test_it_replaces_another_pool_and_leaves_nothing_of_it(have, deploy, units, visitor):
    have("flask")
    assert deploy("command").returncode == 0
    assert visitor.ask("/static/book.css")[0] == 200
    assert visitor.ask("/desk")[0] == 404
    services = {f"aroundtheworld@{port}.service" for port in (10001, 10002, 10005, 10006)}
    sockets = {f"aroundtheworld@{port}.socket" for port in (10001, 10002)}
    assert units.names() == services | sockets
    assert deploy("command").changed == 0


@pytest.fixture
def command(have):
    """Have the example on the host as it is."""
    have("command")


@pytest.mark.usefixtures("command")
def test_a_worker_after_the_other_is_restarted_while_visitors_come(http, deploy, units, visited):
    before = units.pids()
    with visited(http, "/", "/static/book.css", "/static/book.css") as outcomes:
        assert deploy("command", release="third").returncode == 0
    assert outcomes.keys() == {"200"}
    assert outcomes.total() > 100
    assert not set(before.values()) & set(units.pids().values())


@pytest.mark.usefixtures("command")
def test_a_pool_goes_from_the_port_to_the_socket_and_back(host, http, deploy, units, visited):
    takes = [
        {"name": "public", "ports": [10001, 10002], "paths": ["/"]},
        {
            "name": "files",
            "ports": [10005, 10006],
            "paths": ["/static"],
            "command": "gunicorn --no-control-socket guestbook.desk:app",
            "health_path": "/desk/health",
        },
    ]
    for arguments, sockets in (({"pools": takes}, 4), ({}, 2)):
        with visited(http, "/", "/static/x") as outcomes:
            run = deploy("command", **arguments)
        assert run.returncode == 0, run.output
        assert outcomes.keys() == {"200", "404"}
        assert len([name for name in units.names() if name.endswith(".socket")]) == sockets
        assert deploy("command", **arguments).changed == 0
    assert set(units.pids()) == {10001, 10002, 10005, 10006}
