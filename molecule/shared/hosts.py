#!/usr/bin/env python3
"""Makes and removes the test hosts: containers with systemd and sshd, used like servers.

    hosts.py build   12 13                                   Debian roots into .cache/roots
    hosts.py create  --name local --directory DIR PLATFORMS  hosts, running and answering over SSH
    hosts.py destroy --name local --directory DIR            everything that create made
    hosts.py urls    --directory DIR [--https PORT]          where the hosts' web servers are

PLATFORMS is a JSON list such as `[{"name": "debian12", "debian": 12, "publish": ["80=8080?"]}]`.
A published port is `80` (on any free port of 127.0.0.1), `80=8081` (on 8081) or `80=8080?` (on
8080 if that is free). Port 22 is always published.

DIR receives what a client needs: `ssh_config`, the key that it names, and `hosts.json`.

Only the standard library is needed, and podman as root. What is made carries a label, so destroy
finds it even when DIR is lost. roots.py builds the roots, and machine.py knows what this machine
allows. The environment may change:

    HOSTS_PREFIX  how the names of containers, images and the network begin;
                  the default differs from checkout to checkout
    HOSTS_SUBNET  the hosts' network, such as 10.77.0.0/24; podman chooses a free network by default
"""

from __future__ import annotations

import argparse
import hashlib
import io
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import HostError, as_root, choose_ports, run, runtime_options, say
from roots import SUITES, build_root

CHECKOUT = Path(__file__).resolve().parents[2]

# A server's mounts are shared, a container's are private. systemd expects the former: it fills a
# service's credentials in a mount namespace of its own and relies on the mount coming through.
BOOT = ("/bin/sh", "-c", "mount --make-rshared / && exec /sbin/init")

LABEL = "aroundtheworld.test-hosts"
READY_TIMEOUT = 60  # seconds from a container's start until it answers over SSH


@dataclass(frozen=True)
class Host:
    """A running test host, as hosts.json describes it to clients."""

    name: str
    debian: int
    container: str
    address: str
    """On the network that the hosts share; it survives a reboot."""
    publish: list[str]
    ports: dict[str, int]
    """The host's own port, as text, to the port of 127.0.0.1 that leads to it."""


