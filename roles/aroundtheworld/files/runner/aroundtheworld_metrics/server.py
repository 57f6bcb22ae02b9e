"""Serves metrics on a socket that systemd holds."""

from __future__ import annotations

import socket
import socketserver
import wsgiref.simple_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """An HTTP server on a socket that is there already."""

    daemon_threads = True  # a client that is silent does not delay the end

    def __init__(self, listening: socket.socket, collector: Collector) -> None:
        """Take over the listening socket."""
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = "metrics", 0
        self.setup_environ()
        registry = CollectorRegistry()
        registry.register(collector)
        self.set_app(make_wsgi_app(registry))


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    """Serves a request."""

    timeout = 10  # seconds of silence until the connection is closed

    def log_message(self, *args: object) -> None:
        """Log nothing: Prometheus asks all the time."""
