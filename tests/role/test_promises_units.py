"""What each line of the units promises: a sentence and its directives, in a table."""

import pytest

from tests.render import ADMIN, PUBLIC
from tests.role.process_promises import (
    HOME,
    PROCESS,
    PYTHON,
    RELEASE,
    RELEASES,
    SANDBOX,
    directives,
)
from tests.role.rendered import units_of

# A site that has every kind of unit.
EVERYTHING = {
    "aroundtheworld_metrics_port": 9145,
    "aroundtheworld_import_timeout": 61,
    "aroundtheworld_migrate_timeout": 62,
    "aroundtheworld_migrate_lock_timeout": 7,
    "aroundtheworld_schema_check_command": "python -m aroundtheworld check",
    "aroundtheworld_health_timeout": 4,
    "aroundtheworld_block_warn": 2,
    "aroundtheworld_pools": [
        PUBLIC,
        ADMIN,
        {
            "name": "shop",
            "ports": [10005],
            "paths": ["/shop"],
            "command": "gunicorn shop",
            "health_path": "/shop/up",
        },
        {
            "name": "live",
            "ports": [10006],
            "paths": ["/live"],
            "command": "serve {port}",
            "binds": True,
        },
        {"name": "mail", "command": "python -m shop.mail"},
        {
            "name": "nightly",
            "command": "python -m shop.nightly",
            "at": ["03:00", "Sun 12:00"],
            "run_timeout": 3600,
        },
    ],
}

EXPORTER = f"{RELEASE}/runner/aroundtheworld_exporter.py"
HEALTH = (
    "AROUNDTHEWORLD_HEALTH_HOST=localhost AROUNDTHEWORLD_HEALTH_SCHEME=http "
    "AROUNDTHEWORLD_HEALTH_STATUS=2xx,3xx"
)
TRIAL = f"/usr/bin/env {HEALTH} {PYTHON} -m aroundtheworld_runner.trial"

# What is run once for a release, beside workers that serve.
ONCE = {
    "it ends before the next step begins": "[Service] Type=oneshot",
    "it counts as the site's": "[Service] Slice=aroundtheworld.slice",
    "it leaves the processor to the workers": "[Service] CPUWeight=50",
}

SOCKET = {
    "connections queue while a worker is replaced": "[Socket] ListenStream=127.0.0.1:%i",
    "no response waits for a full packet": "[Socket] NoDelay=yes",
    "it queues on while its worker crashes": "[Socket] TriggerLimitIntervalSec=0",
    "it comes with a boot": "[Install] WantedBy=sockets.target",
}

WORKER = {
    "it starts after the network": "[Unit] After=network.target",
    "it is started again, however often it crashed": "[Unit] StartLimitIntervalSec=0",
    "it counts as started when it reports that": "[Service] Type=notify",
    "a stop lets it finish its requests, and kills what it leaves behind": (
        "[Service] KillMode=mixed"
    ),
    "a stand-in that starts does not make its socket block": "[Service] NonBlocking=yes",
    "it is started again after any end": "[Service] Restart=always",
    "its first restart comes at once": "[Service] RestartSec=500ms",
    "its wait after crashes may ask systemd for time": "[Service] NotifyAccess=exec",
    "a fault of the back-off (test_backoff.py) does not hold it up": (
        "[Service] ExecStartPre=-/bin/sh -c … & ExecStop=-/bin/sh -c … & ExecStopPost=-/bin/sh -c …"
    ),
    "its private sockets are for its user only": (
        "[Service] RuntimeDirectory=aroundtheworld/%i & RuntimeDirectoryMode=0700"
    ),
    "what it measured of its routes outlives a restart": (
        "[Service] RuntimeDirectoryPreserve=restart"
    ),
    "it knows its port": "[Service] Environment=AROUNDTHEWORLD_PORT=%i",
    "it takes connections at once": "[Service] Environment=HOLD=",
    "it comes with a boot": "[Install] WantedBy=multi-user.target",
}

STAND_IN = {
    "it starts after the network": "[Unit] After=network.target",
    "it counts as started when its main process reports that": (
        "[Service] Type=notify & NotifyAccess=main"
    ),
    "a stop lets it finish its requests, and kills what it leaves behind": (
        "[Service] KillMode=mixed"
    ),
    "a worker that starts does not make its socket block": "[Service] NonBlocking=yes",
    "it serves from the worker's socket": "[Service] Sockets=aroundtheworld@%i.socket",
    "its private sockets are its own, and for its user only": (
        "[Service] RuntimeDirectory=aroundtheworld/handover-%i & RuntimeDirectoryMode=0700"
    ),
    "it knows its port": "[Service] Environment=AROUNDTHEWORLD_PORT=%i",
    "it takes no connection before it has proved itself": "[Service] Environment=HOLD=--hold",
}

