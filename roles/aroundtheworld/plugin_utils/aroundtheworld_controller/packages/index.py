"""Package indexes, read without running anything of a package.

pip runs the code of a source archive to learn its name, also where it only downloads, and with all
that is in the operator's environment. So it fetches wheels only. A source archive is fetched here,
from where pip would look for it.
"""

from __future__ import annotations

import ast
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ansible.module_utils import urls
from packaging.utils import canonicalize_name

from aroundtheworld_controller.addresses import shown, shown_with
from aroundtheworld_controller.app.source_tree import MOST_BYTES
from aroundtheworld_controller.packages.pip import run_pip

PYPI = "https://pypi.org/simple"
JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = {"Accept": f"{JSON}, text/html;q=0.5"}
TIMEOUT = 30  # seconds
CHUNK = 1 << 20  # bytes
MOST_PAGE = 64 << 20  # bytes
SETTING = re.compile(r"(?P<section>[\w:-]+)\.(?P<name>[a-z-]+)=(?P<value>['\"].*)")


class IndexFailure(Exception):  # noqa: N818 - an index that does not answer is no fault of ours
    """An index cannot be read; the message says which and why, without passwords."""


class NotThereFailure(IndexFailure):
    """An index has no such page or file."""


@dataclass(frozen=True)
class File:
    """A file of a package, as an index links to it.

    Attributes:
        name: The file's name.
        address: Its URL; one of an index with a password has that too.
        hashes: What the index says of its content, as in ``sha256:…``; there may be none.
        python: For which Pythons it says that it is, a version specifier or nothing.
    """

    name: str
    address: str
    hashes: frozenset[str]
    python: str = ""


