"""What the tests of rollouts share: visitors, plays that can be cut off, and a look at the site."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.matrix import MEASURED

SCENARIO = Path(__file__).resolve().parents[1]
CHECKOUT = SCENARIO.parents[1]
HOME = "/var/lib/tornado/aroundtheworld"
PORTS = (10001, 10002, 10003, 10004)

# Prints the process that holds the lock of the site, if any does.
LOCK_HOLDER = """
import os, sys
lock = "/run/aroundtheworld-locks/aroundtheworld.lock"
if not os.path.exists(lock):
    sys.exit()
inode = os.stat(lock).st_ino
for line in open("/proc/locks"):
    fields = line.split()
    if fields[1] == "FLOCK" and fields[-3].endswith(f":{inode}") and fields[-4] != "0":
        print(fields[-4])
"""


RUN = secrets.token_hex(4)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run each test on a single host, on each in turn, unless there is time to measure."""
    if not MEASURED and item.path.is_relative_to(SCENARIO):
        item.add_marker("once")


@pytest.fixture(scope="session")
def measured() -> bool:
    """Return whether the machine is quiet enough for times, and for many requests a second."""
    return MEASURED


@pytest.fixture
def at_most(subtests: pytest.Subtests) -> Callable[[float, float], None]:
    """Return a function that judges a time, on a machine that is quiet enough for that.

    It does so in a subtest, which is skipped elsewhere, as the report shows.
    """

    def judge(measured: float, limit: float) -> None:
        print(f"measured {measured:.2f}, the limit is {limit:.2f}")
        with subtests.test("times"):
            if not MEASURED:
                pytest.skip("times are judged with MEASURE=yes, on a quiet machine")
            assert measured <= limit

    return judge


# --- visitors -------------------------------------------------------------------------------------


class Ledger:
    """What became of every request; prober.py describes the rows."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take rows in any order."""
        self.rows = sorted(rows, key=lambda row: row["sent"])

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.rows)

    def of(self, *kinds: str) -> Ledger:
        """Return the requests of some kinds."""
        return Ledger(row for row in self.rows if row["kind"] in kinds)

    def failed(self) -> Ledger:
        """Return the requests that did not get what a visitor expect."""
        return Ledger(row for row in self.rows if not row["good"])

    def public(self) -> Ledger:
        """Return the requests of visitors, so all but the admin's."""
        return Ledger(row for row in self.rows if row["kind"] != "admin")

    def between(self, *spans: tuple[float, float]) -> Ledger:
        """Return the requests that were to be sent at a time of day in any of the spans."""
        return Ledger(
            row for row in self.rows if any(begin <= row["sent"] < end for begin, end in spans)
        )

    def percentile(self, fraction: float) -> float:
        """Return the latency in milliseconds that a share of the requests did not exceed."""
        seconds = sorted(row["seconds"] for row in self.rows)
        return 1000 * float(seconds[min(int(len(seconds) * fraction), len(seconds) - 1)])

    def __str__(self) -> str:
        """Return a table for people."""
        lines = []
        for kind, _ in sorted(collections.Counter(row["kind"] for row in self.rows).items()):
            mine = self.of(kind)
            bad = collections.Counter(row["outcome"] for row in mine.failed().rows)
            lines.append(
                f"{kind:12} {len(mine):6} p50 {mine.percentile(0.5):8.1f} ms "
                f"p99 {mine.percentile(0.99):8.1f} ms  failed {dict(bad) or 0}"
            )
        return "\n".join(lines)

    __repr__ = __str__  # so a failed assertion shows it


Load = Callable[..., AbstractContextManager[Ledger]]


@pytest.fixture
def load(http: str, tmp_path: Path) -> Load:
    """Return a context in which the site has visitors, as `with load(rate=100) as ledger`.

    The ledger is filled when the block has ended and every answer that was due is there.
    """
    numbers = itertools.count()

    @contextlib.contextmanager
    def visitors(rate: int = 60, *options: str) -> Iterator[Ledger]:
        file = tmp_path / f"ledger-{next(numbers)}"
        command = [sys.executable, str(SCENARIO / "prober.py"), http, str(file)]
        ledger = Ledger([])
        with subprocess.Popen(
            [*command, f"--rate={rate}", "--seconds=300", *options],
            stdout=subprocess.PIPE,
        ) as prober:
            assert prober.stdout is not None
            prober.stdout.readline()
            try:
                yield ledger
            finally:
                prober.send_signal(signal.SIGTERM)
                assert prober.wait(60) == 0
        ledger.rows = Ledger(json.loads(line) for line in file.read_text().splitlines()).rows
        print(ledger)

    return visitors


# --- plays ----------------------------------------------------------------------------------------


class Play:
    """An `ansible-playbook` that runs beside the test."""

    def __init__(self, arguments: Iterable[str], output: Path) -> None:
        """Start it, with a file for what it says."""
        command = ["ansible-playbook", "site.yml", *arguments]
        print(f"$ {' '.join(command)} &")
        # What Molecule sets for its own runs has no place in the operator's.
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("ANSIBLE_", "MOLECULE_"))
        }
        self._output = output
        with output.open("w") as file:
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self) -> tuple[int, str]:
        """Return its exit status and output when it has ended."""
        returncode = self._process.wait(120)
        print(self._output.read_text())
        return returncode, self._output.read_text()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the controller: it and all that it started, at once; by default none can object."""
        for process in _descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        self._process.wait()


def _descendants(process: int) -> list[int]:
    """Return a process and all that it started and they started, by id."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _descendants(int(child))
    return found


