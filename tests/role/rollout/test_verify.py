"""systemd reads the units before they are used, and what it says about a line counts."""

import os
import shutil
import subprocess

import pytest

from tests.role.rollout.fake_host import FIRST, SECOND

ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(
    ANALYZE is None and "CI" not in os.environ, reason="this machine has no systemd-analyze"
)


@pytest.fixture
def analyzed(host):
    """Has the real systemd read the units that the module is about to write."""

    def verify(directory, names):
        done = subprocess.run(
            [ANALYZE, "verify", "--man=no", "--recursive-errors=no",
             *(str(directory / name) for name in names)],
            env={"SYSTEMD_UNIT_PATH": f"{directory}:", "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        host.verified.append(sorted(names))
        return done.stderr

    host.verify, host.verified = verify, []
    return host


def with_directive(*lines):
    """Return what adds lines to the drop-ins of the pool admin."""
    mark = "Environment=AROUNDTHEWORLD_POOL=admin\n"
    return lambda text: text.replace(mark, mark + "".join(f"{line}\n" for line in lines))


def test_units_that_systemd_understands_are_written(analyzed, run):
    assert run(change=with_directive("LimitNOFILE=65536"))["changed"]
    (names,) = analyzed.verified
    assert {"aroundtheworld@10001.service", "aroundtheworld@10004.socket",
            "aroundtheworld-admin.slice", "aroundtheworld-handover@10004.service",
            "aroundtheworld-prepare.service"} <= set(names)  # fmt: skip


@pytest.mark.parametrize("check", [False, True])
def test_a_directive_that_systemd_does_not_understand_changes_nothing(analyzed, run, check):
    run()
    before = analyzed.snapshot()
    bad = with_directive("LimitNOFILES=65536", "CPUQuota=fast")
    with pytest.raises(run.failed) as failure:
        run(SECOND, ports=((10001, 10002, 10003), (10004, 10005)), change=bad, check=check)
    first, second = str(failure.value).splitlines()[1:]
    assert first.startswith(
        "  - aroundtheworld_pools: the unit of pool 'admin' has 'LimitNOFILES=65536'; systemd: "
    )
    assert "Unknown key" in first
    assert "has 'CPUQuota=fast'; systemd: Invalid CPU quota" in second
    assert str(failure.value).startswith("Nothing was changed, because of this:")
    assert analyzed.snapshot() == before
    assert set(analyzed.releases().values()) == {FIRST}


def test_a_line_of_the_roles_own_is_named_with_its_file(analyzed, run):
    with pytest.raises(run.failed) as failure:
        run(change=lambda text: text.replace("Restart=always", "Restarts=always"))
    assert "  - aroundtheworld@.service has 'Restarts=always'; systemd: Unknown" in str(
        failure.value
    )
    assert not analyzed.running


def test_a_run_that_writes_no_unit_does_not_have_them_read(analyzed, run):
    run()
    run()
    assert len(analyzed.verified) == 1


def test_a_program_that_is_not_there_yet_is_no_problem_of_a_unit(host, run):
    host.verify = lambda directory, names: "shop@1.service: Command /x is not executable: No such"
    assert run()["changed"]


def test_a_line_that_other_units_have_too_is_named_once_with_its_pool(analyzed, run):
    def change(text):
        text = text.replace("Type=oneshot\n", "Type=oneshot\nCPUQuota=fast\n")
        return with_directive("CPUQuota=fast")(text)

    with pytest.raises(run.failed) as failure:
        run(change=change)
    (problem,) = str(failure.value).splitlines()[1:]
    assert "the unit of pool 'admin' has 'CPUQuota=fast'" in problem