class Group:
    """The hosts that are created and destroyed together, with the network that they share."""

    def __init__(self, name: str, directory: Path) -> None:
        """Name the group; nothing is made yet.

        Args:
            name: tells groups of a checkout apart, such as a Molecule scenario's name.
            directory: where clients find what they need.
        """
        checkout = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:6]
        self.prefix = f"{os.environ.get('HOSTS_PREFIX') or f'atw-{checkout}'}-{name}"
        # With the prefix, so that groups under different ones leave each other alone.
        self.label = f"{LABEL}={checkout}/{self.prefix}"
        self.label_before = f"{LABEL}={checkout}-{name}"
        self.directory = directory.resolve()

    def hosts(self) -> dict[str, Host]:
        """Return the hosts that the directory describes, by name."""
        known = self.directory / "hosts.json"
        if not known.exists():
            return {}
        return {name: Host(**host) for name, host in json.loads(known.read_text()).items()}

    def foreign(self) -> Host | None:
        """Return a host that the directory describes and another group made."""
        hosts = self.hosts().values()
        return next((host for host in hosts if host.container != self._container(host.name)), None)

    def _container(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def create(self, platforms: list[dict[str, Any]]) -> None:
        """Make sure that the hosts run and answer; those that do already are left alone.

        Raises:
            HostError: says what could not be made.
        """
        if foreign := self.foreign():
            raise HostError(
                f"{self.directory} describes {foreign.container}, which another HOSTS_PREFIX made: "
                "`make down`, or `molecule destroy`, under that prefix removes it."
            )
        existing = self.hosts()
        for platform in platforms:
            known = existing.get(platform["name"])
            if known and known.debian != platform["debian"]:
                raise HostError(
                    f"Host {known.name} exists and runs Debian {known.debian}, not "
                    f"{platform['debian']}: `make down` removes it."
                )
            own = {str(wish).partition("=")[0] for wish in platform.get("publish", ())}
            if known and (missing := own - known.ports.keys()):
                raise HostError(
                    f"Host {known.name} exists and does not publish port {', '.join(missing)}: "
                    "`make down` removes it."
                )
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.directory / "id_ed25519"
        if not key.exists():
            _make_key(key, comment=self.prefix)
        network = self._network()

        def ensure(index: int, platform: dict[str, Any]) -> tuple[Host, bool]:
            known = existing.get(platform["name"])
            if known and self._exists("container", known.container):
                run("podman", "start", known.container)
                return known, False
            # The first addresses of a network are its gateway's and podman's own choices.
            return self._create(platform, str(network[index + 11])), True

        with ThreadPoolExecutor() as pool:
            made = list(pool.map(ensure, range(len(platforms)), platforms))
            hosts = {host.name: host for host, _ in made}
            self._describe(hosts)
            list(pool.map(self._wait, hosts.values()))
        for host, is_new in made:
            say(f"{host.name}: Debian {host.debian}, {'created' if is_new else 'there already'}")

    def destroy(self) -> None:
        """Remove every container, image and network of the group, and its directory."""
        is_own = self.foreign() is None
        for name in self.hosts() if is_own else ():
            # A connection kept open would wait for a host that never answers.
            ssh = ["ssh", "-F", str(self.directory / "ssh_config"), "-O", "exit", name]
            subprocess.run(ssh, check=False, capture_output=True)
        if containers := self._made("ps", "--all", "--format={{.ID}} {{.Names}}"):
            run("podman", "rm", "--force", "--volumes", "--time=0", *containers)
            say(f"Removed {len(containers)} host(s)")
        if images := self._made("images", "--all", "--format={{.ID}} {{.Repository}}"):
            run("podman", "rmi", "--force", *images)
        if networks := self._made("network", "ls", "--format={{.Name}} {{.Name}}"):
            run("podman", "network", "rm", *networks)
        if is_own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _made(self, *listing: str) -> list[str]:
        """Return what the group made, of what a podman command lists as id and name a line."""

        def labelled(label: str) -> list[list[str]]:
            listed = run("podman", *listing, f"--filter=label={label}")
            return [line.split() for line in listed.splitlines()]

        # The former label was the same under every prefix, but the names were not.
        own_name = re.compile(rf"(localhost/)?{re.escape(self.prefix)}(-|$)")
        before = [made for made in labelled(self.label_before) if own_name.match(made[1])]
        return sorted({made[0] for made in labelled(self.label) + before})

    def _exists(self, kind: str, name: str) -> bool:
        command = as_root(["podman", kind, "exists", name])
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def _network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """Return the subnet of the group's network, which is made if there is none."""
        if not self._exists("network", self.prefix):
            subnet = os.environ.get("HOSTS_SUBNET")
            run(
                *("podman", "network", "create", "--disable-dns", f"--label={self.label}"),
                *([f"--subnet={subnet}"] if subnet else []),
                self.prefix,
                problem=f"podman could not make the network {self.prefix}: HOSTS_SUBNET sets one.",
            )
        network = json.loads(run("podman", "network", "inspect", self.prefix))[0]
        return ipaddress.ip_network(network["subnets"][0]["subnet"])

    def _create(self, platform: dict[str, Any], address: str) -> Host:
        name, debian = platform["name"], platform["debian"]
        publish = [str(wish) for wish in platform.get("publish", ["80"])]
        container = self._container(name)
        image = f"localhost/{container}"
        root = build_root(debian)
        run("podman", "rm", "--force", "--ignore", "--volumes", "--time=0", container)
        run("podman", "import", "--quiet", f"--change=LABEL {self.label}", str(root), image)
        credentials = self._credentials(name)
        for attempts_left in (2, 1, 0):
            ports = choose_ports(publish)
            run(
                *("podman", "create", "--replace", f"--name={container}", f"--hostname={name}"),
                f"--label={self.label}",
                # systemd needs a writable cgroup tree of its own, and sandboxing needs mounts.
                *("--privileged", "--systemd=always", "--cgroupns=private"),
                # `reboot` inside ends the container; podman is the machine that powers it up again.
                "--restart=always",
                *(f"--network={self.prefix}", f"--ip={address}"),
                *(f"--publish=127.0.0.1:{port}:{own}" for own, port in ports.items()),
                *runtime_options(),
                image,
                *BOOT,
            )
            run("podman", "cp", "-", f"{container}:/", stdin=credentials)
            try:
                run(
                    *("podman", "start", container),
                    problem=f"podman could not start the privileged container {container}: test "
                    "hosts need root on a machine that may run such containers.",
                )
                break
            except HostError as error:
                # Somebody else, such as another checkout's `make up`, was faster.
                if "address already in use" not in str(error) or not attempts_left:
                    raise
        return Host(name, debian, container, address, publish, ports)

    def _credentials(self, name: str) -> bytes:
        """Return a tar of the key that may log in and the key that the host shows."""
        host_key = self.directory / f"host_{name}"
        host_key.unlink(missing_ok=True)
        _make_key(host_key, comment=name)
        public_key = host_key.with_suffix(".pub")
        files = {
            "root/.ssh/authorized_keys": ((self.directory / "id_ed25519.pub").read_bytes(), 0o600),
            "etc/ssh/ssh_host_ed25519_key": (host_key.read_bytes(), 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": (public_key.read_bytes(), 0o644),
        }
        host_key.unlink()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            ssh = tarfile.TarInfo("root/.ssh")
            ssh.type, ssh.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(ssh)
            for path, (content, mode) in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), mode
                tar.addfile(member, io.BytesIO(content))
        return archive.getvalue()

    def _describe(self, hosts: dict[str, Host]) -> None:
        """Write what clients need to reach the hosts."""
        known_hosts, sections = [], []
        for host in hosts.values():
            public_key = (self.directory / f"host_{host.name}.pub").read_text()
            known_hosts.append(f"{host.container} {public_key}")
            sections.append(
                f"Host {host.name}\n  Port {host.ports['22']}\n  HostKeyAlias {host.container}\n"
            )
        (self.directory / "known_hosts").write_text("".join(known_hosts))
        (self.directory / "ssh_config").write_text(
            "# Written by molecule/shared/hosts.py: ssh -F this-file NAME\n"
            + "".join(sections)
            + "Host *\n  HostName 127.0.0.1\n  User root\n"
            + f'  IdentityFile "{self.directory}/id_ed25519"\n  IdentitiesOnly yes\n'
            + f'  UserKnownHostsFile "{self.directory}/known_hosts"\n'
            + "  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
            + "  BatchMode yes\n  ConnectTimeout 5\n  LogLevel ERROR\n"
            # The same as in ansible.cfg, for all clients that keep connections.
            + "  ControlPath ~/.ansible/cp/%C\n  ServerAliveInterval 5\n"
        )
        described = {name: asdict(host) for name, host in hosts.items()}
        (self.directory / "hosts.json").write_text(json.dumps(described, indent=2) + "\n")

    def _wait(self, host: Host) -> None:
        """Return when the host answers over SSH and has started what it starts."""
        ssh = ["ssh", "-F", str(self.directory / "ssh_config"), host.name]
        give_up = time.monotonic() + READY_TIMEOUT
        # A host that started only in part is a host all the same; the tests say what is wrong.
        started = [*ssh, "systemctl is-system-running --wait || true"]
        while True:
            answer = subprocess.run(started, check=False, capture_output=True, text=True)
            if answer.returncode == 0:
                return
            if time.monotonic() > give_up:
                log = run("podman", "logs", "--tail=20", host.container)
                raise HostError(
                    f"{host.name} does not answer over SSH on port {host.ports['22']} of 127.0.0.1 "
                    f"after {READY_TIMEOUT} seconds: {answer.stderr.strip()}\n"
                    f"`make down`, or `molecule destroy`, removes it.\n{log}"
                )
            time.sleep(0.2)


def _make_key(path: Path, comment: str) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True)


