"""What becomes of kept connections when nginx reads its configuration again."""

import asyncio
import contextlib
import socket
import time
from pathlib import Path

from bench.browsers import Choice, Site, tls_context
from tests import certificates
from tests.role.nginx.process import needs_nginx

pytestmark = needs_nginx

NAME = "shop.example"


def processes(host):
    """Returns the processes of nginx that serve, and those that only finish what they have."""
    children = Path("/proc", str(host.pid), "task", str(host.pid), "children").read_text().split()
    titles = {}
    for child in children:
        with contextlib.suppress(OSError):  # it has just ended
            titles[child] = Path("/proc", child, "cmdline").read_text()
    leaving = {child for child, title in titles.items() if "shutting down" in title}
    return titles.keys() - leaving, leaving


def accepted(port):
    """Returns how many connections to a port of this machine a process has taken (proc(5))."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        local.endswith(f":{port:04X}") and state == "01" and inode != "0"
        for _, local, _, state, *_, inode in (line[:10] for line in lines)
    )


def test_http2_that_begins_during_a_reload_soon_gets_the_new_configuration(make_site):
    # To HTTP/1.1 nginx then says that a response is the last one; to HTTP/2 it only does so for
    # other reasons, of which the connection's age is the soonest.
    made = make_site(neighbour="", tls={})
    file = made.host.etc / "sites-enabled" / "shop.conf"
    text = file.read_text()
    assert "keepalive_time 60s;" in text
    file.write_text(text.replace("keepalive_time 60s;", "keepalive_time 1s;"))

    async def until(good):
        deadline = time.monotonic() + 10
        while not good():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async def reload():
        before, _ = processes(made.host)
        made.host.nginx("-s", "reload")
        await until(lambda: processes(made.host)[0] and not processes(made.host)[0] & before)
        return before

    async def visit():
        await reload()
        place = Site(NAME, {"https": ("127.0.0.1", made.https_port)}, certificates.root().pem)
        plain = socket.create_connection(place.origins["https"], 10)
        await until(lambda: accepted(made.https_port))
        former = await reload()
        _, choice = await asyncio.get_running_loop().create_connection(
            lambda: Choice(NAME), sock=plain, ssl=tls_context(place, True), server_hostname=NAME
        )
        answers = []
        while choice.connection.open and len(answers) < 100:
            answers.append(await choice.connection.get("/"))
            await asyncio.sleep(0.05)
        assert {(each.protocol, each.status) for each in answers} == {("HTTP/2", "200")}
        assert len(answers) < 100
        await until(lambda: not former & processes(made.host)[1])

    asyncio.run(visit())
