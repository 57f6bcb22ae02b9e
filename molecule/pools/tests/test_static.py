"""Files that nginx serves itself."""

import pytest

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def static(have):
    """Have the example on the host as it is."""
    have("static", canary_seconds=0)


def test_they_are_nginxs_also_while_no_worker_runs(host, deploy, visitor, units):
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


def test_uploads_are_served_and_nothing_beside_them(host, deploy, visitor):
    media = [{"url": "/uploads/", "directory": "uploads"}]
    assert deploy("static", canary_seconds=0, media=media).returncode == 0
    shared = "/var/lib/tornado/aroundtheworld/shared"
    host.check_output(
        'aroundtheworld-run sh -c \'cd "$0" && echo words > a.txt && ln -sf ../guestbook.db link'
        f" && mkdir -p more && echo more > more/b.txt' {shared}/uploads"
    )
    assert visitor.ask("/uploads/a.txt")[:2] == (200, b"words\n")
    assert visitor.ask("/uploads/more/b.txt")[:2] == (200, b"more\n")
    for path, status in {"link": 403, "": 403, "more": 301, "../guestbook.db": 404}.items():
        assert visitor.ask(f"/uploads/{path}")[0] == status, path
    nobody = "runuser --user nobody -- "
    assert host.run(f"{nobody} ls {shared}").failed
    assert host.run(f"{nobody} cat {shared}/uploads/a.txt").failed
    again = deploy("static", canary_seconds=0, media=media)
    assert (again.returncode, again.changed) == (0, 0), again.output
    host.check_output(f"rm -r {shared}/uploads && ln -s /etc {shared}/uploads")
    try:
        refused = deploy("static", canary_seconds=0, media=media)
        assert f"{shared}/uploads cannot be a directory that nginx serves" in refused.output
        assert host.file("/etc").mode == 0o755
    finally:
        host.check_output(f"rm {shared}/uploads")
        assert deploy("static").returncode == 0
