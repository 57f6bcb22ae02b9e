"""Libraries live in the workers' sandbox: each is used once, in an app of several pools.

The app is molecule/pools/libraries; its wheels are 170 MB for a host.
"""

import json
import re
import shlex
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[1] / "libraries"
OPEN_FILES = 524288
POOLS = [
    {"name": "public", "ports": [10001], "paths": ["/"]},
    {
        "name": "code",
        "ports": [10002],
        "paths": ["/code"],
        "unit": {"MemoryDenyWriteExecute": False},
    },
]
LIBRARIES = [
    *("argon2", "cryptography", "grpcio", "httpx", "lxml", "numpy", "orjson", "pandas", "pillow"),
    *("prometheus_client", "psutil", "psycopg", "pyarrow", "pyzmq", "uvloop", "watchdog"),
]
KINDS = ["processes", "shared", "programs", "files", "events", "who", "names", "callbacks"]
NASTY = [
    *("", " ", "-n", "--", "a b", "a\nb\n", "\\n\\", "'", '"', "*", "%h %%", "ä☃", "\t", "\x01"),
    *(
        "$$",
        "$$$",
        "${X}",
        "$",
        "a$$b",
        "$HOME",
        "$HOME ${HOME} $$ \\$HOME",
        "`id`",
        "$(id)",
        "A=b",
    ),
]


@pytest.fixture(scope="module")
def deployed(deploy):
    """Deploy the app, whose migration writes machine code too."""
    run = deploy(
        "static",  # of which nothing is left
        app_dir=str(APP), make_app="web:make_app", static=[], pools=POOLS, canary_seconds=0,
        migrate_command="python -c 'import use; use.numba()'", environment={},
    )  # fmt: skip
    assert run.returncode == 0, run.output
    return run


@pytest.mark.parametrize("name", [*LIBRARIES, *KINDS])
def test_it_works_in_the_sandbox(deployed, visitor, name):
    status, body, _ = visitor.ask(f"/use/{name}")
    assert status == 200, body.decode()


def test_machine_code_works_in_the_pool_that_asks_for_it_alone(deployed, visitor, deploy):
    assert visitor.ask("/code/use/numba")[0] == 200
    status, body, _ = visitor.ask("/use/numba")
    assert (status, b"executable memory" in body) == (500, True)
    output = deploy("static", "--tags", "status", pools=POOLS).output
    assert "pool code: its units have MemoryDenyWriteExecute=no" in output


def test_a_command_of_the_site_has_what_its_pools_open(deployed, host):
    assert host.run("aroundtheworld-run python -c 'import use; use.numba()'").rc == 0


def test_systemd_finds_little_exposure(deployed, host):
    workers = "aroundtheworld@10001.service aroundtheworld@10002.service"
    output = host.check_output(f"systemd-analyze security --no-pager {workers}")
    exposures = re.findall(r"Overall exposure level for .*: ([\d.]+)", output)
    assert len(exposures) == 2
    assert max(map(float, exposures)) <= 1.5


def test_a_worker_may_have_as_many_files_as_the_host_allows(deployed, host, units):
    limits = host.check_output("cat /proc/%s/limits", str(units.pids()[10001]))
    soft, hard = re.search(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE).groups()
    allowed = host.check_output("systemctl show -P DefaultLimitNOFILE")
    assert int(soft) == int(hard) >= min(int(allowed), OPEN_FILES)


def test_a_command_gets_its_arguments_as_they_were_given(deployed, host):
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    words = shlex.join(["python", "-c", script, *NASTY])
    assert json.loads(host.check_output("aroundtheworld-run " + words.replace("%", "%%"))) == NASTY
