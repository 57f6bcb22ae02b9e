"""A site in nginx: where its file is, how it is probed, and Debian's welcome page beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.claims import (
    PROXY_PORT,
    has_tls,
    nginx_ports,
    read_claims,
)
from ansible.module_utils.aroundtheworld.layout import ETC
from ansible.module_utils.aroundtheworld.nginx.configuration import (
    Configuration,
    Run,
    Server,
)
from ansible.module_utils.aroundtheworld.nginx.syntax import ConfigurationError, parse

NGINX = Path("/etc/nginx")
# In a site's configuration, for an id that stands for all of its text.
PLACEHOLDER = "@CONFIGURATION@"
ID = re.compile(r"[0-9a-f]{16}")
# Where a site notes, beside its settings, what it changed in nginx that is not its own.
NOTE = "nginx.json"
DEFAULT = "default_site"


def identified(content: str) -> str:
    """Return a site's configuration with its id in the place of the placeholder."""
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return content.replace(PLACEHOLDER, digest)


def own_location(site: str) -> str:
    """Return the path at which nginx reports which configuration of the site it runs."""
    return f"/.{site}/nginx"


def is_own(path: Path, site: str) -> bool:
    """Tell whether a file is the site's, also one of an older version of the role."""
    return bool(belongings.is_marked(path, site))


@dataclass(frozen=True)
class Probe:
    """A request by which nginx reports which configuration of a site it runs."""

    path: str
    id: str
    """The response when nginx runs this configuration."""
    names: tuple[str, ...]
    port: int
    ipv6: bool
    tls: bool = False

    @classmethod
    def all_of(cls, text: str, site: str) -> list[Probe]:
        """Return the probes of a site's configuration: one for each server that has their path."""
        try:
            directives = parse(text)
        except ConfigurationError:
            return []
        probes = []
        for directive in directives:
            server = Server(directive, directive.block or ())
            if any("proxy_protocol" in listen.options for listen in server.listens):
                continue  # it has the same locations as the server without, and proxies only
            for location in server.content:
                if location.name == "location" and location.args == ("=", own_location(site)):
                    returned = [
                        inner.args[1].strip()
                        for inner in location.block or ()
                        if inner.name == "return" and len(inner.args) == 2
                    ]
                    listens = server.listens
                    probe = cls(
                        own_location(site),
                        returned[0] if returned else "",
                        tuple(host_name(name, site) for name in server.names),
                        listens[0].port,
                        any(listen.address == "[::]" for listen in listens),
                        "ssl" in listens[0].options,
                    )
                    probes.append(probe)
        return probes

    @classmethod
    def all_of_claim(cls, site: str, etc: Path = ETC) -> list[Probe]:
        """Return the probes by a site's claim; its file may be gone."""
        claim = read_claims(etc).get(site, {})
        names = tuple(host_name(name, site) for name in claim.get("server_names", ()))
        return [
            cls(own_location(site), "", names, port, ipv6=False, tls=has_tls(claim, variable))
            for variable, port in nginx_ports(claim).items()
            if variable != PROXY_PORT
        ]

    @property
    def scheme(self) -> str:
        """Return the scheme of its addresses."""
        return "https" if self.tls else "http"


def host_name(name: str, site: str) -> str:
    """Return a host name that a server's name stands for, if need be one of the site's own."""
    if name in ("_", ""):
        return f"{site}.invalid"  # RFC 2606: no real host has it
    return f"{site}{name[1:]}" if name.startswith("*.") else name


@dataclass(frozen=True)
class Place:
    """Where a site's configuration is: its file, and the link to it that nginx reads, if any."""

    file: Path
    link: Path | None = None

    @property
    def read(self) -> Path:
        """Return the path by which nginx reads the site."""
        return self.link or self.file


def debian(site: str, etc: Path = NGINX) -> Place:
    """Return where Debian's nginx has its sites."""
    return Place(etc / "sites-available" / f"{site}.conf", etc / "sites-enabled" / f"{site}.conf")


def find_place(configuration: Configuration | None, site: str, etc: Path = NGINX) -> Place | None:
    """Return where this nginx would read a site; without an nginx, where Debian's will.

    That is Debian's directories, or nginx.org's `conf.d`, or another directory of which http
    includes such files; whichever it is, it is there, and nginx reads a file of it once.
    """
    usual = debian(site, etc)
    if configuration is None or (usual.link and configuration.includes_of(str(usual.link)) == 1):
        if configuration is None or (usual.read.parent.is_dir() and usual.file.parent.is_dir()):
            return usual
        if usual.read.parent.is_dir():
            return Place(usual.read)
    patterns = [Path(configuration.pattern(include)) for include in configuration.http_includes]
    directories = [usual.read.parent, etc / "conf.d", *(pattern.parent for pattern in patterns)]
    for directory in dict.fromkeys(directories):
        path = directory / f"{site}.conf"
        if configuration.includes_of(str(path)) == 1 and directory.is_dir():
            return Place(path)
    return None


def no_place(configuration: Configuration) -> str:
    """Return the sentence about an nginx that includes no directory for a site."""
    includes = [f"{each.args[0]!r} ({each.where})" for each in configuration.http_includes]
    return (
        "nginx: no directory is included in the http block of "
        f"{configuration.main} in which a site could be; it includes "
        f"{', '.join(includes) or 'nothing'}. Add 'include /etc/nginx/conf.d/*.conf;' to its http "
        "block, and make that directory."
    )


# --- Debian's welcome page ------------------------------------------------------------------------


def default_is_debians(run: Run, etc: Path = NGINX) -> bool:
    """Tell whether Debian's default site is as its package brought it; dpkg knows the checksum."""
    path = etc / "sites-available" / "default"
    if path.is_symlink() or not path.is_file():
        return False
    _, output, _ = run(["dpkg-query", "--show", "--showformat=${Conffiles}\n", "nginx-common"])
    known = {
        fields[0]: fields[1] for line in output.splitlines() if len(fields := line.split()) > 1
    }
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return known.get(str(path)) == digest


def default_is_on(run: Run, etc: Path = NGINX) -> bool:
    """Tell whether Debian's untouched default site is linked where nginx reads it."""
    link = etc / "sites-enabled" / "default"
    target = etc / "sites-available" / "default"
    return link.is_symlink() and link.resolve() == target.resolve() and default_is_debians(run, etc)


def read_note(site: str, etc: Path = ETC) -> str:
    """Return where the link of Debian's welcome page led, if the site switched that off."""
    try:
        note = json.loads((etc / site / NOTE).read_text())
    except (OSError, ValueError):
        return ""
    return str(note.get(DEFAULT, "")) if isinstance(note, dict) else ""


def note_text(target: str) -> str:
    """Return the text of a site's note that it took the link to `target` away."""
    return json.dumps({DEFAULT: target}, indent=2) + "\n"


def heirs(site: str, etc: Path = ETC) -> Sequence[str]:
    """Return the other sites of the role that nginx serves on this host."""
    claims = read_claims(etc)
    return [name for name, claim in claims.items() if name != site and claim["http_port"]]
