"""Measures, prints a table, and writes it into docs/benchmarks.md with the figures beside it."""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
from collections.abc import Callable

from bench import cost, frontdoor, game, growth, isolation, load, playbooks, report, targets
from bench.figures import Part
from bench.host import CACHE, TOOLS, BenchError, run, say


def main() -> None:
    """Measure the parts that are named; exit status 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").strip())
    parser.add_argument(
        "parts",
        nargs="*",
        help="playbooks, load, cost, frontdoor, game, isolation, growth, and targets, "
        "which takes 20 minutes; "
        "the first two unless named",
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure once or twice, and keep nothing"
    )
    arguments = parser.parse_args()
    rounds, deploys, bursts = (2, 1, 2) if arguments.quick else (5, 2, 6)
    measure: dict[str, Callable[[], Part]] = {
        "playbooks": lambda: playbooks.measure(rounds, deploys),
        "cost": lambda: cost.measure(2 * rounds),
        "load": lambda: load.measure(bursts),
        "frontdoor": lambda: frontdoor.measure(1 if arguments.quick else rounds),
        "game": lambda: game.measure(*(2, 50) if arguments.quick else (3, 500)),
        "isolation": lambda: isolation.measure(*((4, 1) if arguments.quick else (16, 5))),
        "growth": lambda: growth.measure(1 if arguments.quick else 3),
        "targets": targets.measure,
    }
    names = arguments.parts or ["playbooks", "load"]
    if unknown := set(names) - set(measure):
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(measure)}")

    # As Ctrl-C does: hosts are removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM"))
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = [
                keeps_promises(name, measure[name](), keep=not arguments.quick) for name in names
            ]
        except BlockingIOError:
            sys.exit("Another run measures in this checkout: wait for it, or end it.")
        except BenchError as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit("Interrupted: the hosts are gone, and what was not finished is not kept.")
    sys.exit(not all(kept))


def keeps_promises(name: str, part: Part, keep: bool) -> bool:
    """Print a part, write it into the documentation if it is to be kept, and judge it."""
    say("\n" + "\n".join(report.table(part)) + "\n")
    if keep:
        report.save(report.load() | {name: part})
        # The library that draws is large, and needed for nothing else.
        packages = ("--isolated", "--no-project", "--with-requirements", "bench/requirements.txt")
        run(TOOLS / "uv", "run", *packages, "python", "-m", "bench.plot")
    return all(figure.kept for figure in part.figures)


if __name__ == "__main__":
    main()
