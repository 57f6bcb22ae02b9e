"""The decisions of molecule/shared about a machine and its hosts, without making a host."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "molecule" / "shared" / "hosts.py"
sys.path.insert(0, str(SCRIPT.parent))

import hosts  # noqa: E402 - importable only by now
import machine  # noqa: E402
import roots  # noqa: E402


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_ssh_is_published_always_and_ports_differ():
    ports = machine.choose_ports(["80", "443"])
    assert list(ports) == ["22", "80", "443"]
    assert len(set(ports.values())) == 3


def test_a_taken_port_is_refused_by_name(taken):
    with pytest.raises(machine.HostError, match=f"Port {taken} of 127.0.0.1 is taken"):
        machine.choose_ports([f"80={taken}"])


def test_a_taken_port_that_was_only_preferred_is_replaced(taken):
    assert machine.choose_ports([f"80={taken}?"])["80"] != taken


def test_a_free_port_is_chosen_as_wished(monkeypatch):
    # A real port that is free now may be taken by another process a moment later.
    monkeypatch.setattr(machine, "is_free", lambda port: port == 2222)
    assert machine.choose_ports(["22=2222"]) == {"22": 2222}


def test_a_port_is_free_unless_something_listens_on_it(taken):
    assert machine.is_free(0)  # the kernel chooses a free port
    assert not machine.is_free(taken)


@pytest.mark.parametrize("wish", ["", "http", "80:8080", "80=", "80=x", "80=8080!"])
def test_a_wish_that_makes_no_sense_is_shown(wish):
    with pytest.raises(machine.HostError, match=re.escape(repr(wish))):
        machine.choose_ports([wish])


@pytest.mark.parametrize(
    ("hard", "expected"), [(20_000, 20_000), (10**9, 2**20), (-1, 2**20)], ids=str
)
def test_no_limit_exceeds_what_the_machine_allows(monkeypatch, hard, expected):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (hard, hard))
    assert f"--ulimit=nofile={expected}:{expected}" in machine.runtime_options()


def test_an_unknown_debian_is_refused():
    with pytest.raises(machine.HostError, match=r"Debian 11: known are \[12, 13\]"):
        roots.build_root(11)


@pytest.fixture
def mmdebstrap(monkeypatch, tmp_path):
    """Return a function that runs a shell command in place of mmdebstrap."""
    monkeypatch.setattr(roots, "ROOTS", tmp_path)

    def stand_in(command):
        monkeypatch.setattr(roots, "as_root", lambda _: ["sh", "-c", command])

    return stand_in


def test_a_root_is_built_once(mmdebstrap):
    mmdebstrap("echo root")
    root = roots.build_root(12)
    mmdebstrap("exit 1")
    assert roots.build_root(12) == root
    assert root.read_text() == "root\n"


def test_an_old_root_is_replaced_but_kept_when_it_cannot_be(mmdebstrap, monkeypatch):
    mmdebstrap("echo old")
    root = roots.build_root(12)
    later = roots.time.time() + roots.ROOT_MAX_AGE + 1
    monkeypatch.setattr(roots.time, "time", lambda: later)
    mmdebstrap("echo half; exit 1")
    assert roots.build_root(12).read_text() == "old\n"
    mmdebstrap("echo new")
    assert roots.build_root(12).read_text() == "new\n"
    assert list(roots.ROOTS.iterdir()) == [root]


def test_a_root_that_cannot_be_built_leaves_nothing(mmdebstrap):
    mmdebstrap("echo half; echo no mirror >&2; exit 1")
    with pytest.raises(machine.HostError, match="no mirror"):
        roots.build_root(12)
    assert list(roots.ROOTS.iterdir()) == []


KINDS = {"ps": "container", "images": "image", "network": "network"}
REMOVE = {"rm": "container", "rmi": "image"}


class Podman:
    """What is made on a machine: kind, id, name and label of each; it stands for podman."""

    def __init__(self):
        self.made = []

    def make(self, group, host, label=None):
        container = f"{group.prefix}-{host}"
        for kind, name in (
            ("container", container),
            ("image", f"localhost/{container}"),
            ("network", group.prefix),
        ):
            identity = name if kind == "network" else f"id-of-{kind}-{container}"
            self.made.append((kind, identity, name, label or group.label))

    def __call__(self, program, command, *arguments, **_):
        assert program == "podman"
        if command == "network" and arguments[0] == "rm":
            return self.remove("network", arguments)
        if command in REMOVE:
            return self.remove(REMOVE[command], arguments)
        (label,) = [argument for argument in arguments if argument.startswith("--filter=label=")]
        return "\n".join(
            f"{identity} {name}"
            for kind, identity, name, made_label in self.made
            if kind == KINDS[command] and f"--filter=label={made_label}" == label
        )

    def remove(self, kind, arguments):
        self.made = [made for made in self.made if made[0] != kind or made[1] not in arguments]
        return ""

    @property
    def containers(self):
        return [name for kind, _, name, _ in self.made if kind == "container"]


@pytest.fixture
def podman(monkeypatch):
    podman = Podman()
    monkeypatch.setattr(hosts, "run", podman)
    return podman


@pytest.fixture
def group(monkeypatch, tmp_path):
    """Return a function that names a group under a HOSTS_PREFIX."""

    def make(prefix, name="local", directory="hosts"):
        monkeypatch.setenv("HOSTS_PREFIX", prefix)
        return hosts.Group(name, tmp_path / directory)

    return make


def describe(group, host):
    group.directory.mkdir()
    described = {
        "name": host, "debian": 12, "container": f"{group.prefix}-{host}", "address": "10.77.0.11",
        "publish": ["80"], "ports": {"22": 2222},
    }  # fmt: skip
    (group.directory / "hosts.json").write_text(json.dumps({host: described}))


def test_each_prefix_removes_its_own_hosts(group, podman):
    first, second = group("first"), group("second", directory="others")
    for made in (first, second):
        podman.make(made, "debian12")
    second.destroy()
    assert podman.containers == ["first-local-debian12"]
    first.destroy()
    assert podman.made == []


def test_so_does_each_scenario(group, podman):
    first, second = group("first", "default"), group("first", "rollout", directory="others")
    for made in (first, second):
        podman.make(made, "debian12")
    first.destroy()
    assert podman.containers == ["first-rollout-debian12"]


def test_hosts_with_the_label_of_before_are_removed_by_their_own_prefix(group, podman):
    first, second = group("first"), group("second")
    assert first.label_before == second.label_before
    for made in (first, second):
        podman.make(made, "debian12", label=made.label_before)
    second.destroy()
    assert podman.containers == ["first-local-debian12"]
    first.destroy()
    assert podman.made == []


def test_what_lost_its_name_is_removed_too(group, podman):
    first = group("first")
    podman.made.append(("image", "id-of-image", "<none>", first.label))
    first.destroy()
    assert podman.made == []


def test_how_to_reach_another_prefixs_hosts_stays(group, podman):
    first, second = group("first"), group("second")
    describe(first, "debian12")
    podman.make(first, "debian12")
    second.destroy()
    assert first.hosts()["debian12"].container == "first-local-debian12"
    # Nor are they taken for the second group's own.
    with pytest.raises(machine.HostError, match="first-local-debian12, which another HOSTS_PREFIX"):
        second.create([{"name": "debian12", "debian": 12}])
    first.destroy()
    assert (podman.made, first.directory.exists()) == ([], False)


def test_a_missing_podman_is_an_error_with_the_remedy(tmp_path):
    empty = {"PATH": str(tmp_path)}
    command = [sys.executable, str(SCRIPT), "destroy", "--directory", str(tmp_path / "hosts")]
    # The usual places of administrators' programs are searched too; podman is in neither.
    result = subprocess.run(command, env=empty, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "podman is missing: `scripts/bootstrap hosts` installs it.\n"