BEHIND_ITS_SOCKET = {
    "it has its socket": (
        "[Unit] Requires=aroundtheworld@%i.socket & After=aroundtheworld@%i.socket"
    ),
}

# The settings of a pool that may not block, and of a pool that may.
QUICK = {
    "its limits are its pool's": "[Service] Slice=aroundtheworld-public.slice",
    "it runs the app, with its private sockets, its time to drain and what counts as blocked": (
        f"[Service] ExecStart={PYTHON} -m aroundtheworld_runner aroundtheworld.app:make_app "
        "--control ${RUNTIME_DIRECTORY}/control.sock --private-app ${RUNTIME_DIRECTORY}/app.sock "
        "--drain-timeout 30 --block-warn 2 $HOLD"
    ),
    "it is scheduled as usual": "[Service] Nice=0 & CPUSchedulingPolicy=other",
    "it is not the first to go when memory is short": "[Service] OOMScoreAdjust=0",
    "it has its pool's time to start": "[Service] TimeoutStartSec=30",
    "it may end by itself before systemd ends it": "[Service] TimeoutStopSec=45",
    "a worker that hangs is ended": "[Service] WatchdogSec=30",
    "it knows its pool": "[Service] Environment=AROUNDTHEWORLD_POOL=public",
    "it knows its settings": "[Service] Environment=AROUNDTHEWORLD_CONFIG=@CONFIG@",
}
BLOCKING = {
    "its limits are its pool's": "[Service] Slice=aroundtheworld-admin.slice",
    "it has long to drain": (
        f"[Service] ExecStart={PYTHON} -m aroundtheworld_runner aroundtheworld.app:make_app "
        "--control ${RUNTIME_DIRECTORY}/control.sock --private-app ${RUNTIME_DIRECTORY}/app.sock "
        "--drain-timeout 300 --block-warn 2 $HOLD"
    ),
    "it yields to the others": "[Service] Nice=10 & CPUSchedulingPolicy=batch",
    "it is the first to go when memory is short": "[Service] OOMScoreAdjust=500",
    "it has its pool's time to start": "[Service] TimeoutStartSec=60",
    "it may end by itself before systemd ends it": "[Service] TimeoutStopSec=315",
    "a worker that works for long is not ended": "[Service] WatchdogSec=0",
    "it knows its pool": "[Service] Environment=AROUNDTHEWORLD_POOL=admin",
    "it knows its settings": "[Service] Environment=AROUNDTHEWORLD_CONFIG=@CONFIG@",
}


def command(pool, line, kind):
    return {
        "its limits are its pool's": f"[Service] Slice=aroundtheworld-{pool}.slice",
        "it counts as started when it was executed": "[Service] Type=exec",
        "what it was started with is noted beside it": (
            "[Service] ExecStartPre=/bin/sh -c 'echo "
            '"$AROUNDTHEWORLD_RELEASE $AROUNDTHEWORLD_CONFIG $AROUNDTHEWORLD_POOL" '
            '>"$RUNTIME_DIRECTORY/runs"\''
        ),
        "it runs the operator's command": f"[Service] ExecStart=/usr/bin/env {line}",
        "how it comes by its socket is known": (
            f"[Service] Environment=AROUNDTHEWORLD_KIND={kind}"
        ),
        "it is scheduled as usual": "[Service] Nice=0 & CPUSchedulingPolicy=other",
        "it is not the first to go when memory is short": "[Service] OOMScoreAdjust=0",
        "it has its pool's time to start": "[Service] TimeoutStartSec=30",
        "it may end by itself before systemd ends it": "[Service] TimeoutStopSec=45",
        "it answers no watchdog": "[Service] WatchdogSec=0",
        "it knows its pool": f"[Service] Environment=AROUNDTHEWORLD_POOL={pool}",
        "it knows its settings": "[Service] Environment=AROUNDTHEWORLD_CONFIG=@CONFIG@",
    }


# What is true of workers that serve only.
SERVING = (
    "it is scheduled as usual",
    "it is not the first to go when memory is short",
    "it has its pool's time to start",
    "it may end by itself before systemd ends it",
)
QUEUE = {
    promise: text
    for promise, text in command("mail", "python -m shop.mail", "queue").items()
    if promise not in SERVING
} | {
    "it yields to the others": "[Service] Nice=10 & CPUSchedulingPolicy=batch",
    "it is the first to go when memory is short": "[Service] OOMScoreAdjust=500",
    "it is started in a minute": "[Service] TimeoutStartSec=60",
    "it has its pool's time to finish what it has in hand": "[Service] TimeoutStopSec=300",
    "it is not told of a port or of visitors": (
        "[Service] UnsetEnvironment=AROUNDTHEWORLD_PORT HOLD"
    ),
    "it knows which of its pool's workers it is": "[Service] Environment=AROUNDTHEWORLD_PROCESS=1",
}


