"""The nginx of the host as a service: what it runs, and how it comes to run something else."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.aroundtheworld.nginx.configuration import Configuration, Run, complaint
from ansible.module_utils.aroundtheworld.nginx.site import ID, Probe
from ansible.module_utils.aroundtheworld.sockets import bracketed, holders, listeners
from ansible.module_utils.aroundtheworld.systemd import HostError

UNIT = "nginx.service"
LOG = "/var/log/nginx/error.log"
RELOAD_SECONDS = 30.0  # a reload takes as long as nginx reads, certificates of all sites included
REFUSED_SECONDS = 1.0  # until an [emerg] in the log counts, since nginx binds again and again
RESPONSE_SECONDS = 5.0
RESPONSE_BYTES = 256


class Response(NamedTuple):
    """The response of an address for a host name: a status and its text, or an error."""

    address: str
    name: str
    status: int
    text: str
    error: str = ""


class Service:
    """nginx, as systemd, the kernel and visitors see it."""

    def __init__(self, run: Run) -> None:
        """Keep `run` for commands, and read the unit's state."""
        self.run = run
        names = "ActiveState,UnitFileState,MainPID"
        output = run(["systemctl", "show", UNIT, f"--property={names}"])[1]
        self.state = dict(line.partition("=")[::2] for line in output.splitlines())

    @property
    def active(self) -> bool:
        """Tell whether nginx ran when this was made."""
        return self.state.get("ActiveState") == "active"

    @property
    def enabled(self) -> bool:
        """Tell whether nginx started at boot when this was made."""
        return self.state.get("UnitFileState") == "enabled"

    def call(self, verb: str) -> None:
        """Have systemd do what the verb says with nginx; raises `HostError` on failure."""
        code, output, error = self.run(["systemctl", verb, "--quiet", UNIT])
        if code:
            journal = ["journalctl", f"--unit={UNIT}", "--no-pager", "--output=cat", "--lines=8"]
            last = self.run(journal)[1].strip() if verb in ("start", "reload") else ""
            raise HostError(
                f"systemctl {verb} {UNIT} failed: {(error or output).strip()}"
                + (f" Its journal ends with:\n{last}" if last else "")
            )

    def try_all(self) -> str:
        """Return why nginx refuses its whole configuration, or an empty text."""
        code, output, error = self.run(["nginx", "-t", "-q"])
        return complaint(error or output) if code else ""

    def workers(self) -> set[int]:
        """Return the process ids of the nginx workers that serve and are not shutting down."""
        output = self.run(["systemctl", "show", UNIT, "--property=MainPID", "--value"])[1]
        main = output.strip() or "0"
        children = Path("/proc", main, "task", main, "children")
        found = set()
        for child in children.read_text().split() if children.exists() else []:
            try:
                title = Path("/proc", child, "cmdline").read_text()
            except OSError:
                continue
            if "worker process" in title and "shutting down" not in title:
                found.add(int(child))
        return found

    def reload(self, configuration: Configuration | None, seconds: float = RELOAD_SECONDS) -> None:
        """Have nginx read its configuration again, and return when it serves by it.

        Raises:
            HostError: It goes on with what it read before.
        """
        before, log = self.workers(), ErrorLog(configuration)
        self.call("reload")
        began = time.monotonic()
        while not (serving := self.workers()) or serving & before:
            waited = time.monotonic() - began
            refused = log.emergencies() if waited > REFUSED_SECONDS else ""
            if refused or waited > seconds:
                raise HostError(
                    "nginx did not take its new configuration. Its log ends with:\n"
                    f"{refused or log.last()}"
                )
            time.sleep(0.02)


class ErrorLog:
    """nginx's own log of errors, from a moment on."""

    def __init__(self, configuration: Configuration | None) -> None:
        """Remember where the log ends now."""
        top = configuration.top if configuration else ()
        logs = [each.args[0] for each in top if each.name == "error_log" and each.args]
        self.path = Path(logs[0] if logs and logs[0].startswith("/") else LOG)
        self.start = self.path.stat().st_size if self.path.is_file() else 0

    def lines(self) -> list[str]:
        """Return what was written since."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                return file.read(65536).decode(errors="replace").splitlines()
        except OSError:
            return []

    def emergencies(self) -> str:
        """Return the lines about a configuration that nginx did not take."""
        return "\n".join(dict.fromkeys(line for line in self.lines() if "[emerg]" in line))

    def last(self) -> str:
        """Return the last lines, also those from before."""
        with contextlib.suppress(OSError):
            return "\n".join(self.path.read_text(errors="replace").splitlines()[-5:])
        return "(nothing)"


# --- What nginx runs ------------------------------------------------------------------------------


def own_addresses(proc: Path = Path("/proc/net")) -> Iterator[str]:
    """Yield the host's own addresses, the loopback ones first of each family (proc(5))."""
    yield "127.0.0.1"
    with contextlib.suppress(OSError):
        text = (proc / "fib_trie").read_text()
        yield from dict.fromkeys(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text))
    yield "::1"
    with contextlib.suppress(OSError):
        for line in (proc / "if_inet6").read_text().splitlines():
            digits, _, _, scope, *_ = line.split()
            if scope == "00":  # global; an address of a link alone would need the link's name
                yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))


