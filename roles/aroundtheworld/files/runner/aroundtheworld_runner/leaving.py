"""How an application takes part in the end of its worker, with nothing to import.

Its `settings` have two keys: `leaving`, an `asyncio.Event` that is set when the worker begins to
leave, and `on_leaving`, a coroutine function of the application's own that is awaited when the last
request has been answered.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

from tornado import gen
from tornado.web import Application

from aroundtheworld_runner.loading import LoadError

LEAVING = "leaving"
ON_LEAVING = "on_leaving"

log = logging.getLogger(__name__)


class Leaving:
    """What is known of the end by an application, and by those inside it."""

    def __init__(self, application: object) -> None:
        """Put the event into the settings, and check what the application has put there.

        Raises:
            LoadError: Its `on_leaving` cannot be awaited at the end.
        """
        self._all_settings = [each.settings for each in _applications(application)]
        self._began = asyncio.Event()
        for settings in self._all_settings:
            if problem := _problem(settings):
                raise LoadError(problem)
            event = settings.setdefault(LEAVING, self._began)
            if not isinstance(event, asyncio.Event):
                log.warning(
                    "settings[%r] is the application's own, of type %s: by it, the application "
                    "does not learn that its worker leaves",
                    LEAVING,
                    type(event).__name__,
                )

    def begin(self) -> None:
        """Tell that the worker leaves; an application may have put its own event there."""
        for settings in self._all_settings:
            event = settings.get(LEAVING)
            if isinstance(event, asyncio.Event):
                event.set()

    async def finish(self, seconds: float) -> None:
        """Await what the application wants to do at the end, for so long at most."""
        # An application and one inside it may share theirs.
        callbacks = {id(settings): settings.get(ON_LEAVING) for settings in self._all_settings}
        unique = [each for each in dict.fromkeys(callbacks.values()) if each is not None]
        if not unique:
            return
        tasks = [asyncio.create_task(_call(each), name=_name(each)) for each in unique]
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            log.error("cut at the end of the drain timeout: %s", task.get_name())
            task.cancel()


async def _call(on_leaving: Callable[[], Awaitable[object]]) -> None:
    try:
        await on_leaving()
    except (Exception, SystemExit):  # an exit is what follows anyway
        log.exception("%s failed", _name(on_leaving))


def _name(function: object) -> str:
    return f"settings[{ON_LEAVING!r}] ({getattr(function, '__qualname__', function)})"


def _problem(settings: dict[str, Any]) -> str:
    """Return why `on_leaving` cannot be awaited, or an empty text."""
    function = settings.get(ON_LEAVING)
    if function is None:
        return ""
    if not _is_coroutine_function(function):
        kind = getattr(function, "__qualname__", type(function).__name__)
        return (
            f"settings[{ON_LEAVING!r}] must be a coroutine function, `async def` and not called, "
            f"but is {kind}"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        return f"{_name(function)} must be callable without arguments: {error}"
    except ValueError:  # it does not show what it takes
        pass
    return ""


def _is_coroutine_function(function: object) -> bool:
    if not callable(function):
        return False
    return any(
        inspect.iscoroutinefunction(each) or gen.is_coroutine_function(each)
        for each in (function, type(function).__call__)
    )


def _applications(root: object) -> Iterator[Application]:
    """Yield an application and those inside it, or those below another kind of router."""
    seen: set[int] = set()
    left = [root]
    while left:
        router = left.pop(0)
        if id(router) in seen:
            continue
        seen.add(id(router))
        if isinstance(router, Application):
            yield router
            # What is inside it is below the router that its handlers are in.
            router = cast(object, router.default_router)
        left += [rule.target for rule in getattr(router, "rules", ())]
