"""How long the operator's commands take, against the least that a playbook can take."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.figures import Figure, Part, ratios
from bench.host import Host, say, workers

SITE, FLOOR = "site.yml", "bench/floor.yml"
WORKERS_16 = workers(16)


def measure(rounds: int, deploys: int) -> Part:
    """Measure first deploys on bare hosts, then everyday runs on a host that has its site.

    Args:
        rounds: how often each everyday run is measured.
        deploys: how often each kind of first deploy is, each time on a new host.

    Raises:
        BenchError: a run failed or did not do what it should.
    """
    bare_floor: list[float] = []
    cold: list[float] = []
    warm: list[float] = []
    everyday: dict[str, list[float]] = {
        name: [] for name in ("floor", "nothing", "sixteen", "maintenance")
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        for number in range(deploys):
            cache = Path(temporary) / str(number)
            for kind in (cold, warm):
                with Host("bare") as host:
                    bare_floor.append(_floor(host))
                    kind.append(host.playbook(SITE, changes=True, cache=cache))
                    say(f"first deploy {kind[-1]:.1f} s, floor {bare_floor[-1]:.1f} s")

    with Host("four") as four, Host("sixteen") as sixteen:
        for host, variables in ((four, {}), (sixteen, WORKERS_16)):
            host.playbook(SITE, changes=True, variables=variables)
            _floor(host)
        for number in range(rounds):
            verb = "maintenance_off" if number % 2 else "maintenance_on"
            everyday["floor"].append(four.playbook(FLOOR, changes=False))
            everyday["nothing"].append(four.playbook(SITE, changes=False))
            everyday["sixteen"].append(sixteen.playbook(SITE, changes=False, variables=WORKERS_16))
            everyday["maintenance"].append(four.playbook(SITE, "--tags", verb, changes=True))
            say(", ".join(f"{name} {values[-1]:.1f} s" for name, values in everyday.items()))

    floor = Figure("floor: facts and one file task", "s", everyday["floor"])
    nothing = Figure("`site.yml`, nothing to change", "s", everyday["nothing"])
    sixteen_workers = Figure("the same with 16 workers", "s", everyday["sixteen"])
    maintenance = Figure("`--tags maintenance_on` or `_off`", "s", everyday["maintenance"])
    first_cold = Figure("first deploy, no wheel on the controller yet", "s", cold)
    first_warm = Figure("first deploy, wheels on the controller", "s", warm)
    return Part(
        [
            ratios("`site.yml`, nothing to change, to the floor", nothing, floor, 3),
            ratios("`--tags maintenance_on`, to the floor", maintenance, floor, 1.5),
            ratios(
                "first deploy, no wheel on the controller yet, to the floor",
                first_cold,
                Figure("", "s", bare_floor[::2]),
                12,
            ),
            ratios(
                "first deploy, wheels on the controller, to the floor",
                first_warm,
                Figure("", "s", bare_floor[1::2]),
                12,
            ),
            ratios("16 workers, nothing to change, to 4 workers", sixteen_workers, nothing, 1.2),
            floor,
            nothing,
            sixteen_workers,
            maintenance,
            first_cold,
            first_warm,
        ]
    )


def _floor(host: Host) -> float:
    """Return the floor of a host, over a connection that is open already."""
    host.playbook(FLOOR, changes=False)
    return host.playbook(FLOOR, changes=False)
