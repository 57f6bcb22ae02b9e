"""A pool's limit on memory holds, and does not get in the way of exchanging its workers."""

import json

PUBLIC = {"name": "public", "ports": [10001, 10002, 10003], "paths": ["/"], "start_timeout": 20}
ADMIN = {"name": "admin", "ports": [10004], "paths": ["/admin"], "blocking": True}
MEGABYTE = 1 << 20
# A single worker takes more than half of what its pool may have.
HEAVY = {"EDITION = ": f"BALLAST = bytearray(b'x') * {120 * MEGABYTE}\nEDITION = "}
LIMIT = 200 * MEGABYTE


def of_slice(host, *names):
    """Return properties of the pool's slice."""
    command = f"systemctl show --property={','.join(names)} aroundtheworld-admin.slice"
    return dict(line.split("=") for line in host.check_output(command).splitlines())


def test_a_worker_of_most_of_its_pools_memory_is_exchanged(
    app, ansible_playbook, site, host, load, tmp_path
):
    pools = tmp_path / "pools.json"
    pools.write_text(json.dumps({"aroundtheworld_pools": [PUBLIC, ADMIN | {"memory_max": "200M"}]}))
    assert ansible_playbook(app(HEAVY), f"-e@{pools}").returncode == 0
    before = site.workers[10004]["pid"]
    with load(20) as ledger:
        assert ansible_playbook(app(HEAVY), f"-e@{pools}").returncode == 0
    assert site.workers[10004]["pid"] != before
    assert len(ledger.failed()) == 0
    assert host.check_output("systemctl show -P NRestarts aroundtheworld@10004") == "0"
    site.runs(site.current)
    # The limit holds again, also for the kernel.
    about = of_slice(host, "MemoryMax", "ControlGroup")
    assert int(about["MemoryMax"]) == LIMIT
    group = about["ControlGroup"]
    paths = f"/sys/fs/cgroup{group}/memory.max /sys/fs/cgroup/memory{group}/memory.limit_in_bytes"
    assert host.run(f"cat {paths} 2>/dev/null").stdout.strip() == str(LIMIT)
    command = f"python3 -c 'x = bytearray(b\"x\") * {2 * LIMIT}'"
    within = "systemd-run --quiet --wait --collect --slice=aroundtheworld-admin.slice"
    assert host.check_output(f"{within} {command} || echo killed") == "killed"
    assert host.check_output(f"{within.replace('-admin', '')} {command} || echo killed") == ""
    assert ansible_playbook().returncode == 0
