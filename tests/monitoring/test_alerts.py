"""Each alert fires when it should and only then, as Prometheus' own promtool evaluates it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.role_files import CHECKOUT

ALERTS = CHECKOUT / "monitoring" / "alerts.yml"
RULES = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
BASE = 'instance="a",site="shop"'
PUBLIC = f'{BASE},pool="public"'
WORKER = f'{PUBLIC},port="10001"'
ADMIN = f'{BASE},pool="admin"'
ADMIN_WORKER = f'{ADMIN},port="10004"'
NIGHTLY = f'{BASE},pool="nightly"'
BLOCKING = {
    f"aroundtheworld_pool_blocking{{{PUBLIC}}}": "0x60",
    f"aroundtheworld_pool_blocking{{{ADMIN}}}": "1x60",
}
LAG = "aroundtheworld_worker_loop_lag_seconds_bucket"
TOOK = "aroundtheworld_worker_request_duration_seconds_bucket"
CODES = "aroundtheworld_worker_requests_total"
CONNECTIONS = "aroundtheworld_nginx_connections"


def buckets(name, labels, fast, all_of_them, bound):
    return {
        f'{name}{{{labels},le="{bound}"}}': f"0+{fast}x60",
        f'{name}{{{labels},le="+Inf"}}': f"0+{all_of_them}x60",
    }


def info(*releases):
    return {
        f'aroundtheworld_worker_info{{{PUBLIC},port="{port}",release="{release}"}}': "1x60"
        for port, release in enumerate(releases, 10001)
    }


# Alert to what makes it fire after so many minutes, and to what looks much the same and must not.
CASES = {
    "MetricsMissing": (
        {'up{job="aroundtheworld",instance="a"}': "0x60"},
        3,
        {'up{job="aroundtheworld",instance="a"}': "1x60", 'up{job="other",instance="a"}': "0x60"},
    ),
    "WorkerDown": (
        {f"aroundtheworld_worker_up{{{WORKER}}}": "0x60"},
        2,
        {f"aroundtheworld_worker_up{{{WORKER}}}": "1x60"},
    ),
    "WorkerCrashing": (
        {f"aroundtheworld_worker_crashing{{{WORKER}}}": "1x60"},
        4,
        {f"aroundtheworld_worker_crashing{{{WORKER}}}": "0x10 1x2 0x27 1x1 0x30"},  # ended twice
    ),
    "WorkerRestarts": (
        {f"aroundtheworld_worker_restarts_total{{{WORKER}}}": "0+1x60"},
        15,
        {f"aroundtheworld_worker_restarts_total{{{WORKER}}}": "0x20 1x60"},
    ),
    "LoopBlocked": (
        BLOCKING | {f"aroundtheworld_worker_loop_busy_seconds{{{WORKER}}}": "6x60"},
        1,
        BLOCKING
        | {
            f"aroundtheworld_worker_loop_busy_seconds{{{WORKER}}}": "1x60",
            f"aroundtheworld_worker_loop_busy_seconds{{{ADMIN_WORKER}}}": "600x60",
        },
    ),
    "LoopLags": (
        BLOCKING | buckets(LAG, WORKER, 10, 240, "0.25") | buckets(LAG, WORKER, 240, 240, "0.5"),
        20,
        BLOCKING
        | buckets(LAG, WORKER, 240, 240, "0.25")
        | buckets(LAG, ADMIN_WORKER, 10, 240, "0.25")
        | buckets(LAG, ADMIN_WORKER, 240, 240, "0.5"),
    ),
    "Errors": (
        {f'{CODES}{{{WORKER},code="200"}}': "0+90x60", f'{CODES}{{{WORKER},code="502"}}': "0+9x60"},
        20,
        {f'{CODES}{{{WORKER},code="200"}}': "0+90x60", f'{CODES}{{{WORKER},code="404"}}': "0+9x60"},
    ),
    "Slow": (
        BLOCKING | buckets(TOOK, WORKER, 10, 240, "1") | buckets(TOOK, WORKER, 240, 240, "2.5"),
        20,
        BLOCKING
        | buckets(TOOK, WORKER, 240, 240, "1")
        | buckets(TOOK, ADMIN_WORKER, 10, 240, "1")
        | buckets(TOOK, ADMIN_WORKER, 240, 240, "2.5"),
    ),
    "MemoryShort": (
        {
            f"aroundtheworld_pool_memory_bytes{{{ADMIN}}}": "95x60",
            f"aroundtheworld_pool_memory_max_bytes{{{ADMIN}}}": "100x60",
        },
        6,
        {
            f"aroundtheworld_pool_memory_bytes{{{ADMIN}}}": "80x60",
            f"aroundtheworld_pool_memory_max_bytes{{{ADMIN}}}": "100x60",
            f"aroundtheworld_pool_memory_bytes{{{PUBLIC}}}": "95x60",
        },
    ),
    "FilesShort": (
        {
            f"aroundtheworld_worker_open_fds{{{WORKER}}}": "900x60",
            f"aroundtheworld_worker_max_fds{{{WORKER}}}": "1024x60",
        },
        6,
        {
            f"aroundtheworld_worker_open_fds{{{WORKER}}}": "800x60",
            f"aroundtheworld_worker_max_fds{{{WORKER}}}": "1024x60",
            f"aroundtheworld_worker_open_fds{{{ADMIN_WORKER}}}": "900x60",
            f"aroundtheworld_worker_max_fds{{{ADMIN_WORKER}}}": "524288x60",
        },
    ),
    "NginxDown": (
        {f"aroundtheworld_nginx_up{{{BASE}}}": "0x60"},
        2,
        {f"aroundtheworld_nginx_up{{{BASE}}}": "1x60"},
    ),
    "NginxFull": (
        {
            f"{CONNECTIONS}_accepted_total{{{BASE}}}": "500+100x60",
            f"{CONNECTIONS}_handled_total{{{BASE}}}": "400+97x60",
        },
        6,
        # It was full before, and is asked between counting and having room; then it restarts.
        {
            f"{CONNECTIONS}_accepted_total{{{BASE}}}": "500+100x30 0+100x29",
            f"{CONNECTIONS}_handled_total{{{BASE}}}": "400+100x20 2495+100x9 0+100x29",
        },
    ),
    "HttpsDown": (
        {f"aroundtheworld_https_up{{{BASE}}}": "0x60"},
        6,
        {f"aroundtheworld_https_up{{{BASE}}}": "1x60"},
    ),
    # promtool's time begins at 0: this one ends in an hour and a half, and began before.
    "CertificateLate": (
        {
            f"aroundtheworld_certificate_begin_timestamp_seconds{{{BASE}}}": "-3600x90",
            f"aroundtheworld_certificate_end_timestamp_seconds{{{BASE}}}": "5400x90",
        },
        66,  # of 150 minutes, 24 are left
        {
            f"aroundtheworld_certificate_begin_timestamp_seconds{{{BASE}}}": "-3600x90",
            f"aroundtheworld_certificate_end_timestamp_seconds{{{BASE}}}": "5400x64 10800x26",
        },
    ),
    # It was due after an hour, and then there is the next.
    "BackupLate": (
        {f"aroundtheworld_backup_due_timestamp_seconds{{{BASE}}}": "3600x90"},
        62,
        {f"aroundtheworld_backup_due_timestamp_seconds{{{BASE}}}": "3600x59 90000x31"},
    ),
    "BackupFailed": (
        {f"aroundtheworld_backup_failed{{{BASE}}}": "1x60"},
        1,
        {f"aroundtheworld_backup_failed{{{BASE}}}": "0x60"},
    ),
    "DrillLate": (
        {f"aroundtheworld_backup_drill_due_timestamp_seconds{{{BASE}}}": "3600x90"},
        62,
        {f"aroundtheworld_backup_drill_due_timestamp_seconds{{{BASE}}}": "3600x59 90000x31"},
    ),
    "DrillFailed": (
        {f"aroundtheworld_backup_drill_failed{{{BASE}}}": "1x60"},
        1,
        {f"aroundtheworld_backup_drill_failed{{{BASE}}}": "0x60"},
    ),
    "JobFailed": (
        {f"aroundtheworld_job_failed{{{NIGHTLY}}}": "1x60"},
        1,
        {f"aroundtheworld_job_failed{{{NIGHTLY}}}": "0x60"},
    ),
    "JobOff": (
        {f"aroundtheworld_job_scheduled{{{NIGHTLY}}}": "0x60"},
        16,
        {f"aroundtheworld_job_scheduled{{{NIGHTLY}}}": "0x10 1x50"},
    ),
    "JobRunsLong": (
        {
            f"aroundtheworld_job_running{{{NIGHTLY}}}": "1x60",
            f"aroundtheworld_job_last_start_timestamp_seconds{{{NIGHTLY}}}": "-86000x60",
        },
        10,
        {
            f"aroundtheworld_job_running{{{NIGHTLY}}}": "0x60",
            f"aroundtheworld_job_last_start_timestamp_seconds{{{NIGHTLY}}}": "-86000x60",
        },
    ),
    "DeployFailed": (
        {f'aroundtheworld_deploy_last_info{{{BASE},outcome="reverted"}}': "1x60"},
        1,
        {f'aroundtheworld_deploy_last_info{{{BASE},outcome="done"}}': "1x60"},
    ),
    "ReleasesDiffer": (info("a", "b"), 16, info("a", "a")),
    "Closed": (
        {f"aroundtheworld_maintenance_since_timestamp_seconds{{{BASE}}}": "-86400x90"},
        1,
        {
            f"aroundtheworld_maintenance_since_timestamp_seconds{{{BASE}}}": "-86400x90",
            f"aroundtheworld_maintenance_until_timestamp_seconds{{{BASE}}}": "90000x90",
        },
    ),
    "ClosedPastItsEnd": (
        {f"aroundtheworld_maintenance_until_timestamp_seconds{{{BASE}}}": "60x10"},
        4,
        {f"aroundtheworld_maintenance_until_timestamp_seconds{{{BASE}}}": "60x2 stale"},
    ),
}


@pytest.fixture(scope="module")
def promtool():
    found = shutil.which("promtool")
    assert found, "promtool is missing: `make unit` installs Debian's package prometheus"

    def run(*arguments):
        done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_prometheus_takes_the_rules(promtool):
    code, output = promtool("check", "rules", str(ALERTS))
    assert (code, f"{len(RULES)} rules found" in output) == (0, True), output


def test_every_alert_has_its_cases():
    assert {f"AroundTheWorld{name}" for name in CASES} == set(RULES)


def firing(promtool, directory, name, series, *minutes):
    """Tell whether the alert fires at any of the minutes; promtool compares it with no alert."""
    alert = {"alertname": f"AroundTheWorld{name}", "exp_alerts": []}
    alerts = [{"eval_time": f"{minute}m", **alert} for minute in minutes]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": inputs, "alert_rule_test": alerts}
    file = Path(directory) / "test.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": [test]}))
    code, output = promtool("test", "rules", str(file))
    assert code == 0 or "exp:[" in output.replace(" ", ""), output
    return code != 0


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name, promtool, tmp_path):
    sick, minute, well = CASES[name]
    assert firing(promtool, tmp_path, name, sick, minute)
    assert not firing(promtool, tmp_path, name, well, *range(91))


@pytest.mark.parametrize(
    "name", [name for name in CASES if "for" in RULES[f"AroundTheWorld{name}"]]
)
def test_an_alert_that_waits_does_not_fire_at_once(name, promtool, tmp_path):
    assert not firing(promtool, tmp_path, name, CASES[name][0], 0)
