"""systemd itself reads each unit that the role may render; any output of that is an error.

For a directive that it does not know, `systemd-analyze verify` ends with 0 in systemd 252, and with
1 where it has --recursive-errors.
"""

import os
import re
import shutil
import subprocess

import pytest

from tests.matrix import chosen
from tests.render import MODELS, variables_for
from tests.role.rendered import unit_texts

ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(
    ANALYZE is None and "CI" not in os.environ, reason="this machine has no systemd-analyze"
)


def verify(directory, variables, change=lambda text: text):
    """Return status and output of systemd's check of the units, and of each instance."""
    complete = variables_for(variables)
    site = complete["aroundtheworld_site"]
    units = directory / "units"
    # Only a host has the virtual environment.
    python = directory / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    names = set()
    for path, text in unit_texts(complete).items():
        text = re.sub(r"/\S+/environments/\w+/bin/python\b", str(python), change(text))
        # A stand-in gets its worker's drop-in while it is there.
        stand_in = path.replace(f"{site}@", f"{site}-handover@", 1)
        for name in {path, stand_in} if path.endswith("/pool.conf") else {path}:
            (units / name).parent.mkdir(parents=True, exist_ok=True)
            (units / name).write_text(text)
            names.add(name.partition(".d/")[0])
    names |= {
        f"{site}@{worker['instance']}.socket"
        for worker in complete["__aroundtheworld_plan"]["workers"]
        if worker["kind"] != "queue"
    }
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no",
         *(units / name for name in sorted(names) if "@." not in name)],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("model", chosen(list(MODELS)))
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path, model):
    assert verify(tmp_path, MODELS[model]) == (0, "")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("NonBlocking=yes", "NonBlockin=yes"),
        ("Restart=always", "Restart=allways"),
        ("CPUWeight=100", "CPUWeight=many"),
        ("NoDelay=yes", "NoDelays=yes"),
        ("Nice=0", "Nice=99"),
        ("ExecStop=-/bin/sh", "ExecStop=-bin/sh"),
        ("[Install]", "[Instal]"),
    ],
)
def test_systemd_names_the_line_that_is_wrong(tmp_path, line, fault):
    _, words = verify(tmp_path, {}, lambda text: text.replace(line, fault))
    name, _, value = fault.strip("[]").partition("=")
    assert name in words or value.strip("-") in words
