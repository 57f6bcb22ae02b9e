"""What the host's nginx is configured to do, as ``nginx -T`` names the files that it reads."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.aroundtheworld.nginx.syntax import (
    ConfigurationError,
    Directive,
    parse,
)

# What Ansible's modules run a command with: its words, to status, output and errors.
Run = Callable[[list[str]], tuple[int, str, str]]

MARK = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)
MAIN = "/etc/nginx/nginx.conf"
DIRECTORIES = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
# nginx looks host names of upstreams up while it reads; where no name server answers, that takes.
SECONDS = "60"
HTTP2_DIRECTIVE = (1, 25, 1)  # for a server; before, `listen` switched HTTP/2 for a whole port
DEEPEST = 32  # includes within one another


class Listen(NamedTuple):
    """A `listen` directive; the addresses ``*`` and ``[::]`` are all, and the port 0 is none."""

    address: str
    port: int
    options: tuple[str, ...]
    directive: Directive

    @property
    def wildcard(self) -> bool:
        """Tell whether it listens on every address of its family."""
        return self.address in ("*", "[::]")


def parse_listen(directive: Directive) -> Listen:
    """Return where a `listen` directive listens (``ngx_parse_url``)."""
    where, *options = directive.args or ("",)
    if where.startswith("unix:"):
        return Listen(where, 0, tuple(options), directive)
    if where.isdigit():
        address, port = "*", where
    elif match := re.fullmatch(r"(\[.*\])(?::(\d+))?", where):
        address, port = match[1], match[2] or "80"
    else:
        address, _, port = where.partition(":")
    address = {"0.0.0.0": "*", "[::0]": "[::]"}.get(address, address)  # noqa: S104 - compared only
    return Listen(address, int(port) if port.isdigit() else 80, tuple(options), directive)


@dataclass(frozen=True)
class Server:
    """A `server` block of http with its directives, those of included files among them."""

    directive: Directive
    content: tuple[Directive, ...]

    @cached_property
    def listens(self) -> tuple[Listen, ...]:
        """Return where it listens; without a word about that, on port 80 of all IPv4 addresses.

        HTTP/3 does not count: its sockets are of UDP, and exclude no others.
        """
        found = [
            parse_listen(directive) for directive in self.content if directive.name == "listen"
        ] or [Listen("*", 80, (), self.directive)]
        return tuple(listen for listen in found if "quic" not in listen.options)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return its names, in lower case but for regular expressions."""
        lists = [each.args for each in self.content if each.name == "server_name"]
        names = [name for names in lists for name in names] or [""]
        return tuple(name if name.startswith("~") else name.lower() for name in names)

    def directive_named(self, name: str) -> Directive | None:
        """Return the directive of this name directly in the block, if there is one."""
        return next((each for each in self.content if each.name == name), None)


class Configuration:
    """All of nginx's configuration."""

    def __init__(self, files: Mapping[str, tuple[Directive, ...]], main: str = MAIN) -> None:
        """Take the directives of each file by its path, and the path of the main file."""
        self.main, self.files = main, files
        self.top = tuple(self.expand(files.get(main, ())))

    @classmethod
    def of(cls, texts: Mapping[str, str], main: str = MAIN) -> Configuration:
        """Return the configuration of the files, path to text; raises `ConfigurationError`."""
        return cls({path: parse(text, path) for path, text in texts.items()}, main)

    def without(self, paths: Iterable[str]) -> Configuration:
        """Return what it would be without some of the files."""
        gone = set(paths)
        kept = {path: content for path, content in self.files.items() if path not in gone}
        return Configuration(kept, self.main)

    def having(self, path: str, text: str) -> Configuration:
        """Return what it would be with a file of this text."""
        return Configuration({**self.files, path: parse(text, path)}, self.main)

    def expand(self, directives: tuple[Directive, ...], *, depth: int = 0) -> Iterator[Directive]:
        """Yield the directives, and in the place of an `include` those of the files it names."""
        for directive in directives:
            if directive.name != "include" or not directive.args or depth > DEEPEST:
                yield directive
                continue
            for path in self.included(directive):
                yield from self.expand(self.files[path], depth=depth + 1)

    def pattern(self, include: Directive) -> str:
        """Return the absolute pattern of an `include`; others begin where the first file is."""
        return str(Path(self.main).parent / include.args[0])

    def included(self, include: Directive) -> list[str]:
        """Return the paths of the files that an `include` reads, in nginx's order."""
        pattern = self.pattern(include)
        return [path for path in sorted(self.files) if matches(path, pattern)]

    @cached_property
    def http(self) -> tuple[Directive, ...]:
        """Return the directives of the http block."""
        blocks = [each.block or () for each in self.top if each.name == "http"]
        return tuple(directive for block in blocks for directive in self.expand(block))

    @cached_property
    def http_includes(self) -> tuple[Directive, ...]:
        """Return every `include` that is directly in the http block, also by another one."""

        def below(directives: tuple[Directive, ...], depth: int = 0) -> Iterator[Directive]:
            for directive in directives:
                if directive.name == "include" and directive.args:
                    yield directive
                    for path in self.included(directive) if depth < DEEPEST else ():
                        yield from below(self.files[path], depth + 1)

        blocks = [each.block or () for each in self.top if each.name == "http"]
        return tuple(include for block in blocks for include in below(block))

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        """Return the servers of http in nginx's order."""
        return tuple(
            Server(directive, tuple(self.expand(directive.block or ())))
            for directive in self.http
            if directive.name == "server"
        )

    @cached_property
    def streams(self) -> tuple[Listen, ...]:
        """Return where the servers of the blocks beside http listen, stream and mail, by TCP."""
        blocks = [each.block or () for each in self.top if each.name in ("stream", "mail")]
        servers = [
            directive.block or ()
            for block in blocks
            for directive in self.expand(block)
            if directive.name == "server"
        ]
        return tuple(
            parse_listen(directive)
            for server in servers
            for directive in self.expand(server)
            if directive.name == "listen" and "udp" not in directive.args
        )

    def includes_of(self, path: str) -> int:
        """Return how many times http would read a file of this path."""
        return sum(matches(path, self.pattern(include)) for include in self.http_includes)

    def default_server(self, address: str, port: int) -> Server | None:
        """Return the server that nginx asks before it knows a request's host name."""
        first = None
        for server in self.servers:
            for listen in server.listens:
                if (listen.address, listen.port) == (address, port):
                    if {"default_server", "default"} & set(listen.options):
                        return server
                    first = first or server
        return first

    def server_for(self, name: str, address: str, port: int) -> Server | None:
        """Return the server that answers a host name on an address of the host."""
        found = [
            server
            for server in self.servers
            if (address, port) in {(listen.address, listen.port) for listen in server.listens}
        ]
        if not found and address != "[::]":
            # One of [::] with ipv6only=off has IPv4's visitors too.
            wider = "[::]" if address == "*" or address.startswith("[") else "*"
            return self.server_for(name, wider, port)
        best = max(found, key=lambda server: how_well(server, name), default=None)
        if best is None or how_well(best, name) == (0, 0):
            return self.default_server(address, port)
        return best


