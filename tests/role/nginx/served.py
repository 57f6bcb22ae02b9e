"""A rendered site behind a real nginx, whose workers respond with what they received."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.nginx.configuration import versions
from ansible.module_utils.aroundtheworld.nginx.site import identified

from aroundtheworld_controller.nginx.passwords import password_files
from tests import certificates
from tests.render import RELEASE_ID, render, variables_for
from tests.role.nginx.process import Host, free_port, placed

# Everything about a request that the first server of the address decides.
FIRST = """server {{
    listen {port} default_server; listen [::]:{port} default_server; server_name blog.example;
    merge_slashes {merges}; underscores_in_headers on; ignore_invalid_headers off;
    return 200 blog;
}}
"""
SPECIAL = {
    "/busy": (503, {"X-Own": "kept"}, "the app's own"),
    "/limited": (429, {"Retry-After": "7"}, "the app's own 429"),
    "/nowhere": (404, {}, "the app's own 404"),
    "/moved": (302, {"Location": "http://app.example/x"}, ""),
    "/cookie": (200, {"Set-Cookie": "a=b; Path=/; Domain=app.example"}, ""),
    "/ssi": (200, {"Content-Type": "text/html"}, '<!--#echo var="uri" -->'),
    "/page": (200, {"Content-Type": "text/html"}, "page" * 1000),
    "/admin/page": (200, {"Content-Type": "text/html"}, "page" * 1000),
    "/wide": (200, {"X-Wide": "x" * 6000}, "wide"),
}


class Worker(ThreadingHTTPServer):
    """Responds to every request with what it received, and keeps a list of that."""

    daemon_threads = True

    def __init__(self, pool: str) -> None:
        """Serve from now on; while `gate` is cleared, requests wait."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.pool = pool
        self.requests: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Respond to what waits, and end."""
        self.gate.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Handles a request to a worker."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each response takes 40 ms
    server: Worker

    def respond(self) -> None:
        """Send what was received, or what `SPECIAL` has for the path."""
        self.path = self.requestline.split(" ")[1]  # where http.server made one slash of two
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        request = {
            "pool": self.server.pool,
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body,
        }
        self.server.requests.append(request)
        self.server.gate.wait(10)
        status, headers, text = SPECIAL.get(self.path, (200, {}, json.dumps(request)))
        path, _, query = self.path.partition("?")
        if path == "/respond":  # with the status and the headers that the query has
            headers = dict(urllib.parse.parse_qsl(query))
            status, text = int(headers.pop("status")), ""
        self.send_response(status)
        if path == "/wide" and query:  # with that many cookies of 4 kB
            for number in range(int(query.partition("=")[2])):
                self.send_header("Set-Cookie", f"c{number}={'x' * 4050}")
        for name, value in {**headers, "X-Aroundtheworld-Release": RELEASE_ID}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = respond  # noqa: N815 - as http.server calls them

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Site:
    """The site behind a real nginx."""

    def __init__(
        self,
        root: Path,
        http: str = "",
        *,
        neighbour: str = FIRST,
        merges: str = "off",
        names: Iterable[str] = ("shop.example",),
        dual_stack: bool = False,
        public: Mapping[str, Any] | None = None,
        admin: Mapping[str, Any] | None = None,
        pools: Iterable[Mapping[str, Any]] = (),
        siblings: Iterable[int] = (),
        variables: Mapping[str, Any] | None = None,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Start nginx below `root`, with directives of its http block, and the workers.

        Args:
            root: Where everything is.
            http: Directives of nginx's http block.
            neighbour: Another server of the site's port.
            merges: Whether that server merges slashes.
            names: The site's host names.
            dual_stack: Whether the site shares the neighbour's socket for IPv4 and IPv6.
            public: More settings of the pool that serves ``/``.
            admin: More settings of the pool that serves ``/admin``.
            pools: More pools.
            siblings: The ports of more workers of the pool that serves ``/``.
            variables: More variables of the role; in directives for nginx, ``$site_`` stands for
                what the names of the site's variables begin with.
            tls: With HTTPS, by a certificate of `certificates.root`, the variables that are set.
        """
        self.home = root / "home"
        for url in ("static", "admin/static"):
            static = self.home / "assets" / "current" / url
            static.mkdir(parents=True)
            (static / "a.css").write_text("body {}")
        self.workers = {pool: Worker(pool) for pool in ("public", "admin")}
        ports = {pool: worker.server_address[1] for pool, worker in self.workers.items()}
        self.port = free_port()
        values = {
            "aroundtheworld_home": str(self.home),
            "aroundtheworld_http_port": self.port,
            "aroundtheworld_server_names": list(names),
            "aroundtheworld_pools": [
                {
                    "name": "public",
                    "ports": [ports["public"], *siblings],
                    "paths": ["/"],
                    **(public or {}),
                },
                {
                    "name": "admin",
                    "ports": [ports["admin"]],
                    "paths": ["/admin"],
                    "blocking": True,
                    **(admin or {}),
                },
                *pools,
            ],
            "aroundtheworld_static": [
                {"url": "/static/", "directory": "x"},
                {"url": "/admin/static/", "directory": "y"},
            ],
            **(variables or {}),
        }
        extra = values.get("aroundtheworld_nginx_extra", "")
        values["aroundtheworld_nginx_extra"] = extra.replace("$site_", f"$w{ports['public']}_")
        self.host = Host(root, http=http)
        self.https_port = free_port()
        addresses = [] if neighbour else ["*", "[::]"]
        about: dict[str, Any] = {"port": {"dual_stack": dual_stack, "free": addresses}}
        if tls is not None:
            certificate, key = certificates.root().issue(*names)
            values |= {
                "aroundtheworld_tls": "files",
                "aroundtheworld_tls_certificate": certificate,
                "aroundtheworld_tls_key": key,
                "aroundtheworld_https_port": self.https_port,
            }
            values |= tls
            about |= dict(zip(("version", "openssl"), versions(self.host.run), strict=True))
        self.values = values
        complete = variables_for(values, **about)
        site_plan = complete["__aroundtheworld_plan"]
        plan = site_plan["tls"]
        if plan["certificate"]:
            for path in (plan["certificate"], plan["key"]):
                Path(root, path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            Path(root, plan["certificate"].lstrip("/")).write_text(certificate)
            Path(root, plan["key"].lstrip("/")).write_text(key)
        for name, content in site_plan["client_cas"].items():
            Path(root, name.lstrip("/")).write_text(content)
        asked_for = complete["aroundtheworld_passwords"]
        for name, content in password_files(
            "aroundtheworld", site_plan["pools"], asked_for
        ).items():
            path = Path(root, name.lstrip("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        text = render("site.conf.j2", complete)
        blog = self.host.etc / "conf.d" / "blog.conf"
        blog.write_text(neighbour.format(port=self.port, merges=merges))
        shop = self.host.etc / "sites-enabled" / "shop.conf"
        shop.write_text(placed(identified(text), root))
        self.host.start()

    def stop(self) -> None:
        """Stop nginx and the workers."""
        self.host.stop()
        for worker in self.workers.values():
            worker.stop()

    def fetch(
        self,
        path: str,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: str | None = None,
        address: str = "127.0.0.1",
        *,
        length: bool = True,
        source: str = "",
        name: str = "shop.example",
    ) -> tuple[int, Message, str]:
        """Return status, headers and body of the response; the path goes as it is."""
        connection = http.client.HTTPConnection(
            address, self.port, timeout=20, source_address=(source, 0) if source else None
        )
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            # The host name last, so that the first server of the address decides what it can.
            pairs = [*headers, ("Host", name)]
            if body is not None and length:
                pairs.append(("Content-Length", str(len(body))))
            for header, value in pairs:
                connection.putheader(header, value)
            connection.endheaders(body.encode() if body else None)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    @contextlib.contextmanager
    def occupied(self, pool: str, path: str) -> Iterator[None]:
        """Have a worker of the pool hold a request for this path during the block."""
        worker = self.workers[pool]
        before = len(worker.requests)
        worker.gate.clear()
        request = threading.Thread(target=self.fetch, args=(path,))
        request.start()
        try:
            self.host.until(lambda: len(worker.requests) > before)
            yield
        finally:
            worker.gate.set()
            request.join()

    def received(self, path: str, method: str = "GET", **more: Any) -> Mapping[str, Any]:
        """Return what a worker received."""
        status, _, text = self.fetch(path, method, **more)
        assert status == 200, text
        request: dict[str, Any] = json.loads(text)
        return request
