"""Hundreds of visitors keep their connections while the site changes in every way that it may.

Browsers repeat what a reload cut off before the first byte (bench/browsers.py); so do these, and
nothing else.
"""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from aroundtheworld_controller.cache import cache_directory
from aroundtheworld_controller.nginx.local_ca import ca_files, local_certificate
from bench.browsers import Browsers, Site
from tests.waiting import until

NAME = "www.example.org"
CA = "https://localhost:14000/dir"
FIRST, SECOND = 400, 100  # visitors over HTTP/1.1 only, and visitors who prefer HTTP/2
INTERVAL = 5  # seconds from a visit of somebody to the next one
# Mostly files, so that two hosts on a small machine are not busy with Python alone.
VISITS = [("/api/ping",), *3 * [("/static/style.css", "/static/logo.svg")]]
OPEN = [("/.aroundtheworld/up", "/admin/login")]  # also while the site is closed
PATIENCE = 60  # seconds until a request without a response has failed
# After a minute nginx ends a connection, and its visitor is back with the next visit only.
MOST = 450  # are kept when HTTPS changes
RELOADS, AGAIN = 20, 200  # how many, and how many connections are kept again before each
# One play, because a toggle of its own would take most of its time to start Ansible.
TOGGLES = """\
- hosts: aroundtheworld
  gather_facts: false
  become: true
  tasks:
    - include_role:
        name: aroundtheworld
        tasks_from: "maintenance_{{ ['on', 'off'][toggle % 2] }}"
      loop: "{{ range(40) | list }}"
      loop_control:
        loop_var: toggle
      vars:
        aroundtheworld_maintenance_page: maintenance.html.j2
"""


@pytest.fixture(scope="module")
def site(published, authorities):
    """Returns a function: the site at some of its ports, for those who trust either authority."""
    directory = cache_directory() / "ca"  # of the controller's own, made for the first who asks
    local_certificate([NAME], directory)
    trusted = authorities + ca_files(directory).certificate.read_text()

    def site(**ports):
        urls = {scheme: urlsplit(published(port)) for scheme, port in ports.items()}
        places = {scheme: (url.hostname, url.port) for scheme, url in urls.items()}
        return Site(NAME, places, trusted, PATIENCE)

    return site


@pytest.fixture
def over_http_afterwards(ansible_playbook):
    """The other tests have the site as converge made it."""
    yield
    assert ansible_playbook().returncode == 0


@pytest.mark.usefixtures("over_http_afterwards")
def test_500_kept_connections_lose_no_request_to_toggles_reloads_and_changes_of_tls(
    name, host, site, ansible_playbook, variables, tmp_path
):
    everybody = Browsers(site(http=80, https=443), FIRST, SECOND)
    operators = Browsers(site(https=443), first=4, second=1)
    toggles = tmp_path / "toggles.yml"
    toggles.write_text(TOGGLES)
    kept = {}

    def connected(enough):
        return until(lambda: everybody.connected, lambda count: count >= enough, 60)

    def deploy(tls, **more):
        kept[tls] = connected(MOST)
        run = ansible_playbook(variables(tls=tls, hsts_seconds=0, **more))
        assert run.returncode == 0

    def reload():
        for number in range(RELOADS):
            kept[number] = connected(AGAIN)
            host.check_output("systemctl reload nginx")

    master = host.check_output("cat /run/nginx.pid")
    with everybody.visiting(VISITS, INTERVAL) as tally, ThreadPoolExecutor(1) as pool:
        deploy("local")
        with operators.visiting(OPEN, interval=1) as never_closed:
            reloads = pool.submit(reload)
            run = ansible_playbook(playbook=str(toggles))
            assert (run.returncode, run.changed) == (0, 40)
            reloads.result()
        deploy("acme", acme_directory=CA)
        connected(MOST)
    print(f"{name}: {tally}; kept at each change: {[*kept.values()]}")
    assert (tally.failed, never_closed.failed) == ({}, {})
    assert {status for _, status in tally.outcomes} == {"200", "301", "503"}
    assert {status for _, status in never_closed.outcomes} == {"200"}
    for protocol in ("HTTP/1.1", "HTTP/2"):
        assert min(tally.outcomes[protocol, "200"], tally.outcomes[protocol, "503"]) > SECOND
    assert host.check_output("cat /run/nginx.pid") == master
