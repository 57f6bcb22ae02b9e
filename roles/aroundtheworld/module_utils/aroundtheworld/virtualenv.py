"""Virtual environments that root makes, without running anything that is in them.

A wheel can have Python run its code whenever an interpreter starts in the virtual environment that
the wheel is installed in: by a ``.pth`` file, as ``sitecustomize``, or as the interpreter itself,
because a wheel's scripts go where ``bin/python`` is. So root never starts that interpreter, but the
host's own, isolated (`HOST_PYTHON`): it installs *into* the environment, and compiles what is
there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.aroundtheworld.files import link_atomically

# -I: nothing from the current directory, PYTHON* variables or root's home. -S: no site-packages, so
# no .pth file and no sitecustomize. What multiprocessing starts gets the same options.
HOST_PYTHON = ("/usr/bin/python3", "-I", "-S")
DEBIAN_WHEELS = Path("/usr/share/python-wheels")

# Runs Debian's pip as the interpreter of an environment would, whose site-packages it does not see.
# An operator's pip.conf may name a constraint or another place to install to.
PIP = """\
import os, sys
prefix, wheel, *arguments = sys.argv[1:]
sys.prefix = sys.exec_prefix = prefix
sys.executable = os.path.join(prefix, "bin", "python")
sys.path.insert(0, wheel)
os.environ["PIP_CONFIG_FILE"] = os.devnull
from pip._internal.cli.main import main
sys.exit(main(arguments))
"""

Run = Callable[[list[str]], object]


def make(environment: Path, wheels: Path, lockfile: Path, run: Run) -> None:
    """Make an environment and install into it what `lockfile` names, from the directory `wheels`.

    Args:
        environment: Where it is to be for good, because its scripts contain that path.
        wheels: Holds a wheel for each requirement.
        lockfile: Requirements, each with an exact version and hashes.
        run: Runs a command, and raises when that fails.
    """
    run([*HOST_PYTHON, "-m", "venv", "--without-pip", str(environment)])
    if not names_version(environment):
        name_version(environment)
    pip = max(DEBIAN_WHEELS.glob("pip-*.whl"))
    options = ["--isolated", "--quiet", "--no-input", "--no-index", "--no-deps", "--no-compile"]
    options += ["--require-hashes", "--only-binary=:all:", "--no-cache-dir"]
    options += ["--disable-pip-version-check", "--root-user-action=ignore"]
    options += ["--find-links", str(wheels), "--requirement", str(lockfile)]
    run([*HOST_PYTHON, "-c", PIP, str(environment), str(pip), "install", *options])


def names_version(environment: Path) -> bool:
    """Tell whether an environment names its Python with the version, as in ``python3.11``.

    What a wheel has put in place of the interpreter is left alone.
    """
    link = environment / "bin" / "python3"
    return not (link.is_symlink() and link.readlink() == Path(HOST_PYTHON[0]))


def name_version(environment: Path) -> None:
    """Have an environment for the host's present Python name that with its version.

    By the name without it, a new Debian would give workers a Python that does not find their
    packages. The old one stays on the host for a while, and a worker that restarts goes on.
    """
    link_atomically(environment / "bin" / "python3", Path(HOST_PYTHON[0]).resolve())


def compile_command(tree: Path) -> list[str]:
    """Return the command that writes the byte code of all sources below `tree`.

    An environment's Python is the host's, so is its byte code.
    """
    return [*HOST_PYTHON, "-m", "compileall", "-q", "-j", "0", str(tree)]
