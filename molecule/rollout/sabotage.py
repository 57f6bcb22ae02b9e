#!/usr/bin/env python3
"""Shows that the tests can fail: takes one thing away from the role, and the scenario must go red.

    sabotage.py max_fails|socket|drain|gate

Each works in a copy of the checkout with a host of its own, so that nothing else is touched, and
runs the tests that have to notice. It exits with 0 when they did.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
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
    "max_fails": Sabotage("templates/site.conf.j2", " max_fails=0;", ";", "killed_workers"),
    # The listening socket goes when its worker restarts, as one that the worker binds would.
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
    # A process that has started is taken for one that works.
    "gate": Sabotage(
        "module_utils/aroundtheworld/rollout/gate.py",
        "        deadline = time.monotonic() + READY_SECONDS\n",
        "        return\n        deadline = time.monotonic() + READY_SECONDS\n",
        "answers",
    ),
}


def main() -> None:
    """Carries out the command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in SABOTAGES:
        sys.exit(f"usage: sabotage.py {'|'.join(SABOTAGES)}")
    name = sys.argv[1]
    sabotage = SABOTAGES[name]
    with tempfile.TemporaryDirectory(prefix=f"sabotage-{name}-") as work:
        copy = Path(work)
        files = subprocess.run(
            ["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True
        ).stdout
        for file in filter(None, files.split("\0")):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / file, copy / file)
        (copy / ".cache").mkdir()
        (copy / ".cache" / "roots").symlink_to(CHECKOUT / ".cache" / "roots")
        # Molecule finds its shared configuration by the repository that it is in.
        subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
        # One host will do.
        scenario = copy / "molecule" / "rollout" / "molecule.yml"
        wanted = yaml.safe_load(scenario.read_text())
        wanted["platforms"] = wanted["platforms"][:1]
        scenario.write_text(yaml.safe_dump(wanted))
        target = copy / ROLE / sabotage.file
        text = target.read_text()
        if text.count(sabotage.old) != 1:
            sys.exit(f"{sabotage.file} has not exactly one {sabotage.old!r} to take away.")
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
            failed = molecule("verify")
        finally:
            molecule("destroy")
    if not failed:
        sys.exit(f"Without {name} all tests passed: they cannot fail.")
    print(f"Without {name} tests failed, as they should.")


if __name__ == "__main__":
    main()
