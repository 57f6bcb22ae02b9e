"""A real nginx for tests: Debian's, unpacked by scripts/bootstrap or installed on the machine."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.role_files import CHECKOUT
from tests.waiting import until

UNPACKED = CHECKOUT / ".cache" / "nginx" / "usr" / "sbin" / "nginx"
NGINX = str(UNPACKED) if UNPACKED.exists() else shutil.which("nginx", path="/usr/sbin:/usr/bin")

needs_nginx = pytest.mark.skipif(
    NGINX is None and "CI" not in os.environ, reason="there is no nginx; `make unit` unpacks one"
)

MAIN = """\
pid {root}/nginx.pid;
error_log {root}/error.log;
worker_processes 2;
{user}
{main}
events {{}}
http {{
    access_log off;
    {temporary}
    {http}
    {includes}
}}
"""
DEBIAN = "include conf.d/*.conf; include {etc}/sites-enabled/*;"
NGINX_ORG = "include {etc}/conf.d/*.conf;"


# Below those that the kernel gives to connections, which may come between the search and nginx, and
# other ones for each of the processes that run tests beside each other.
PORTS = itertools.count(
    20000 + 200 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
)


def free_port() -> int:
    """Return a port on which nothing listens, another one each time."""
    while True:
        port = next(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def fetch(port: int, path: str, host: str, address: str = "127.0.0.1") -> tuple[int, str]:
    """Return status and body of a request whose path goes over the wire as it is."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.request("GET", path, headers={"Host": host, "Connection": "close"})
    response = connection.getresponse()
    try:
        return response.status, response.read().decode().strip()
    finally:
        connection.close()


class Host:
    """A host of which nginx, its files and its processes are real, and systemd is not."""

    def __init__(self, root: Path, includes: str = DEBIAN, http: str = "", main: str = "") -> None:
        """Lay nginx's files out below `root`."""
        self.root, self.etc, self.own = root, root / "nginx", root / "etc"
        for directory in (self.etc / "conf.d", self.own / "shop"):
            directory.mkdir(parents=True)
        (self.etc / "mime.types").write_text("types { text/html html; }\n")
        self.conffiles: dict[Path, str] = {}
        if includes is DEBIAN:
            for name in ("sites-available", "sites-enabled"):
                (self.etc / name).mkdir()
            default = self.etc / "sites-available" / "default"
            self.default_port = free_port()
            default.write_text(
                f"server {{ listen {self.default_port} default_server; return 200 welcome; }}\n"
            )
            (self.etc / "sites-enabled" / "default").symlink_to(default)
            self.conffiles[default] = hashlib.md5(default.read_bytes()).hexdigest()
        self.main = self.etc / "nginx.conf"
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        self.temporary = " ".join(f"{kind}_temp_path {root}/{kind};" for kind in kinds)
        # As root, so that nginx's own processes may read what pytest keeps from others.
        user = "user root;" if os.geteuid() == 0 else ""
        parts = {
            "user": user,
            "http": http,
            "main": main,
            "includes": includes.format(etc=self.etc),
        }
        self.main.write_text(MAIN.format(root=root, temporary=self.temporary, **parts))
        self.enabled = True
        self.verbs: list[str] = []
        self.ignores_reloads = False
        self.fails = ""  # a verb that systemctl refuses

    @property
    def pid(self) -> int:
        """Return the process id of the main process, 0 if there is none."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.root / "nginx.pid").read_text())
            if Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return pid
        return 0

    def nginx(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Run nginx, with this host's configuration unless the arguments say otherwise."""
        assert NGINX
        where: list[str | Path] = ["-c", self.main]
        if "-c" in arguments:
            where = []
            main = Path(arguments[arguments.index("-c") + 1])
            # Debian's nginx was built for directories that only its package makes.
            main.write_text(main.read_text().replace("http {", f"http {{ {self.temporary}"))
        command = [NGINX, "-p", self.root, "-e", self.root / "error.log", *where, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def start(self) -> Host:
        """Start nginx as a boot would."""
        code, _, error = self.nginx()
        assert code == 0, error
        self.until(lambda: self.pid > 0)
        return self

    def stop(self) -> None:
        """Stop nginx at once, and wait for that."""
        if pid := self.pid:
            os.kill(pid, signal.SIGTERM)
            self.until(lambda: not self.pid)

    def restarts(self) -> bool:
        """Tell whether nginx comes back from a restart, as it would from a reboot."""
        self.stop()
        code, _, error = self.nginx()
        print(error)
        return code == 0

    @staticmethod
    def until(good: Callable[[], object], seconds: float = 10) -> None:
        until(good, seconds=seconds, pause=0.01)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """Run a command as Ansible's modules do."""
        if command[0] == "timeout":
            command = command[2:]
        if command[0] == "dpkg-query":
            return 0, "".join(f" {path} {md5}\n" for path, md5 in self.conffiles.items()), ""
        if command[0].endswith("nginx"):
            return self.nginx(*command[1:])
        if command[0] == "journalctl":
            return 0, "what the journal says", ""
        assert command[0] == "systemctl"
        verb = command[1]
        if verb == "show":
            if "--value" in command:
                return 0, f"{self.pid}\n", ""
            active = "active" if self.pid else "inactive"
            enabled = "enabled" if self.enabled else "disabled"
            return 0, f"ActiveState={active}\nUnitFileState={enabled}\nMainPID={self.pid}\n", ""
        assert command[2:] == ["--quiet", "nginx.service"]
        self.verbs.append(verb)
        if verb == self.fails:
            return 1, "", "Job for nginx.service failed."
        if verb in ("enable", "disable"):
            self.enabled = verb == "enable"
        elif verb == "stop":
            self.stop()
        elif verb == "start":
            return self.nginx()
        elif verb == "reload" and not self.ignores_reloads:
            return self.nginx("-s", "reload")
        return 0, "", ""

    def files(self) -> dict[str, str]:
        """Return what there is of nginx's files and of the site's notes."""
        found = {}
        for top in (self.etc, self.own):
            for path in sorted(top.rglob("*")):
                if path.is_symlink():
                    found[str(path)] = f"-> {path.readlink()}"
                elif path.is_file():
                    found[str(path)] = path.read_text()
        return found


def placed(text: str, root: Path) -> str:
    """Return a rendered site with logs and types where an ordinary user may have them."""
    text = text.replace("/etc/nginx/mime.types", str(root / "nginx" / "mime.types"))
    text = re.sub("/etc/aroundtheworld/(tls|passwords)", rf"{root}\g<0>", text)
    return re.sub(r"/var/log/nginx/\w+", str(root), text)


def paths(host: Host) -> tuple[Path, Path, Path]:
    """Return a site's file, the link to it, and the link to Debian's welcome page."""
    available, enabled = host.etc / "sites-available", host.etc / "sites-enabled"
    return available / "shop.conf", enabled / "shop.conf", enabled / "default"
