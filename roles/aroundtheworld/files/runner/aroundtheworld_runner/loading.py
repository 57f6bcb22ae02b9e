"""From `package.module:make_app` to the application, with errors that name the problem."""

import difflib
import importlib
import inspect
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

from tornado.httputil import HTTPServerConnectionDelegate


class LoadError(Exception):
    """The application cannot be imported or made; the text is a sentence that says why.

    If an exception of the application caused it, that is `__cause__`.
    """


def import_factory(module_name: str, attribute: str) -> Callable[[], object]:
    """Import the function that makes the application, without calling it.

    Raises:
        LoadError: The module cannot be imported, or has no such function.
    """
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and _is_part_of(error.name, module_name):
            raise LoadError(
                f"there is no module {error.name!r} "
                f"(for {attribute!r} of {module_name!r}); check the name and PYTHONPATH"
            ) from None
        raise LoadError(f"importing {module_name!r} failed: {_in_short(error)}") from error
    if not hasattr(module, attribute):
        similar = difflib.get_close_matches(attribute, vars(module), n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise LoadError(f"module {module_name!r} has no {attribute!r}{hint}")
    factory: object = getattr(module, attribute)
    if not callable(factory):
        raise LoadError(
            f"{module_name}:{attribute} must be a function that returns the application, "
            f"but is of type {type(factory).__name__}"
        )
    return factory


async def make_application(factory: Callable[[], object]) -> HTTPServerConnectionDelegate:
    """Call the function, and await what it returns if it is a coroutine function.

    Returns:
        What an HTTP server hands its requests to: a `tornado.web.Application` or any router.

    Raises:
        LoadError: It failed, or returned something else.
    """
    name = f"{getattr(factory, '__name__', 'the application factory')}()"
    try:
        application = factory()
        if inspect.isawaitable(application):
            application = await application
    except (Exception, SystemExit) as error:
        raise LoadError(f"{name} failed: {_in_short(error)}") from error
    if not isinstance(application, HTTPServerConnectionDelegate):
        raise LoadError(
            f"{name} must return a tornado.web.Application, "
            f"but returned an object of type {type(application).__name__}"
        )
    return application


def own_frames(error: BaseException) -> str:
    """Return the part of a traceback that is the application's own code, as Python prints it.

    Frames of the runner, the import system, the standard library and installed packages are
    left out, so that the last frame is the line of the application that led to the error.
    """
    foreign = [str(Path(__file__).parent), "<frozen "]
    foreign += [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(tuple(foreign))
    ]
    return "".join([*traceback.format_list(own), *traceback.format_exception_only(error)])


def _is_part_of(missing: str | None, module_name: str) -> bool:
    """Tell whether the missing module is this module or a package that contains it."""
    return missing is not None and f"{module_name}.".startswith(f"{missing}.")


def _in_short(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()
