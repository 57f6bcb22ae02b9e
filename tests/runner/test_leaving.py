"""An app learns that its worker leaves, and has the rest of the drain time-out for its own end."""

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import Iterator

import harness
import pytest
from tornado import gen
from tornado.routing import HostMatches, Rule, RuleRouter
from tornado.web import Application
from waits import wait_in_flight

from aroundtheworld_runner.ending import Ending
from aroundtheworld_runner.leaving import Leaving
from aroundtheworld_runner.loading import LoadError
from tests.waiting import until

done: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


async def does(what: str = "awaited") -> None:
    done.append(what)


def plain() -> None:
    """Is not a coroutine function."""


async def takes_one(reason: str) -> None:
    done.append(reason)


@gen.coroutine
def old_style() -> Iterator[object]:
    yield gen.sleep(0)
    done.append("awaited")


called = does()
called.close()


async def fails() -> None:
    raise RuntimeError("a bug at the end")


async def exits() -> None:
    sys.exit(3)


async def goes_on() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)


class Calls:
    async def __call__(self) -> None:
        await does()

    async def method(self) -> None:
        await does()


def leave(application: object, seconds: float = 10) -> None:
    """Have an application leave, as a worker does."""

    async def run() -> None:
        leaving = Leaving(application)
        leaving.begin()
        await asyncio.wait_for(leaving.finish(seconds), 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    "on_leaving", [does, functools.partial(does), Calls(), Calls().method, old_style]
)
def test_on_leaving_is_awaited(on_leaving):
    leave(Application(on_leaving=on_leaving))
    assert done == ["awaited"]


def test_without_it_nothing_happens():
    leave(Application())
    leave(Application(on_leaving=None))
    leave(RuleRouter())


def test_applications_below_another_leave_with_it_and_share_what_they_share():
    event = asyncio.Event()
    first, second = Application(on_leaving=does), Application(on_leaving=does, leaving=event)
    third = Application(on_leaving=functools.partial(does, "third"))
    outer = Application([("/first/.*", first), ("/second/.*", second)])
    rules = [Rule(HostMatches("a"), outer), Rule(HostMatches("b"), RuleRouter([("/.*", third)]))]
    leave(RuleRouter(rules))
    assert sorted(done) == ["awaited", "third"]
    assert second.settings["leaving"] is event
    assert all(app.settings["leaving"].is_set() for app in (first, second, third, outer))


@pytest.mark.parametrize(
    ("on_leaving", "text"),
    [
        (plain, "must be a coroutine function, `async def` and not called, but is plain"),
        (print, "must be a coroutine function, `async def` and not called, but is print"),
        ("plain", "must be a coroutine function, `async def` and not called, but is str"),
        (
            lambda: does(),
            "must be a coroutine function, `async def` and not called, but is <lambda>",
        ),
        (called, "must be a coroutine function, `async def` and not called, but is "),
        (takes_one, "must be callable without arguments: missing a required argument"),
    ],
)
def test_one_that_cannot_be_awaited_is_named(on_leaving, text):
    with pytest.raises(LoadError) as caught:
        Leaving(Application(on_leaving=on_leaving))
    assert "settings['on_leaving']" in str(caught.value)
    assert text in str(caught.value)


def test_a_setting_of_that_name_stays_as_it_is(caplog):
    application = Application(leaving="at nine", on_leaving=does)
    leave(application)
    assert (application.settings["leaving"], done) == ("at nine", ["awaited"])
    assert "settings['leaving'] is the application's own, of type str" in caplog.text


@pytest.mark.parametrize(
    ("on_leaving", "text"),
    [(fails, "RuntimeError: a bug at the end"), (exits, "SystemExit: 3"), (None, "")],
)
def test_an_error_at_the_end_is_logged(caplog, on_leaving, text):
    application = Application()
    application.settings["on_leaving"] = on_leaving  # an application may set it late
    leave(application)
    assert text in caplog.text


def test_it_is_cut_at_the_end_of_the_drain_timeout(caplog):
    leave(Application(on_leaving=goes_on), 0.05)
    assert "cut at the end of the drain timeout: settings['on_leaving'] (goes_on)" in caplog.text


