"""Libraries live in the workers' sandbox: each is used once, in an app of several pools.

The app is molecule/pools/libraries; its wheels are 170 MB for a host.
"""

import json
import re
import shlex
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

APP = Path(__file__).resolve().parents[1] / "libraries"
OPEN_FILES = 524288
POOLS = [
    {"name": "public", "ports": [10001], "paths": ["/"], "max_body_size": "120m"},
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


@pytest.mark.parametrize("use", [*LIBRARIES, *KINDS])
def test_it_works_in_the_sandbox(deployed, visitor, use):
    status, body, _ = visitor.ask(f"/use/{use}")
    assert status == 200, body.decode()


@pytest.mark.parametrize("path", ["/upload", "/stream"])
@pytest.mark.parametrize(("megabytes", "status"), [(120, 200), (121, 413)])
def test_a_body_may_be_as_large_as_the_pool_has_it(deployed, http, path, megabytes, status):
    size = megabytes * 1024**2
    connection = HTTPConnection(urlsplit(http).netloc, timeout=300)
    connection.putrequest("PUT", path)
    connection.putheader("Content-Length", str(size))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    # nginx answers a body that is too large before it comes.
    if status == 200:
        for _ in range(megabytes):
            connection.send(bytes(1024**2))
    response = connection.getresponse()
    assert response.status == status
    assert status != 200 or int(response.read()) == size
    connection.close()


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
    def limits(process):
        text = host.check_output("cat /proc/%s/limits", str(process))
        return re.search(r"^Max open files +(\d+) +(\d+)", text, re.MULTILINE).groups()

    soft, hard = map(int, limits(units.pids()[10001]))
    # Where nobody may raise limits, as on some test hosts, systemd's own is the most.
    assert soft == hard
    assert soft in (OPEN_FILES, int(limits(1)[1]))


MANY = 1100
CONNECT = f"""
import resource, socket
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
opened = []
for _ in range({MANY}):
    opened.append(socket.create_connection(("127.0.0.1", 10001)))
    opened[-1].sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    assert opened[-1].recv(1000).startswith(b"HTTP/1.1 200 ")
print(len(opened))
"""


def test_a_worker_has_more_connections_than_systemd_usually_lets_it(deployed, host):
    assert host.check_output("python3 -c %s", CONNECT) == str(MANY)


def test_a_command_gets_its_arguments_as_they_were_given(deployed, host):
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    words = shlex.join(["python", "-c", script, *NASTY])
    assert json.loads(host.check_output(f"aroundtheworld-run {words}")) == NASTY
