"""What keeps a blocking pool from hurting the others, as the kernel and nginx have it."""

import re
import threading
import time
from collections import Counter

import pytest

from tests.waiting import until

DESK = {"name": "desk", "ports": [10004], "paths": ["/desk"], "blocking": True}
PUBLIC = {"name": "public", "ports": [10001, 10002], "paths": ["/"]}


@pytest.fixture
def limited(have, units):
    """Have a blocking pool with its defaults on the host; return its workers' processes by port."""
    command = "gunicorn --threads 20 --no-control-socket guestbook.desk:app"
    pools = [PUBLIC, {**DESK, "command": command, "health_path": "/desk/health"}]
    have("flask", pools=pools, canary_seconds=0)
    return units.pids()


def of_slice(host, pool, *files):
    """Return the first of these files of the pool's control group that the kernel has."""
    names = " -o ".join(f"-name {file}" for file in files)
    where = f"-path '*/aroundtheworld-{pool}.slice/*' -not -path '*.service/*'"
    found = host.check_output(f"find /sys/fs/cgroup {where} '(' {names} ')'").splitlines()
    return host.file(found[0]).content_string.strip() if found else None


def test_the_processes_yield(host, limited):
    for port, nice, policy, adjust in ((10001, 0, "OTHER", "0"), (10004, 10, "BATCH", "500")):
        pid = limited[port]
        assert host.check_output("cut -d' ' -f19 /proc/%s/stat", str(pid)) == str(nice)
        assert f"SCHED_{policy}" in host.check_output("chrt -p %s", str(pid))
        assert host.check_output("cat /proc/%s/oom_score_adj", str(pid)) == adjust


def test_the_limits_are_the_kernels_or_the_status_says_that_it_lacks_them(host, limited, deploy):
    output = deploy("flask", "--tags", "status").output
    lacks = re.search(r"pool desk: this kernel does not enforce ([a-z_, ]+)", output)
    lacks = lacks[1].split(", ") if lacks else []
    total = int(host.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo")) * 1024
    for setting, files in (
        ("cpu_weight", ["cpu.weight", "cpu.shares"]),
        ("io_weight", ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"]),
        ("memory_high", ["memory.high"]),
        ("memory_max", ["memory.max", "memory.limit_in_bytes"]),
        ("tasks_max", ["pids.max"]),
    ):
        desk, public = (of_slice(host, pool, *files) for pool in ("desk", "public"))
        assert (desk is None) is (setting in lacks), setting
        if desk is None:
            continue
        if setting == "cpu_weight":
            assert int(desk) == pytest.approx(int(public) / 5, rel=0.02)
        elif setting == "io_weight":  # which BFQ counts in another way
            assert int(desk.split()[-1]) < int(public.split()[-1])
        elif setting == "memory_max":
            assert int(desk) == pytest.approx(total / 2, rel=0.01)
            assert public == "max" or int(public) > total
        elif setting == "tasks_max":
            assert desk == public == "512"
        else:
            assert desk == "max"


def test_only_so_many_requests_are_let_in_and_none_that_waits_is_lost(host, limited, visitor):
    visitor.ask("/sign-in", "POST", {"name": "ada"})
    answers, slowest = Counter(), []
    host.check_output("kill -STOP -%s", str(limited[10004]))

    def ask(number):
        client = type(visitor)(visitor.url)
        client.cookies.update(visitor.cookies)
        begun = time.monotonic()
        method = "GET" if number % 2 else "POST"
        path = "/desk" if number % 2 else "/desk/forget"
        status, body, headers = client.ask(path, method)
        if status == 503:
            slowest.append(time.monotonic() - begun)
            assert headers["Retry-After"] == "5"
            assert b"This part of the site is busy" in body
        answers[status] += 1

    threads = [threading.Thread(target=ask, args=[number]) for number in range(24)]
    try:
        for thread in threads:
            thread.start()
        until(answers.total, lambda count: count == 8)
        assert answers == {503: 8}
        assert max(slowest) < 1
        assert visitor.ask("/")[0] == 200
    finally:
        host.check_output("kill -CONT -%s", str(limited[10004]))
    for thread in threads:
        thread.join(30)
    assert answers == {200: 16, 503: 8}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory_max": "9000G"}, "memory_max: '9000G' of pool 'desk' is more than"),
        ({"tasks_max": 999999999}, "tasks_max: 999999999"),
        ({"memory_max": "100M", "memory_high": "200M"}, "memory_high: '200M' of pool 'desk'"),
        ({"replay": True}, "replay: true is not allowed in pool 'desk'"),
        ({"watchdog": 30}, "watchdog: 30 is not allowed in pool 'desk'"),
    ],
)
def test_what_cannot_be_is_refused(deploy, units, limited, settings, message):
    run = deploy("flask", pools=[PUBLIC, {**DESK, **settings}])
    assert (run.failed, run.changed) == (1, 0)
    assert message in " ".join(run.output.split())
    assert units.pids() == limited