def test_finally_of_a_task_may_wait_and_an_error_in_it_is_logged(caplog):
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            await does("finally")
            await fails()

    async def run() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await Ending(0).cancel_tasks()
        assert task.done()

    asyncio.run(run())
    assert done == ["finally"]
    assert "RuntimeError: a bug at the end" in caplog.text


# --- In a process of its own ---


def said(worker: harness.Worker) -> list[str]:
    """Return what the app said, in order."""
    lines = worker.stderr().splitlines()
    return [line.removeprefix("app: ") for line in lines if line.startswith("app: ")]


def ended(worker: harness.Worker) -> list[str]:
    """Have it end; return what the app said at its end."""
    worker.terminate()
    assert worker.wait() == 0
    return said(worker)


def test_a_handler_learns_it_and_on_leaving_comes_after_the_last_answer(start, listening):
    worker = start("ends:make_app").ready()
    with harness.client(listening) as waiting, harness.client(listening) as slow:
        waiting.request("GET", "/waits")
        slow.request("GET", "/slow", headers={"Connection": "close"})
        wait_in_flight(worker, 2)
        worker.drain()
        assert harness.read(waiting) == "leaving"
        assert harness.read(slow) == ""
    assert worker.wait() == 0
    assert said(worker) == ["answered", "on_leaving"]


def test_a_held_stand_in_ends_in_the_same_way(start):
    assert ended(start("ends:make_app", "--hold").ready()) == ["on_leaving"]


def test_a_wrong_on_leaving_keeps_the_worker_from_starting(start):
    worker = start("ends:make_with_plain")
    assert worker.wait() == 1
    assert "cannot start: settings['on_leaving'] must be a coroutine function" in worker.stderr()


def test_all_that_ends_may_take_the_rest_of_the_drain_timeout(start):
    # Longer than the moment that each has in any case, and than the watchdog.
    worker = start("ends:make_with_all", SECONDS="2.5", WATCHDOG_USEC="2000000").ready()
    assert ended(worker) == ["on_leaving", "finally", "atexit"]
    while worker.read_notified(0):
        pass
    messages = [message for _, message in worker.notified]
    stopping = next(n for n, message in enumerate(messages) if "STOPPING=1" in message)
    assert messages[stopping:].count("WATCHDOG=1") >= 2


@pytest.mark.parametrize(
    ("app", "text"),
    [
        ("make_blocking", "exiting although settings['on_leaving'] blocks the event loop"),
        ("make_with_all", "exiting although what the application registered with atexit has not"),
    ],
)
def test_what_does_not_end_is_cut(start, app, text):
    worker = start(f"ends:{app}", "--drain-timeout", "0", SECONDS="60").ready()
    ended(worker)
    assert text in worker.stderr()


def test_a_thread_that_goes_on_has_a_moment_only(start):
    worker = start("ends:make_with_thread", "--drain-timeout", "300").ready()
    began = time.monotonic()
    ended(worker)
    assert time.monotonic() - began >= 2
    assert "exiting although tasks or threads" in worker.stderr()


@pytest.mark.parametrize("app", ["make_with_signal", "make_with_signal_of_the_loop"])
def test_a_handler_of_the_apps_own_for_the_signal_is_not_called(start, app):
    worker = start(f"ends:{app}").ready()
    assert "the application's own handler of SIGTERM" in worker.stderr()
    assert ended(worker) == ["on_leaving"]


def test_nor_is_one_that_it_sets_later_and_what_it_forks_can_be_ended(start, listening):
    worker = start("ends:make_app").ready()
    with harness.client(listening) as client:
        assert harness.get(client, "/forks") == "-15"
        for how, logged in [
            ("signal", "SIGTERM (on_signal) is"),
            ("loop", "SIGTERM is not called"),
        ]:
            harness.get(client, f"/handles/{how}")
            worker.wait_logged(f"the application's own handler of {logged}")
        assert worker.health()[1]["state"] == "ready"
    assert ended(worker) == ["on_leaving"]


def test_a_second_signal_does_not_disturb_the_end(start):
    worker = start("ends:make_with_all", SECONDS="1").ready()
    worker.drain()
    until(lambda: "finally" in said(worker))
    worker.terminate()
    assert worker.wait() == 0
    assert said(worker) == ["on_leaving", "finally", "atexit"]
