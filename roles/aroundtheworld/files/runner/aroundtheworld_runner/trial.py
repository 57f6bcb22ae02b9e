"""Try a pool's own command before any worker runs it: `python -m aroundtheworld_runner.trial`.

The command gets a socket as systemd would pass it, or the number of a free port, and has to answer
a request. So a command that exits, or answers with errors, is found while the previous workers
still serve. It is stopped afterwards in any case.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from aroundtheworld_runner.bounded_http import NoAnswerError
from aroundtheworld_runner.health_check import HealthCheck
from aroundtheworld_runner.systemd import FIRST_PASSED_FD

ADDRESS = "127.0.0.1"
PAUSE = 0.05  # seconds between two attempts
PATIENCE = 5.0  # seconds in which the command must end after SIGTERM


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aroundtheworld_runner.trial",
        description="Run a command until it has answered an HTTP request.",
        allow_abbrev=False,
    )
    parser.add_argument("--pool", required=True, help="the pool whose command it is, for messages")
    parser.add_argument("--path", default="/", help="the path to request")
    parser.add_argument("--answer-timeout", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--start-timeout", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument(
        "--binds",
        action="store_true",
        help="the command binds {port} on {address} itself, instead of taking a socket",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return parser


@contextlib.contextmanager
def _running(
    command: Sequence[str], passed: socket.socket | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command inside the block, with the socket as systemd would pass it."""

    def take_socket() -> None:  # between fork and exec, where the process id is known
        if passed:
            os.dup2(passed.fileno(), FIRST_PASSED_FD)
            os.set_inheritable(FIRST_PASSED_FD, True)
            os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="trial")

    process = subprocess.Popen(  # noqa: S603 - the operator's own command
        command,
        preexec_fn=take_socket,  # there are no threads here
        pass_fds=(FIRST_PASSED_FD,) if passed else (),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        # It has a process group of its own, so that what it started ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _health_check(path: str, timeout: float) -> HealthCheck:
    """Return the request to send, like a visitor's; the unit sets variables for the rest of it.

    Options would be clearer, but the runner of an older release has to accept the same unit.
    """
    variables = {
        key: os.environ.get(f"AROUNDTHEWORLD_HEALTH_{key.upper()}", "")
        for key in ("host", "scheme", "status")
    }
    default = HealthCheck()
    return HealthCheck(
        path=path,
        host=variables["host"] or default.host,
        scheme=variables["scheme"] or default.scheme,
        statuses=tuple(filter(None, variables["status"].split(","))) or default.statuses,
        timeout=timeout,
    )


def _ask(check: HealthCheck, port: int, process: subprocess.Popen[bytes]) -> int:
    """Return the status of an answer.

    Raises:
        NoAnswerError: There is none in time, or the process has ended.
    """
    answers: list[int | NoAnswerError] = []

    def ask() -> None:
        try:
            answers.append(check.ask(f"{ADDRESS}:{port}"))
        except NoAnswerError as error:
            answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    # Nobody accepts from the socket of a process that has ended, so the request would wait.
    while asking.is_alive() and process.poll() is None:
        asking.join(PAUSE)
    answer = answers[0] if answers else NoAnswerError("it has ended")
    if isinstance(answer, NoAnswerError):
        raise answer
    return answer


def try_command(options: argparse.Namespace, command: Sequence[str]) -> str:
    """Return what is wrong with the command, or an empty text."""
    listening = socket.create_server((ADDRESS, 0))
    listening.setblocking(False)  # as the workers' units have it (NonBlocking=yes)
    port = listening.getsockname()[1]
    os.environ.update(AROUNDTHEWORLD_POOL=options.pool, AROUNDTHEWORLD_PORT=str(port))
    if options.binds:
        listening.close()
        for placeholder, value in (("{port}", str(port)), ("{address}", ADDRESS)):
            command = [word.replace(placeholder, value) for word in command]
    problem = "it did not answer"
    with _running(command, None if options.binds else listening) as process:
        deadline = time.monotonic() + options.start_timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                check = _health_check(options.path, min(options.answer_timeout, left))
                status = _ask(check, port, process)
            except NoAnswerError as error:
                problem = f"it did not answer {options.path} ({error})"
            else:
                return "" if check.allows(status) else check.wrong(status)
            time.sleep(PAUSE)
            if (code := process.poll()) is not None:
                how = f"signal {-code}" if code < 0 else f"status {code}"
                return f"it ended with {how} instead of serving"
    return f"{problem} within {options.start_timeout:g} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("there is no command")
    if problem := try_command(options, command):
        sys.stderr.write(f"The command of pool {options.pool} cannot be run: {problem}.\n")
        return 1
    sys.stdout.write(f"the command of pool {options.pool} answers\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
