"""Slow connections hold half of what nginx takes, and other visitors do not notice.

Visitors are measured without slow connections and with them, in turn. A machine that has other
things to do measures again, and the medians of all rounds count.
"""

import contextlib
import itertools
import re
import statistics
from urllib.parse import urlsplit

import pytest

from bench.open_loop import OpenLoop, Request
from tests.matrix import chosen
from tests.waiting import until

NAME = "www.example.org"
RATE, COUNT = 60, 240  # requests a second, and how many
LIMIT = 1.5  # times the 99th percentile without slow connections
# The slow clients are on the host itself, and their own work takes some milliseconds at a time.
OWN_WORK = 0.010  # seconds
ROUNDS = 7  # at most
UNIT, SECONDS = "slow-connections", 240  # which end by themselves, whatever becomes of the test
# slowhttptest's options, every three seconds some bytes; and what nginx does with such a connection
# meanwhile. A response that is read slowly is the kernel's soon, where it fits into the socket.
MODES = {
    "headers": (f"-H -i 3 -x 8 -u http://{NAME}/", "reading"),
    "bodies": (f"-B -i 3 -x 8 -s 8192 -u http://{NAME}/login", "writing"),
    "reading": (f"-X -n 3 -z 32 -w 512 -y 1024 -u http://{NAME}/static/land.svg", "waiting"),
}
# bash alone, because it is asked again and again while others are measured.
STATUS = r"exec 3<>/dev/tcp/127.0.0.1/9146; printf 'GET /nginx HTTP/1.0\r\n\r\n' >&3; cat <&3"
NGINX = "/etc/nginx/nginx.conf"


@pytest.fixture
def connections(host):
    """Returns how many connections nginx takes: as many in each of its processes."""
    each = re.findall(r"worker_connections\s+(\d+);", host.check_output("nginx -T 2>/dev/null"))
    processes = host.check_output("pgrep --count --parent $(cat /run/nginx.pid)")
    return int(each[0]) * int(processes)


@pytest.fixture
def slow(host):
    """Returns a block in which so many connections of a mode are slow; it ends them."""

    def slow_ones(state):
        status = host.check_output("bash -c %s", STATUS)
        return int(re.search(rf"(?i){state}: (\d+)", status)[1])

    @contextlib.contextmanager
    def slow(mode, count):
        options, state = MODES[mode]
        host.check_output(
            f"systemd-run --quiet --collect --unit={UNIT} --property=LimitNOFILE=20000 "
            f"slowhttptest {options} -c {count} -r 500 -l {SECONDS} -p 10"
        )
        try:
            until(lambda: slow_ones(state), lambda found: found >= count, SECONDS / 2, 0.5)
            yield
            assert slow_ones(state) >= count
        finally:
            host.run(f"systemctl stop {UNIT}")
            until(lambda: slow_ones(state), lambda found: found < count // 10, SECONDS / 2, 0.5)

    return slow


@pytest.fixture
def visit(http):
    """Returns a function that visits the site for a while, and returns the 99th percentile."""
    site = urlsplit(http)

    def visit():
        results = []
        request = Request("/api/ping", headers={"Host": NAME})
        client = OpenLoop(site.hostname, site.port, results.append)
        client.run(RATE, itertools.repeat(request, COUNT))
        assert {result.outcome for result in results} == {"200"}
        return statistics.quantiles([result.seconds for result in results], n=100)[98]

    return visit


@pytest.fixture
def judge(name, slow, visit):
    """Returns a function that fails where slow connections slow down other visitors."""

    def judge(mode, count):
        without, with_them = [], []
        for _ in range(ROUNDS):
            without.append(visit())
            with slow(mode, count):
                with_them.append(visit())
            before, during = statistics.median(without), statistics.median(with_them)
            print(
                f"{name}: {count} connections, slow {mode}: the 99th percentile is "
                f"{1000 * before:.1f} ms without them and {1000 * during:.1f} ms with them"
            )
            if during <= max(LIMIT * before, before + OWN_WORK):
                return
        pytest.fail(
            f"more than {LIMIT} times the 99th percentile and {OWN_WORK} s, in {ROUNDS} rounds"
        )

    return judge


@pytest.mark.parametrize("mode", MODES)
def test_half_of_what_nginx_takes_may_be_slow(judge, connections, mode):
    judge(mode, connections // 2)


@pytest.fixture
def reload(host):
    """Returns a function that returns when only processes with the new configuration serve."""

    def serving():
        # Those that finish what they have say so behind these words.
        return set(host.check_output("pgrep --full '^nginx: worker process$'").split())

    def reload():
        before = serving()
        host.check_output("nginx -t -q && systemctl reload nginx")
        until(serving, before.isdisjoint)

    return reload


@pytest.fixture
def room_for_2000(host, reload):
    """The host has what docs/operations.md says for so many."""
    connections = "s/worker_connections .*/worker_connections 4096;/"
    files = "/^events/i worker_rlimit_nofile 8192;"
    host.check_output(f"cp {NGINX} {NGINX}.before && sed -i %s {NGINX}", f"{connections}; {files}")
    reload()
    yield
    host.check_output(f"mv {NGINX}.before {NGINX}")
    reload()


# Not bodies: slowhttptest sends those of all connections in the same moment, on the host itself.
@pytest.mark.usefixtures("room_for_2000")
@pytest.mark.parametrize("mode", chosen(["headers", "reading"], 1))
def test_2000_may_be_slow_where_nginx_has_room_for_them(judge, mode):
    judge(mode, 2000)
