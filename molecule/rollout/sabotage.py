#!/usr/bin/env python3
"""Shows that the tests can fail: takes something away from the role, and the scenario must go red.

    molecule/rollout/sabotage.py [max_fails] [socket] [drain] [gate]

Without a name it takes a single thing, another with the next commit, or everything with MATRIX=all.
It works in a copy of the checkout with a host of its own, so that nothing else is touched, and runs
the tests that have to notice. The exit status is 0 when they did.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

from tests.matrix import about, chosen  # noqa: E402 - importable only by now

ROLE = Path("roles", "aroundtheworld")


@dataclass(frozen=True)
class Sabotage:
    """A text of the role that is replaced, and the tests (as `pytest -k`) that must notice."""

    file: str
    old: str
    new: str
    tests: str


SABOTAGES = {
    # nginx shuts a worker out for ten seconds after an error, as it does by default.
    "max_fails": Sabotage(
        "templates/nginx/upstreams.conf.j2",
        "{{ server }} max_fails=0;",
        "{{ server }};",
        "killed_workers",
    ),
    # The listening socket goes when its worker restarts, as a socket that the worker binds would.
    "socket": Sabotage(
        "templates/worker.socket.j2",
        "[Unit]\n",
        "[Unit]\nPartOf={{ aroundtheworld_site }}@%i.service\n",
        "handover",
    ),
    # A worker ends at once, whatever it is doing.
    "drain": Sabotage(
        "templates/worker.service.j2",
        "KillMode=mixed\n",
        "KillMode=mixed\nKillSignal=SIGKILL\n",
        "handover",
    ),
    # A process that has started is taken for a process that works.
    "gate": Sabotage(
        "module_utils/aroundtheworld/rollout/gate.py",
        "        deadline = time.monotonic() + READY_SECONDS\n",
        "        return\n        deadline = time.monotonic() + READY_SECONDS\n",
        "answers",
    ),
}


def chosen_names(arguments: Sequence[str]) -> list[str]:
    """Return the names on the command line, or those that the matrix takes.

    Raises:
        SystemExit: a name is unknown.
    """
    for name in arguments:
        if name not in SABOTAGES:
            sys.exit(f"{name!r} is not a sabotage: there are {', '.join(SABOTAGES)}.")
    return list(arguments) or chosen(list(SABOTAGES), count=1)


def copy_checkout(copy: Path) -> None:
    """Copy what git knows, for a scenario with a single host."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    ).stdout
    for file in filter(None, files.split("\0")):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / file, copy / file, follow_symlinks=False)
    (copy / ".cache").mkdir()
    (copy / ".cache" / "roots").symlink_to(CHECKOUT / ".cache" / "roots")
    # Molecule finds its shared configuration by the repository that it is in.
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    scenario = copy / "molecule" / "rollout" / "molecule.yml"
    configuration = yaml.safe_load(scenario.read_text())
    configuration["platforms"] = configuration["platforms"][:1]
    scenario.write_text(yaml.safe_dump(configuration))


def is_noticed(name: str, copy: Path) -> bool:
    """Return whether tests fail in a copy of the checkout without that thing.

    Raises:
        SystemExit: the host could not be set up, or there is nothing to take away.
    """
    sabotage = SABOTAGES[name]
    target = copy / ROLE / sabotage.file
    text = target.read_text()
    if text.count(sabotage.old) != 1:
        sys.exit(f"{sabotage.file} does not have {sabotage.old!r} exactly once.")
    target.write_text(text.replace(sabotage.old, sabotage.new))
    environment = {
        **os.environ,
        "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}",
        "PYTEST_ADDOPTS": f"-k {sabotage.tests}",
        "MOLECULE_COMMAND_BORDERS": "false",
    }

    def molecule(action: str) -> int:
        command = ["molecule", action, "--scenario-name", "rollout"]
        return subprocess.run(command, cwd=copy, env=environment, check=False).returncode

    try:
        if molecule("converge"):
            sys.exit("The host could not be set up, which shows nothing.")
        return molecule("verify") != 0
    finally:
        molecule("destroy")


def main() -> None:
    """Carry out the command line."""
    names = chosen_names(sys.argv[1:])
    print(f"{about()}; without {', '.join(names)} tests must fail", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"sabotage-{name}-") as directory:
            copy_checkout(Path(directory))
            if not is_noticed(name, Path(directory)):
                sys.exit(f"Without {name} all tests passed: they cannot fail.")
        print(f"Without {name} tests failed, as they should.", flush=True)


if __name__ == "__main__":
    main()