JOB = {
    "it ends by itself, and runs once at a time": "[Service] Type=oneshot",
    "its limits are its pool's": "[Service] Slice=aroundtheworld-nightly.slice",
    "what it was started with is noted while it runs, for its user and root": (
        "[Service] RuntimeDirectory=aroundtheworld/job-nightly & RuntimeDirectoryMode=0700 & "
        "ExecStartPre=/bin/sh -c 'echo "
        '"$AROUNDTHEWORLD_RELEASE - $AROUNDTHEWORLD_POOL" >"$RUNTIME_DIRECTORY/runs"\''
    ),
    "it runs the operator's command": "[Service] ExecStart=/usr/bin/env python -m shop.nightly",
    "a stop lets it finish, and kills what it leaves behind": "[Service] KillMode=mixed",
    "it has its pool's time": "[Service] TimeoutStartSec=3600",
    "it has its pool's time to end when it is stopped": "[Service] TimeoutStopSec=300",
    "it yields to the others": "[Service] Nice=10 & CPUSchedulingPolicy=batch",
    "it is the first to go when memory is short": "[Service] OOMScoreAdjust=500",
    "it knows its pool": "[Service] Environment=AROUNDTHEWORLD_POOL=nightly",
}
TIMER = {
    "it elapses at each of the operator's times": (
        "[Timer] OnCalendar=03:00 & OnCalendar=Sun 12:00"
    ),
    "it makes up for what it missed while the host was down": "[Timer] Persistent=yes",
    "it is on time": "[Timer] AccuracySec=1s",
    "it comes with a boot": "[Install] WantedBy=timers.target",
}


def limits(weight, memory):
    return {
        "what its processes use is counted": "[Slice] CPUAccounting=yes",
        "it has its share of the processor and of disks": (
            f"[Slice] CPUWeight={weight} & IOWeight={weight}"
        ),
        "it has so much memory": f"[Slice] MemoryHigh=infinity & MemoryMax={memory}",
        "it has so many processes": "[Slice] TasksMax=512",
    }


METRICS_SOCKET = {
    "a release from before there were metrics can still be gone back to": (
        f"[Unit] ConditionPathExists={EXPORTER}"
    ),
    "it listens where the operator wants it": "[Socket] ListenStream=127.0.0.1:9145",
    "it comes before the network does": "[Socket] FreeBind=yes",
    "it comes with a boot": "[Install] WantedBy=sockets.target",
}
METRICS = {
    "it answers on its socket, and starts for it": (
        "[Unit] Requires=aroundtheworld-metrics.socket & After=aroundtheworld-metrics.socket"
    ),
    "it counts as started when it was executed": "[Service] Type=exec",
    "it counts as the site's": "[Service] Slice=aroundtheworld.slice",
    "it knows every worker, and where nginx has its numbers": (
        f"[Service] ExecStart=/usr/bin/python3 -I -B {EXPORTER} aroundtheworld {HOME} "
        "127.0.0.1:9146 public:10001,10002,10003 admin:10004:blocking shop:10005:command "
        "live:10006:command"
    ),
    "it knows every pool without ports": (
        "[Service] Environment=AROUNDTHEWORLD_QUEUES=mail:1 & "
        "Environment=AROUNDTHEWORLD_JOBS=nightly"
    ),
    "it can open the workers' private sockets": "[Service] User=tornado",
    "what it writes is for nobody else": "[Service] UMask=0077",
    "it takes little from the workers": ("[Service] CPUWeight=20 & MemoryMax=256M & TasksMax=256"),
}