def matches(path: str, pattern: str) -> bool:
    """Tell whether glob(3) would find the path by the pattern."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(
        fnmatch.fnmatchcase(part, glob) and (not part.startswith(".") or glob.startswith("."))
        for part, glob in zip(parts, patterns, strict=True)
    )


def how_well(server: Server, name: str) -> tuple[int, int]:
    """Return how well a host name fits a server, as nginx ranks it; (0, 0) if it does not."""
    return max((_fit(pattern, name.lower()) for pattern in server.names), default=(0, 0))


def _fit(pattern: str, name: str) -> tuple[int, int]:
    if pattern == name:
        return 4, 0
    if pattern.startswith("."):
        if name == pattern[1:]:
            return 4, 0
        pattern = f"*{pattern}"
    if pattern.startswith("*.") and name.endswith(pattern[1:]):
        return 3, len(pattern)
    if pattern.endswith(".*") and name.startswith(pattern[:-1]):
        return 2, len(pattern)
    if pattern.startswith("~"):
        try:
            return (1, 0) if re.search(pattern[1:], name, re.IGNORECASE) else (0, 0)
        except re.error:  # Perl's syntax has more than Python's
            return 0, 0
    return 0, 0


def program() -> str:
    """Return the path of the host's nginx, from whichever package; an empty text without one."""
    return shutil.which("nginx", path=DIRECTORIES) or ""


def versions(run: Run) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the versions of the host's nginx and of the OpenSSL that it runs with."""
    _, output, error = run([program() or "nginx", "-V"])
    text = output + error
    nginx = re.search(r"nginx/(\d+(?:\.\d+)*)", text)
    openssl = re.findall(r"OpenSSL (\d+(?:\.\d+)*)", text)  # built with, and running with
    return _numbers(nginx[1] if nginx else ""), _numbers(openssl[-1] if openssl else "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


def read_configuration(run: Run) -> Configuration:
    """Return what nginx reads.

    Raises:
        ConfigurationError: nginx does not accept what there is; the message is its own.
    """
    code, output, error = run(["timeout", SECONDS, program() or "nginx", "-T", "-q"])
    if code == 124:
        raise ConfigurationError(f"nginx has not read its configuration within {SECONDS} s")
    if code:
        raise ConfigurationError(complaint(error or output))
    names = list(dict.fromkeys(MARK.findall(output)))
    # From the files, since a comment in one of them may look like nginx's own mark between them.
    texts = {
        name: Path(name).read_text(errors="surrogateescape")
        for name in names
        if Path(name).is_file()
    }
    return Configuration.of(texts, names[0] if names else MAIN)


def complaint(text: str) -> str:
    """Return what nginx reports as wrong, without the rest of its output."""
    worst = re.findall(r"\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?(.*)", text)
    return "\n".join(dict.fromkeys(worst)) or text.strip()
