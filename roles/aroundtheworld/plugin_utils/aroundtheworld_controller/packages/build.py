"""Builds a package into its wheel on the controller, apart from everything that is the operator's.

Building runs the package's own code. It runs as the user who runs Ansible, but its environment has
no token, no agent and no home of the operator, and nothing is fetched: the tools are those that the
role has locked, and only those of them that the package asks for. pip is not used: its build
isolation would fetch tools without hashes, as a package's author named them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from aroundtheworld_controller.packages.build_tools import BuildFailure, Choice, Toolbox
from aroundtheworld_controller.packages.source_archives import same_version
from aroundtheworld_controller.variables import ROLE

HOOK = ROLE / "files" / "build" / "call_hook.py"
PATIENCE = 900.0  # seconds for one step
LINES = 15  # of what a failed build printed

# For packages that say nothing (PEP 517).
LEGACY = {"requires": ["setuptools", "wheel"], "build-backend": "setuptools.build_meta:__legacy__"}

# Poetry's own backend is another name for that of poetry-core, which needs none of Poetry.
POETRY = ("poetry.masonry.api", "poetry.core.masonry.api")

# All that a build finds in its environment besides a home, a place for temporary files and a path.
SURROUNDINGS = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "946684800",  # the same bytes on every controller, where tools heed it
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    # Whatever a package starts by itself fetches nothing and asks nobody.
    "PIP_NO_INDEX": "1",
    "PIP_NO_INPUT": "1",
    "PIP_CONFIG_FILE": os.devnull,
    "UV_OFFLINE": "1",
    "UV_NO_CONFIG": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class System(NamedTuple):
    """What a package's ``pyproject.toml`` says of how it is built."""

    requires: Sequence[str]
    backend: str
    backend_path: Sequence[str]


def build_system(pyproject: Mapping[str, Any]) -> System:
    """Return how a package is built; raises `BuildFailure` where that is no such table."""
    table = pyproject.get("build-system", LEGACY)
    try:
        requires, path = list(table.get("requires", [])), list(table.get("backend-path", []))
        backend = table.get("build-backend", LEGACY["build-backend"])
        if not all(isinstance(text, str) for text in (*requires, *path, backend)):
            raise TypeError
    except (AttributeError, TypeError):
        raise BuildFailure("its pyproject.toml has no build-system as PEP 518 has it") from None
    if backend in POETRY:
        backend = POETRY[-1]
        requires = [re.sub(r"^poetry\b(?!-)", "poetry-core", text) for text in requires]
    return System(requires, backend, path)


def read_pyproject(directory: Path) -> dict[str, Any]:
    """Return a project's ``pyproject.toml``, empty if it has none; raises `BuildFailure`."""
    try:
        return tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BuildFailure(f"its pyproject.toml cannot be read: {error}") from None


def build(source: Path, into: Path, tools: Toolbox, top: Path | None = None) -> Path:
    """Return the wheel, in the directory `into`, that the package in `source` is built into.

    Args:
        source: The package's files; the build may write there.
        into: An empty directory.
        tools: Where its tools come from.
        top: The top of a git repository that `source` is in; none that is further up is seen.

    Raises:
        BuildFailure: It cannot be built, or is not for every platform.
    """
    if not any((source / name).is_file() for name in ("pyproject.toml", "setup.py", "setup.cfg")):
        raise BuildFailure("there is neither a pyproject.toml nor a setup.py in it")
    system = build_system(read_pyproject(source))
    with tempfile.TemporaryDirectory(prefix="aroundtheworld-build-") as work:
        bench = _Bench(Path(work), source, system, top or source)
        bench.equip(_complete(tools, system.requires))
        more_tools = bench.call("get_requires_for_build_wheel")
        if not isinstance(more_tools, (list, type(None))):
            raise BuildFailure("its build backend does not say which tools it needs")
        bench.equip(_complete(tools, [*system.requires, *map(str, more_tools or [])]))
        name = bench.call("build_wheel", str(into))
    wheel = into / str(name)
    if not wheel.is_file():
        raise BuildFailure("its build backend made no wheel")
    return wheel