def fetch(address: str, name: str, probe: Probe) -> Response:
    """Return the response of an address of the host to a visitor of `name`."""
    connection = http.client.HTTPConnection(address, probe.port, timeout=RESPONSE_SECONDS)
    try:
        if probe.tls:
            connection.sock = connect_tls(address, name, probe.port)
        connection.request("GET", probe.path, headers={"Host": name, "Connection": "close"})
        http_response = connection.getresponse()
        text = http_response.read(RESPONSE_BYTES).decode(errors="replace").strip()
        return Response(address, name, http_response.status, text)
    except (OSError, http.client.HTTPException) as error:
        return Response(address, name, 0, "", str(error) or type(error).__name__)
    finally:
        connection.close()


def connect_tls(address: str, name: str, port: int) -> ssl.SSLSocket:
    """Return a TLS connection to a server of this host for a name.

    Whose certificate it has does not matter: the response has the id of the configuration.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection((address, port), RESPONSE_SECONDS)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def wrong_responses(probe: Probe) -> list[Response]:
    """Return for each host name a response that is not the site's, nothing when all are.

    A neighbour may have an address of the host for itself, so of each family one address with
    the site's response is enough.
    """
    addresses = dict.fromkeys(own_addresses())
    families = [[address for address in addresses if ":" not in address]]
    if probe.ipv6:
        families.append([address for address in addresses if ":" in address])
    wrong = []
    for family in families:
        for name in probe.names:
            responses: list[Response] = []
            for address in family:
                responses.append(fetch(address, name, probe))
                if responses[-1].status == 200 and responses[-1].text == probe.id:
                    break
            else:
                wrong.append(next((each for each in responses if each.status), responses[0]))
    return wrong


def serves_any(probe: Probe) -> bool:
    """Tell whether nginx serves the site, with whichever configuration."""
    return any(
        response.status == 200 and ID.fullmatch(response.text)
        for name in probe.names
        for address in dict.fromkeys(own_addresses())
        if probe.ipv6 or ":" not in address
        for response in [fetch(address, name, probe)]
    )


def explain(response: Response, probe: Probe, configuration: Configuration | None) -> str:
    """Return the sentence about a response that is not the site's, and about whose it is."""
    at = bracketed(response.address)
    url = f"{probe.scheme}://{response.name}{probe.path} on {at}:{probe.port}"
    if response.error:
        return f"There is no response to {url} ({response.error})."
    sentence = (
        f"The response to {url} is not the site's. With status {response.status}, it comes from"
    )
    if "nginx" not in (listening := {*processes_on(probe.port).values()}):
        return f"{sentence} {', '.join(sorted(listening)) or 'an unknown process'}."
    found = configuration and configuration.server_for(response.name, at, probe.port)
    if not found:
        return f"{sentence} another server of nginx."
    names = " ".join(found.names).strip() or "without a name"
    return f"{sentence} the server of nginx in {found.directive.where} ({names})."


def processes_on(port: int, proc: Path = Path("/proc")) -> dict[int, str]:
    """Return the processes that listen on the port, id to name."""
    inodes = {listener.inode for listener in listeners() if listener.port == port}
    return {process: name for _, process, name in holders(inodes, proc)} if inodes else {}


def strangers(port: int, proc: Path = Path("/proc")) -> list[int]:
    """Return the first process on the port that is an nginx and not of its unit, if there is one.

    systemd does not reload an nginx that was started by hand, or in a container.
    """
    for process, name in sorted(processes_on(port, proc).items()):
        with contextlib.suppress(OSError):
            groups = (proc / str(process) / "cgroup").read_text()
            if name == "nginx" and f"/{UNIT}" not in groups:
                return [process]
    return []