@dataclass(frozen=True)
class Indexes:
    """Where pip would look for packages, and how it would ask there.

    Attributes:
        roots: Addresses of indexes.
        links: Directories, and pages of links.
        options: More arguments for `open_url`.
        trusted: Hosts whose certificate is not checked.
    """

    roots: Sequence[str] = (PYPI,)
    links: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    trusted: Sequence[str] = ()

    def files(self, name: str) -> Iterator[File]:
        """Yield what there is of a package; raises `IndexFailure`."""
        for root in self.roots:
            yield from self._page(f"{root.rstrip('/')}/{canonicalize_name(name)}/", root)
        for place in self.links:
            directory = _local(place)
            if directory and directory.is_dir():
                for path in sorted(directory.iterdir()):
                    yield File(path.name, path.as_uri(), frozenset())
            else:
                yield from self._page(place, place)

    def download(self, file: File, into: Path) -> None:
        """Write a file of a package to `into`; raises `IndexFailure`."""
        with self._open(file.address, {}) as response, into.open("wb") as written:
            while chunk := response.read(CHUNK):
                written.write(chunk)
                if written.tell() > MOST_BYTES:
                    raise IndexFailure(f"{file.name} is larger than {MOST_BYTES >> 30} GiB")

    def _page(self, address: str, root: str) -> Iterator[File]:
        local = _local(address)
        if local and local.is_dir():
            local = local / "index.html"
        if local:
            address = local.as_uri()
        try:
            with self._open(address, ACCEPT) as response:
                text = response.read(MOST_PAGE).decode("utf-8", "replace")
                base = response.geturl() or address
                kind = str(response.headers.get("Content-Type") or "")
        except NotThereFailure:
            return
        links = _json_links(text) if kind.startswith(JSON) else _html_links(text)
        for link, name, hashes, python in links:
            found = urllib.parse.urldefrag(urllib.parse.urljoin(base, link))
            if re.fullmatch(r"sha(256|384|512)=[0-9a-f]+", found.fragment):
                hashes = {*hashes, found.fragment.replace("=", ":")}
            name = name or urllib.parse.unquote(found.url.split("?")[0].rpartition("/")[2])
            yield File(name, _with_password(found.url, root), frozenset(hashes), python)

    def _open(self, address: str, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - a response
        try:
            if local := _local(address):
                if not local.is_file():
                    raise NotThereFailure(f"{local} is not there")
                return urllib.request.urlopen(address)  # noqa: S310 - a file
            checks = urllib.parse.urlsplit(address).hostname not in self.trusted
            return urls.open_url(
                address, headers=dict(headers), timeout=TIMEOUT, validate_certs=checks,
                **self.options,
            )  # fmt: skip
        except urllib.error.HTTPError as error:
            error.close()  # it holds the server's answer
            if error.code in (404, 410):
                raise NotThereFailure(f"{shown(address)} is not there") from None
            raise IndexFailure(f"{shown(address)} answers {error.code}") from None
        except (OSError, http.client.HTTPException, urls.ConnectionError, ValueError) as error:
            why = shown_with(address, str(error))
            raise IndexFailure(f"{shown(address)} cannot be read: {why}") from None


def indexes(pip: Sequence[str], more: Sequence[str] = ()) -> Indexes:
    """Return where `pip` looks for packages: by its files, its variables, and options.

    Args:
        pip: The command that runs it.
        more: Options of a lockfile, such as ``--index-url`` and its address.
    """
    done = run_pip([*pip, "config", "list"])
    values: dict[str, str] = {}
    # What is for every command, then what is for this one, then variables.
    lines = [found for line in done.stdout.splitlines() if (found := SETTING.fullmatch(line))]
    for section in ("global", "download", ":env:"):
        for found in lines:
            if found["section"] == section:
                values[found["name"]] = str(ast.literal_eval(found["value"]))
    options = list(zip(more[::2], more[1::2], strict=True))
    index = values.get("index-url", PYPI)
    extra = values.get("extra-index-url", "").split()
    links = values.get("find-links", "").split()
    trusted = values.get("trusted-host", "").split()
    none = values.get("no-index", "").lower() in ("1", "true", "yes", "on")
    for name, value in options:
        index = value if name == "--index-url" else index
        extra += [value] if name == "--extra-index-url" else []
        links += [value] if name == "--find-links" else []
        trusted += [value] if name == "--trusted-host" else []
        none = none or name == "--no-index"
    certificates = {"ca_path": values.get("cert"), "client_cert": values.get("client-cert")}
    return Indexes(
        roots=() if none else (index, *extra),
        links=links,
        options={name: value for name, value in certificates.items() if value},
        trusted=[host.partition(":")[0] for host in trusted],
    )


class _Anchors(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of a link, and for which Pythons that is."""
        about = dict(attrs)
        if tag == "a" and (link := about.get("href")):
            self.found.append((link, about.get("data-requires-python") or ""))


def _html_links(text: str) -> Iterator[tuple[str, str, set[str], str]]:
    anchors = _Anchors()
    anchors.feed(text)
    for link, python in anchors.found:
        yield link, "", set(), python


def _json_links(text: str) -> Iterator[tuple[str, str, set[str], str]]:
    try:
        for entry in json.loads(text)["files"]:
            hashes = {f"{kind}:{digest}" for kind, digest in entry.get("hashes", {}).items()}
            python = str(entry.get("requires-python") or "")
            yield str(entry["url"]), str(entry["filename"]), hashes, python
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IndexFailure("an index's page is no JSON as PEP 691 has it") from None


def _local(address: str) -> Path | None:
    """Return the path on the controller that an address is."""
    if address.startswith("file:"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(address).path))
    return None if "://" in address else Path(address).expanduser().absolute()


def _with_password(address: str, root: str) -> str:
    """Return a file's address, with user and password of its index if it is on the same host."""
    file, index = urllib.parse.urlsplit(address), urllib.parse.urlsplit(root)
    login, at, place = index.netloc.rpartition("@")
    if at and file.netloc == place and file.scheme == index.scheme:
        return file._replace(netloc=f"{login}@{place}").geturl()
    return address