@pytest.fixture
def play(
    name: str, inventory_path: Path, tmp_path: Path, site: Site
) -> Iterator[Callable[..., Play]]:
    """Return a function that starts `ansible-playbook site.yml …` on the host under test.

    The next test finds nothing of it that still works on the host, where its controller is gone.
    """
    plays: list[Play] = []

    def start(*arguments: str) -> Play:
        where = ["--inventory", str(inventory_path), "--limit", name]
        plays.append(Play([*arguments, *where], tmp_path / f"play-{len(plays)}"))
        return plays[-1]

    yield start
    for started in plays:
        if started.running:
            started.kill()
    site.wait_until_unlocked()


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Return a function that makes an app like `app/`, with changes, and how to deploy it.

    `app({"old": "new"})` returns the argument for `ansible-playbook`. Without changes it is a good
    release that no other test makes, nor this test on hosts that have stayed since a former run.
    """
    numbers = itertools.count()

    def make(changes: dict[str, str] | None = None) -> str:
        number = next(numbers)
        directory = tmp_path / f"app-{number}"
        shutil.copytree(SCENARIO / "app", directory, ignore=shutil.ignore_patterns("__pycache__"))
        edition = {'"first"': f'"{request.node.name} {number} {RUN}"'}
        for name, changed in (
            ("static/edition.css", edition),
            ("atlas.py", edition | (changes or {})),
        ):
            source = directory / name
            text = source.read_text()
            for old, new in changed.items():
                assert old in text, f"the app has no {old!r} to change"
                text = text.replace(old, new)
            source.write_text(text)
        return f"-earoundtheworld_app_dir={directory}"

    return make


# --- the site -------------------------------------------------------------------------------------


class Site:
    """What is to be seen of the site on its host."""

    def __init__(
        self, host: Host, worker_statuses: Callable[[], dict[int, dict[str, Any]]]
    ) -> None:
        """Take testinfra's host."""
        self._host, self._worker_statuses = host, worker_statuses

    def _python(self, program: str) -> str:
        return str(self._host.check_output("python3 -c %s", program))

    @property
    def current(self) -> str:
        """The id of the current release."""
        return str(self._host.check_output(f"basename $(readlink {HOME}/current)"))

    @property
    def releases(self) -> list[str]:
        """Everything in the directory of releases, hidden files too, newest first."""
        return str(self._host.check_output(f"ls --almost-all --sort=time {HOME}/releases")).split()

    @property
    def workers(self) -> dict[int, dict[str, Any]]:
        """The status of each worker, by port; its state is the error when it does not answer."""
        absent = {"state": "no control socket", "release": None, "pid": None}
        return dict.fromkeys(PORTS, absent) | self._worker_statuses()

    @property
    def last_change(self) -> dict[str, Any]:
        """The last entry of the log of changes."""
        entry: dict[str, Any]
        entry = json.loads(self._host.check_output(f"tail --lines=1 {HOME}/deploys.jsonl"))
        return entry

    def runs(self, release: str) -> None:
        """Assert that the whole site runs a release and nothing else is left."""
        assert self.current == release
        for port, worker in self.workers.items():
            assert (port, worker["release"], worker["state"]) == (port, release, "ready")
        assert self.stand_ins == ""
        assert not [entry for entry in self.releases if entry.startswith(".")]
        assert self._host.check_output(f"ls -A {HOME} | grep '^.before' || true") == ""

    @property
    def stand_ins(self) -> str:
        """Units that stand in for workers."""
        command = "systemctl list-units --all --plain --no-legend 'aroundtheworld-handover@*'"
        return str(self._host.check_output(command))

    def wait_until(self, condition: str, play: Play | None = None) -> None:
        """Return when a shell command on the host succeeds; it runs every 20 ms."""
        loop = f"until {condition}; do sleep 0.02; done"
        done = self._host.run("timeout 120 bash -c %s", f"{{ {loop}; }} 2>/dev/null")
        if done.rc:
            if play:
                play.kill()
                play.wait()
            pytest.fail(f"this did not come about in two minutes: {condition}")

    def kill_module(self, name: str = "KILL") -> None:
        """Kill what changes the site right now, if anything does, or send it another signal."""
        if process := self._python(LOCK_HOLDER):
            self._host.run(f"kill -{name.removeprefix('SIG')} {process}")

    def wait_until_unlocked(self) -> None:
        """Return when nothing changes the site any more."""
        give_up = time.monotonic() + 300
        while self._python(LOCK_HOLDER):
            assert time.monotonic() < give_up
            time.sleep(0.2)


@pytest.fixture
def site(host: Host, worker_statuses: Callable[[], dict[int, dict[str, Any]]]) -> Site:
    """Return a look at the site."""
    return Site(host, worker_statuses)


@pytest.fixture
def release_in() -> Callable[[str], str]:
    """Return a function that finds the new release's id in what a deploy printed with --diff."""

    def find(output: str) -> str:
        found = re.search(r"^switch \S+ from \S+ to (\w{12})$", output, re.MULTILINE)
        assert found, output
        return found[1]

    return find
