"""The command line: `python -m aroundtheworld_runner MODULE:MAKE_APP`."""

import argparse
import asyncio
import faulthandler
import logging
import math
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tornado.netutil import bind_sockets

from aroundtheworld_runner import loading, logs, systemd
from aroundtheworld_runner.private_socket import PrivateSocketError
from aroundtheworld_runner.worker import Settings, Worker

PROGRAM = "aroundtheworld_runner"

log = logging.getLogger(PROGRAM)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _factory(text: str) -> tuple[str, str]:
    module, _, attribute = text.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise argparse.ArgumentTypeError(f"must look like package.module:make_app, not {text!r}")
    return module, attribute


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return seconds


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"must be a port from 1 to 65535, or 0 for any free port, not {text!r}"
        )
    return int(text)


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="Serve a Tornado application on the sockets that systemd passes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "factory",
        metavar="MODULE:MAKE_APP",
        type=_factory,
        help="the function, or coroutine function, that returns the tornado.web.Application",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="import the function, report what is wrong with it, and do not serve",
    )
    parser.add_argument(
        "--control",
        metavar="PATH",
        type=Path,
        help="answer GET /health, /metrics and /routes, and POST /accept, on this UNIX socket; "
        "what /routes reports outlives a restart in a file beside it",
    )
    parser.add_argument(
        "--private-app",
        metavar="PATH",
        type=Path,
        help="serve the application on this UNIX socket too, for those who check this process; "
        "uncounted, and cut at the end of a drain",
    )
    parser.add_argument(
        "--hold",
        action="store_true",
        help="be ready, but accept from the passed sockets only after POST /accept",
    )
    parser.add_argument(
        "--drain-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=30.0,
        help="how long requests in flight may take after SIGTERM (default: 30)",
    )
    parser.add_argument(
        "--stream-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="over how long the ends of WebSockets and event streams are spread after SIGTERM "
        "(default: 10)",
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="any response that has begun is a stream, unless it says how long it is, and not "
        "those alone whose type is text/event-stream",
    )
    parser.add_argument(
        "--linger",
        metavar="SECONDS",
        type=_seconds,
        default=2.0,
        help="how long to leave idle connections to their clients after the last response; "
        "longer than the keep-alive timeout of the proxy (default: 2)",
    )
    parser.add_argument(
        "--block-warn",
        metavar="SECONDS",
        type=_seconds,
        default=1.0,
        help="how long something may block the event loop until it is logged; 0 for however long "
        "(default: 1)",
    )
    parser.add_argument(
        "--log-addresses",
        choices=logs.ADDRESSES,
        default="full",
        help="how much of a visitor's address is in the lines that Tornado logs (default: full)",
    )
    parser.add_argument(
        "--port", type=_port, help="bind this port; for development, where no systemd binds it"
    )
    parser.add_argument("--address", help="with --port: the address to bind (default: 127.0.0.1)")
    return parser


def _sockets(parser: _Parser, port: int | None, address: str | None) -> list[socket.socket]:
    """Take systemd's sockets or bind a port, never both; exit when neither is right."""
    try:
        passed = systemd.take_listening_sockets()
    except systemd.PassedSocketError as error:
        parser.error(str(error))
    if port is None and address is not None:
        parser.error("--address needs --port")
    if passed and port is not None:
        parser.error("--port is for development: here systemd has passed the sockets to serve")
    if port is not None:
        address = address or "127.0.0.1"
        try:
            return bind_sockets(port, address)
        except OSError as error:
            parser.exit(1, f"{PROGRAM}: cannot bind {address} port {port}: {error.strerror}\n")
    if not passed:
        parser.error(
            "there is no socket to serve: start the service by its systemd socket unit, "
            "or name a --port for development"
        )
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 1 (failed) or 2 (bad usage)."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown and not systemd.passes_sockets():
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    module, attribute = options.factory
    logs.configure()
    logs.hide_addresses(options.log_addresses)
    # The watchdog's SIGABRT then leaves a stack, also when code in C kept the watching thread from
    # logging it before.
    faulthandler.enable()
    if unknown:
        # A release brings its own runner, and a newer role may have written the unit. What is new
        # in it must not prevent a rollback to the release.
        log.warning("ignored, since this release's runner does not know it: %s", " ".join(unknown))
    if options.check:
        return _check(module, attribute)
    if options.hold and not options.control:
        parser.error("--hold needs --control, where POST /accept ends it")
    sockets = _sockets(parser, options.port, options.address)
    settings = Settings(
        module=module,
        attribute=attribute,
        control=options.control,
        private_app=options.private_app,
        hold=options.hold,
        drain_timeout=options.drain_timeout,
        stream_timeout=options.stream_timeout,
        stream=options.stream,
        linger=options.linger,
        block_warn=options.block_warn,
    )
    try:
        asyncio.run(Worker(settings, sockets).run())
    except (loading.LoadError, PrivateSocketError) as error:
        if error.__cause__:
            log.error("the reason in full:", exc_info=error.__cause__)
        log.critical("cannot start: %s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _check(module: str, attribute: str) -> int:
    try:
        loading.import_factory(module, attribute)
    except loading.LoadError as error:
        tail = loading.own_frames(error.__cause__) if error.__cause__ else ""
        sys.stderr.write(f"{PROGRAM}: {error}\n{tail}")
        return 1
    sys.stdout.write(f"{module}:{attribute} can be imported\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
