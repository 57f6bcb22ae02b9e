"""Applications that have something to do at their end, in every way there is."""

import asyncio
import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.synchronize import Event

from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

SECONDS = float(os.environ.get("SECONDS", "0"))


def say(text: str) -> None:
    sys.stderr.write(f"app: {text}\n")


class Waits(RequestHandler):
    """Answers when its worker leaves."""

    async def get(self) -> None:
        await self.settings["leaving"].wait()
        self.write("leaving")


class Slow(RequestHandler):
    """Answers some time after its worker has begun to leave."""

    async def get(self) -> None:
        await self.settings["leaving"].wait()
        await asyncio.sleep(0.5)
        say("answered")


class Forks(RequestHandler):
    """Ends a process that it has forked."""

    def get(self) -> None:
        context = multiprocessing.get_context("fork")
        runs = context.Event()
        process = context.Process(target=run_on, args=(runs,))
        process.start()
        runs.wait(10)
        process.terminate()
        process.join(10)
        self.write(str(process.exitcode))


def run_on(runs: Event) -> None:
    runs.set()
    time.sleep(60)


class Handles(RequestHandler):
    """Sets handlers of its own long after the start."""

    def get(self, how: str) -> None:
        set_handlers(how)


def set_handlers(how: str) -> None:
    if how == "signal":
        signal.signal(signal.SIGTERM, on_signal)
    else:
        IOLoop.current().asyncio_loop.add_signal_handler(signal.SIGTERM, on_signal)


def on_signal(*_: object) -> None:
    say("its own handler")
    os._exit(3)


async def on_leaving() -> None:
    await asyncio.sleep(SECONDS / 10)
    say("on_leaving")


def make_app(**settings: object) -> Application:
    settings.setdefault("on_leaving", on_leaving)
    return Application(
        [("/waits", Waits), ("/slow", Slow), ("/forks", Forks), ("/handles/(.*)", Handles)],
        **settings,
    )


async def blocks() -> None:
    time.sleep(60)  # noqa: ASYNC251 - that is the mistake


def make_blocking() -> Application:
    return make_app(on_leaving=blocks)


def make_with_plain() -> Application:
    return make_app(on_leaving=print)


async def make_with_all() -> Application:
    """Makes one with a task of its own, and something to do when Python ends."""

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(SECONDS / 10)
            say("finally")

    application = make_app()
    application.settings["task"] = asyncio.create_task(work())
    atexit.register(at_exit)
    return application


def at_exit() -> None:
    time.sleep(SECONDS)
    say("atexit")


def make_with_thread() -> Application:
    threading.Thread(target=time.sleep, args=(60,)).start()
    return make_app(on_leaving=None)


def make_with_signal() -> Application:
    set_handlers("signal")
    return make_app()


async def make_with_signal_of_the_loop() -> Application:
    set_handlers("loop")
    return make_app()
