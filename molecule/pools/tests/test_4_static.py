"""Files that nginx serves itself."""


def test_they_are_nginxs_also_while_no_worker_runs(host, deploy, visitor, units):
    run = deploy("static", canary_seconds=0)
    assert run.returncode == 0, run.output
    services = sorted(name for name in units.names() if name.endswith(".service"))
    assert services == ["aroundtheworld@10001.service", "aroundtheworld@10002.service"]
    host.check_output("systemctl stop 'aroundtheworld@*.socket' 'aroundtheworld@*.service'")
    try:
        assert visitor.ask("/static/book.css")[0] == 200
        assert visitor.ask("/")[0] == 502
    finally:
        assert deploy("static").returncode == 0
    assert visitor.ask("/")[0] == 200


def test_a_path_that_a_pool_serves_as_well_is_refused(deploy, units):
    before = units.pids()
    pools = [{"name": "public", "ports": [10001], "paths": ["/", "/static"]}]
    run = deploy("static", pools=pools)
    assert run.failed == 1
    assert "aroundtheworld_static[0].url: '/static/' is already a path of the pool" in run.output
    assert "'public'" in run.output
    assert units.pids() == before