UNITS = {
    "aroundtheworld@.socket": [SOCKET],
    "aroundtheworld@.service": [WORKER, PROCESS, SANDBOX],
    "aroundtheworld-handover@.service": [STAND_IN, PROCESS, SANDBOX],
    "aroundtheworld-prepare.service": [
        ONCE,
        {
            "it imports the app of the release": (
                f"[Service] ExecStart={PYTHON} -m aroundtheworld_runner "
                "aroundtheworld.app:make_app --check"
            ),
            "it has the operator's time": "[Service] TimeoutStartSec=61",
            "it ends soon when it is stopped": "[Service] TimeoutStopSec=15",
        },
        RELEASES, PROCESS, SANDBOX,
    ],
    "aroundtheworld-migrate.service": [
        ONCE,
        {
            "it runs the operator's command, which gives up waiting for a lock in time": (
                '[Service] ExecStart=/usr/bin/env "PGOPTIONS=-c lock_timeout=7s ${PGOPTIONS}" '
                "AROUNDTHEWORLD_LOCK_TIMEOUT=7 python -m aroundtheworld migrate"
            ),
            "a site need not have options for PostgreSQL": "[Service] Environment=PGOPTIONS=",
            "it has the operator's time": "[Service] TimeoutStartSec=62",
            "it has a minute to end when it is stopped": "[Service] TimeoutStopSec=60",
        },
        RELEASES, PROCESS, SANDBOX,
    ],
    "aroundtheworld-schema.service": [
        ONCE,
        {
            "it asks the release by the operator's command": (
                "[Service] ExecStart=/usr/bin/env python -m aroundtheworld check"
            ),
            "it has the operator's time": "[Service] TimeoutStartSec=61",
            "it ends soon when it is stopped": "[Service] TimeoutStopSec=15",
        },
        RELEASES, PROCESS, SANDBOX,
    ],
    "aroundtheworld-trial.service": [
        ONCE,
        {
            "each command proves itself in its pool's time, at its health path": (
                f"[Service] ExecStart={TRIAL} --pool shop --path /shop/up --answer-timeout 4 "
                "--start-timeout 30 -- /usr/bin/env gunicorn shop"
                f" & ExecStart={TRIAL} --pool live --path / --answer-timeout 4 "
                "--start-timeout 30 --binds -- /usr/bin/env serve {port}"
            ),
            "there is no other time-out": "[Service] TimeoutStartSec=infinity",
        },
        RELEASES, PROCESS, SANDBOX,
    ],
    "aroundtheworld@10001.service.d/pool.conf": [QUICK, BEHIND_ITS_SOCKET, RELEASES],
    "aroundtheworld@10004.service.d/pool.conf": [BLOCKING, BEHIND_ITS_SOCKET, RELEASES],
    "aroundtheworld@10005.service.d/pool.conf": [
        command("shop", "gunicorn shop", "takes"), BEHIND_ITS_SOCKET, RELEASES,
    ],
    "aroundtheworld@10006.service.d/pool.conf": [
        command("live", "serve 10006", "binds"), RELEASES,
    ],
    "aroundtheworld@mail-1.service.d/pool.conf": [QUEUE, RELEASES],
    "aroundtheworld-job-nightly.service": [JOB, RELEASES, PROCESS, SANDBOX],
    "aroundtheworld-job-nightly.timer": [TIMER],
    "aroundtheworld-nightly.slice": [limits(20, "50%")],
    "aroundtheworld-mail.slice": [limits(20, "50%")],
    "aroundtheworld-public.slice": [limits(100, "infinity")],
    "aroundtheworld-public.handover.slice": [limits(100, "infinity")],
    "aroundtheworld-admin.slice": [limits(20, "50%")],
    "aroundtheworld-admin.handover.slice": [limits(20, "50%")],
    "aroundtheworld-metrics.socket": [METRICS_SOCKET],
    "aroundtheworld-metrics.service": [METRICS, SANDBOX],
}  # fmt: skip


REPEATED = ("Environment", "ExecStart", "LoadCredential", "OnCalendar", "SystemCallFilter")
PROMISES = [
    (unit, promise, text)
    for unit, tables in UNITS.items()
    for table in tables
    for promise, text in table.items()
]


@pytest.fixture(scope="module")
def units():
    return units_of(EVERYTHING)[1]


@pytest.mark.parametrize(
    ("unit", "promise", "text"),
    PROMISES,
    ids=[f"{unit}: {promise}" for unit, promise, _ in PROMISES],
)
def test_a_unit_keeps_its_promise(units, unit, promise, text):
    for section, name, value in directives(text):
        values = units[unit].all(section, name)
        if value.endswith("…"):
            values = [each[: len(value) - 1] + "…" for each in values]
        assert value in values
        if name not in REPEATED:
            assert len(values) == 1, name  # of several, systemd takes the last or all


@pytest.mark.parametrize("unit", UNITS)
def test_each_line_of_a_unit_has_a_promise(units, unit):
    """A new line needs a sentence above; a description is for people only."""
    promised = [
        (section, name)
        for table in UNITS[unit]
        for text in table.values()
        for section, name, _ in directives(text)
    ]
    found = [
        (section, name)
        for section, lines in units[unit].sections.items()
        for name, values in lines.items()
        for _ in values
        if name != "Description"
    ]
    assert sorted(found) == sorted(promised)


def test_each_unit_is_in_the_table(units):
    same = {f"aroundtheworld@{port}.service.d/pool.conf" for port in (10002, 10003)}
    same |= {
        f"aroundtheworld-{pool}{infix}.slice"
        for pool in ("shop", "live")
        for infix in ("", ".handover")
    }
    assert set(units) - same == set(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_an_operator_reads_whose_unit_it_is(units, unit):
    # The drop-in of a worker has the description of both, worker and stand-in.
    expected = not unit.endswith("@.service")
    descriptions = units[unit].all("Unit", "Description")
    assert [text.startswith("aroundtheworld: ") for text in descriptions] == [True] * expected