# --- command line ---------------------------------------------------------------------------------


def main() -> None:
    """Carry out a command; a failure is a sentence on standard error and exit status 1."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the roots that hosts start from")
    build.add_argument("debian", type=int, nargs="+", help=f"of {list(SUITES)}")
    for name in ("create", "destroy", "urls"):
        command = commands.add_parser(name)
        command.add_argument("--directory", type=Path, required=True)
        command.add_argument("--name", default="local", help="tells groups of hosts apart")
        if name == "urls":
            command.add_argument("--https", help="the port of HTTPS, if the hosts have it")
        if name == "create":
            command.add_argument("platforms", type=json.loads, help="JSON, as the module says")
    arguments = parser.parse_args()

    try:
        if arguments.command == "build":
            with ThreadPoolExecutor() as pool:
                list(pool.map(build_root, arguments.debian))
            return
        group = Group(arguments.name, arguments.directory)
        if arguments.command == "create":
            group.create(arguments.platforms)
        elif arguments.command == "destroy":
            group.destroy()
        else:
            scheme, port = ("https", arguments.https) if arguments.https else ("http", "80")
            for host in group.hosts().values():
                address = f"{scheme}://127.0.0.1:{host.ports[port]}/"
                say(f"{host.name} (Debian {host.debian}): {address}")
    except HostError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