def only_for_all(wheel: Path, name: str, version: str = "") -> None:
    """Raise `BuildFailure` unless a wheel is the one that was meant, and for every platform."""
    try:
        found, number, _, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename:
        raise BuildFailure(f"what came out, {wheel.name!r}, is no wheel's name") from None
    if found != canonicalize_name(name) or (version and not same_version(version, number)):
        raise BuildFailure(f"what came out is {wheel.name}, which is something else")
    if any(tag.platform != "any" or tag.abi != "none" for tag in tags):
        raise BuildFailure(
            f"what came out is {wheel.name}, for one kind of machine only, because it has compiled "
            "code; only a wheel for all of them (none-any) is taken from the controller"
        )


def _complete(tools: Toolbox, requires: Sequence[str]) -> Choice:
    choice = tools.choose(requires)
    if choice.missing:
        raise BuildFailure(
            f"it asks for {', '.join(dict.fromkeys(choice.missing))}, which is not among the "
            f"role's tools: {', '.join(tools)}"
        )
    return choice


class _Bench:
    """A Python with nothing but chosen tools, in which the hooks of one package are called."""

    def __init__(self, work: Path, source: Path, system: System, top: Path) -> None:
        self.work, self.source, self.system, self.top = work, source, system, top
        self.others: list[str] = []
        # Without pip: what a package wants to install by itself, it cannot.
        self._run([sys.executable, "-I", "-m", "venv", "--without-pip", str(work / "python")])
        for name in ("home", "tmp"):
            (work / name).mkdir()

    def equip(self, choice: Choice) -> None:
        """Let the Python import these tools, and no others."""
        self.others = choice.others
        packages = next((self.work / "python").glob("lib/python*/site-packages"))
        lines = [f"import site; site.addsitedir({str(tool)!r})" for tool in choice.places.values()]
        (packages / "tools.pth").write_text("\n".join([*lines, ""]))
        self.programs = [
            str(place) for tool in choice.places.values() for place in tool.glob("*.data/scripts")
        ]

    def call(self, hook: str, *arguments: str) -> object:
        """Return what a hook of the package's backend returns."""
        reply = self.work / "reply.json"
        python = self.work / "python" / "bin"
        path = [str(python), *self.programs, "/usr/local/bin", "/usr/bin", "/bin"]
        places = {"HOME": self.work / "home", "TMPDIR": self.work / "tmp"}
        places["GIT_CEILING_DIRECTORIES"] = self.top.resolve().parent
        self._run(
            # -P: the script's directory is not where modules come from.
            [str(python / "python"), "-P", str(HOOK), self.system.backend,
             json.dumps(self.system.backend_path), hook, str(reply), *arguments],
            PATH=os.pathsep.join(path), **{name: str(place) for name, place in places.items()},
        )  # fmt: skip
        return json.loads(reply.read_text())

    def _run(self, command: Sequence[str], **variables: str) -> None:
        process = subprocess.Popen(  # noqa: S603 - what the operator named is to be built
            command,
            cwd=self.source,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**SURROUNDINGS, **variables},
            umask=0o022,
            start_new_session=True,  # no terminal to ask for a password, and it ends as a whole
        )
        try:
            printed, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise BuildFailure(f"it took longer than {PATIENCE:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            asked = f" It asks for {', '.join(self.others)}." if self.others else ""
            raise BuildFailure(f"its build failed.{asked} It printed:\n{_last(printed)}")


def _last(printed: str) -> str:
    """Return the end of what a build printed, with nothing that a terminal would obey."""
    lines = printed.strip().splitlines()[-LINES:]
    return "\n".join("".join(sign for sign in line if sign.isprintable()) for line in lines)
