"""Measures for how long handlers hold the event loop.

It is measured where it happens: each step of a handler's coroutine, between which the loop turns,
is timed. What does not end is seen by a thread (blocking.py), which finds here what the step is.
"""

import time
import types
from collections.abc import Coroutine, Generator
from types import FrameType
from typing import Any

from tornado.web import OutputTransform, RequestHandler

from aroundtheworld_runner.responses import CountedResponse
from aroundtheworld_runner.routes import BLOCK, Route, Routes

_clock = time.monotonic


def measure_handlers(routes: Routes) -> None:
    """Time every handler's requests from now on, in this process.

    `RequestHandler._execute` is not documented, but it has been what a request consists of since
    Tornado's beginnings, and error trackers replace it in the same way.
    """
    execute = RequestHandler._execute

    async def measured(
        self: RequestHandler, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        work = execute(self, transforms, *args, **kwargs)
        if type(self.request.connection) is CountedResponse:
            await _steps(work, self, routes.of(self))
        else:
            # Of the private socket: requests that check this process are not counted.
            await work

    RequestHandler._execute = measured  # type: ignore[method-assign]


@types.coroutine
def _steps(
    work: Coroutine[Any, Any, None],
    handler: RequestHandler,
    route: Route,
) -> Generator[Any, Any, None]:
    """Pass on what a coroutine does, timing its steps.

    A thread reads `handler` and when the step `began` from this frame (`read_step`).
    """
    longest = 0.0
    began = _clock()
    try:
        waited_for = work.send(None)
        while True:
            held = _clock() - began
            if held > longest:
                longest = held
            if held >= BLOCK:
                route.blocked += held
            if route.websocket:
                route.holds.add(held)
            began = 0.0  # for a thread that looks when this goes on and has not come to the clock
            try:
                value = yield waited_for
            except BaseException as error:
                began = _clock()
                waited_for = work.throw(error)
            else:
                began = _clock()
                waited_for = work.send(value)
    except StopIteration:
        return
    finally:
        held = _clock() - began
        if held >= BLOCK:
            route.blocked += held
        route.holds.add(held if held > longest or route.websocket else longest)


def is_step(frame: FrameType) -> bool:
    """Tell whether this is the frame below a step of a handler's coroutine."""
    return frame.f_code is _steps.__code__


def read_step(frame: FrameType) -> tuple[RequestHandler, float]:
    """Return the handler of a step that is under way, and when it began (monotonic)."""
    values = frame.f_locals
    return values["handler"], values.get("began") or time.monotonic()
