"""What the role reads about a host."""

import json
import os
import platform
import socket
import sys

import pytest
import yaml
from ansible.module_utils.aroundtheworld import claims, sockets
from ansible.module_utils.aroundtheworld.host import ports
from ansible.module_utils.aroundtheworld.host.python import describe_python
from ansible.module_utils.aroundtheworld.layout import SystemLayout

from tests.role_files import load_python

module = load_python("library/aroundtheworld_host.py")

CLAIM = {
    "site": "shop",
    "user": "shopkeeper",
    "http_port": 80,
    "server_names": ["_"],
    "pools": ["public"],
    "sockets": [{"address": "127.0.0.1", "port": 10001, "variable": "aroundtheworld_pools"}],
}

HEADER = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout"
)
QUEUES, REST = "00000000:00000000 00:00000000 00000000     0        0", "1 00000000a6bf351f 100 0"

little_endian = pytest.mark.skipif(sys.byteorder == "big", reason="the samples are little-endian")


def line(address, port, state="0A", inode="2305206"):
    remote = "0" * len(address) + ":0000"
    return f"   0: {address}:{port:04X} {remote} {state} {QUEUES} {inode} {REST}"


@little_endian
@pytest.mark.parametrize(
    ("family", "digits", "address", "shown"),
    [
        (socket.AF_INET, "0100007F", "127.0.0.1", "127.0.0.1:10001"),
        (socket.AF_INET, "00000000", "0.0.0.0", "0.0.0.0:10001"),
        (socket.AF_INET, "0500000A", "10.0.0.5", "10.0.0.5:10001"),
        (socket.AF_INET6, "0" * 32, "::", "[::]:10001"),
        (socket.AF_INET6, "0" * 24 + "01000000", "::1", "[::1]:10001"),
        (socket.AF_INET6, "B80D0120000000000000000001000000", "2001:db8::1", "[2001:db8::1]:10001"),
    ],
)
def test_addresses_are_read_as_the_kernel_writes_them(family, digits, address, shown):
    (found,) = sockets.parse_listeners(f"{HEADER}\n{line(digits, 10001)}\n", family)
    assert found == (address, 10001, "2305206")
    assert str(found) == shown


def test_only_sockets_that_listen_count():
    text = "\n".join(
        [HEADER, line("0100007F", 1, "01"), line("0100007F", 2), line("0100007F", 3, "06")]
    )
    assert [found.port for found in sockets.parse_listeners(text, socket.AF_INET)] == [2]


def test_a_socket_of_this_process_is_found_with_its_holder():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (found,) = [listener for listener in sockets.listeners() if listener.port == port]
        assert found.address == "127.0.0.1"
        ((inode, process, name),) = sockets.holders({found.inode})
    assert (inode, process) == (found.inode, os.getpid())
    assert name


@pytest.mark.parametrize(
    ("first", "second", "exclude"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("::1", "::", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_sockets_exclude_each_other(first, second, exclude):
    assert claims.overlap(first, second) is exclude


def taken(listening, *, held=None, own=(), port=10001):
    variables = {
        10001: ("127.0.0.1", "aroundtheworld_pools"),
        80: ("::", "aroundtheworld_http_port"),
    }
    for variable, number in claims.nginx_ports({"pool_ports": {"admin": 8081}}).items():
        variables[number] = ("::", variable)
    listeners = [sockets.Listener(*listener) for listener in listening]
    found = ports.taken_ports(listeners, held or {}, set(own), variables)
    assert all(entry["port"] == port for entry in found)
    return [(entry["variable"], entry["process"], entry["address"]) for entry in found]


def test_a_port_that_something_else_listens_on_is_taken():
    assert taken([("0.0.0.0", 10001, "7")], held={"7": (812, "redis-server")}) == [
        ("aroundtheworld_pools", "redis-server (process 812)", "0.0.0.0")
    ]


def test_a_holder_that_cannot_be_seen_is_unknown():
    assert taken([("127.0.0.1", 10001, "7")]) == [
        ("aroundtheworld_pools", "an unknown process", "127.0.0.1")
    ]


def test_a_port_of_the_sites_own_socket_is_free():
    assert taken([("127.0.0.1", 10001, "7")], held={"7": (1, "systemd")}, own=[10001]) == []


def test_a_port_on_another_address_is_free():
    assert taken([("10.0.0.5", 10001, "7")], held={"7": (812, "redis-server")}) == []


def test_a_port_that_the_site_does_not_need_does_not_matter():
    assert taken([("0.0.0.0", 22, "7")]) == []


def test_port_of_the_site_may_be_nginxs_and_nobody_elses():
    own = "aroundtheworld_pools: http_port of pool 'admin'"
    for port, variable in ((80, "aroundtheworld_http_port"), (8081, own)):
        listening = [("0.0.0.0", port, "7")]
        assert taken(listening, held={"7": (5, "nginx")}, port=port) == []
        assert taken(listening, held={"7": (5, "apache2")}, port=port) == [
            (variable, "apache2 (process 5)", "0.0.0.0")
        ]


def test_the_port_of_https_may_be_nginxs_and_nobody_elses():
    needed = ports.needed_ports([], "127.0.0.1", {"aroundtheworld_https_port": 443}, {"port": 0})
    listening = [sockets.Listener("0.0.0.0", 443, "7")]
    assert ports.taken_ports(listening, {"7": (5, "nginx")}, set(), needed) == []
    (taken,) = ports.taken_ports(listening, {"7": (5, "apache2")}, set(), needed)
    assert taken["variable"] == "aroundtheworld_https_port"


def test_a_port_of_a_worker_must_not_be_nginxs():
    assert taken([("0.0.0.0", 10001, "7")], held={"7": (5, "nginx")}) != []


UNITS = """\
shop@10001.socket loaded active running shop: listening socket
shop@10002.service loaded active running shop: worker that binds its port
shop@mail-1.service loaded active running shop: worker that takes work from a queue
shop@10009.service loaded active running An operator's own
"""


def test_only_ports_of_units_that_the_site_wrote_are_its_own(tmp_path):
    layout = SystemLayout("shop", tmp_path)
    layout.etc.mkdir(parents=True)
    files = [str(layout.drop_in(layout.service(port))) for port in (10001, 10002, "mail-1")]
    claim = {"site": "shop", "home": "/srv/shop", "sockets": [], "pools": []}
    layout.claim.write_text(json.dumps(claim | {"has": {"files": files}}))

    def run(command):
        if command[1] == "show":
            return 0, "Listen=127.0.0.1:9145 (Stream)\n", ""
        assert command[-2:] == ["shop@*.socket", "shop@*.service"]
        return 0, UNITS, ""

    assert ports.own_ports(layout, run) == {10001, 10002, 9145}


NGINX = {
    "aroundtheworld_http_port": 80,
    "aroundtheworld_https_port": 443,
    "aroundtheworld_proxy_protocol_port": 8443,
}


def test_a_site_needs_the_ports_of_workers_nginx_and_metrics():
    metrics = {"address": "10.0.0.5", "port": 9145}
    assert ports.needed_ports([10001], "127.0.0.1", NGINX, metrics) == {
        10001: ("127.0.0.1", "aroundtheworld_pools"),
        80: ("::", "aroundtheworld_http_port"),
        443: ("::", "aroundtheworld_https_port"),
        8443: ("::", "aroundtheworld_proxy_protocol_port"),
        9145: ("10.0.0.5", "aroundtheworld_metrics_port"),
        9146: ("127.0.0.1", ports.NGINX_STATUS),
    }
    without = ports.needed_ports([10001], "127.0.0.1", NGINX, metrics | {"port": 0})
    assert set(without) == {80, 443, 8443, 10001}


def test_a_host_is_described_with_what_a_plan_needs(tmp_path, run_module, monkeypatch):
    """On this machine, with nginx and packages as the commands say."""
    outputs = {"dpkg-query": "nginx installed\npython3-venv not-installed\n"}
    monkeypatch.setattr(
        module.AnsibleModule, "run_command", lambda _, command: (0, outputs.get(command[0], ""), "")
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = run_module(
        module,
        site="shop",
        home=str(tmp_path),
        address="127.0.0.1",
        worker_ports=[10001],
        claim={**CLAIM, "home": str(tmp_path)},
        packages=["nginx", "python3-venv"],
        app_packages=["nginx", "ffmpeg"],
        temporary=str(tmp_path),
    )
    documented = yaml.safe_load(module.RETURN)
    always = {key for key, about in documented.items() if about["returned"] == "always"}
    assert {*always, "followed"} <= result.keys() <= {*documented, "changed", "invocation"}
    assert result["packages_missing"] == ["python3-venv", "ffmpeg"]
    assert any("aroundtheworld_packages: 'ffmpeg' is no package" in why for why in result["unfit"])
    assert (result["current"], result["releases"], result["followed"]) == ("", {}, {})


def test_python_is_described_as_markers_name_it():
    about = describe_python()
    version = ".".join(platform.python_version_tuple()[:2])
    assert about["version"] == about["markers"]["python_version"] == version
    assert about["markers"]["sys_platform"] == "linux"
    assert about["implementation"] == "cp"
    assert about["machine"] in about["platform"]
