"""Bad input, and steps before the rollout that never end: no worker is touched, with what to do."""

import re
import subprocess
import tarfile

import pytest

NO_DIRECTORY = "-earoundtheworld_app_dir="


def archive_with_another_checksum(directory, work):
    with tarfile.open(work / "app.tar", "w") as archive:
        archive.add(directory, ".")
    checksum = "0" * 64
    return [NO_DIRECTORY, option("archive", path=work / "app.tar", sha256=checksum)]


def unsigned_tag(directory, work):
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["commit", "--quiet", "--message=An app"],
        ["tag", "v1"],
    ):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", *identity, *command], cwd=directory, check=True)
    return [NO_DIRECTORY, option("git", repository=directory, revision="v1", signed="true")]


def altered_hash(directory, work):
    lock = directory / "requirements.txt"
    others = str.maketrans("0123", "1230")
    text = re.sub(r"(?<=sha256:)\S+", lambda found: found[0].translate(others), lock.read_text())
    lock.write_text(text)
    return [f"-earoundtheworld_app_dir={directory}"]


def missing_hook(directory, work):
    hooks = f'{{"aroundtheworld_hooks": {{"before_workers": "{work}/none.yml"}}}}'
    return [f"-earoundtheworld_app_dir={directory}", f"-e{hooks}"]


def option(source, **values):
    pairs = ", ".join(f'"{key}": "{value}"' for key, value in values.items())
    return f'-e{{"aroundtheworld_app_{source}": {{{pairs}}}}}'


SENTENCES = {
    archive_with_another_checksum: "aroundtheworld_app_archive.sha256: 00000000",
    unsigned_tag: "aroundtheworld_app_git.revision: the tag 'v1' has no signature that git accepts",
    altered_hash: "but no hash of that is in the lockfile",
    missing_hook: "none.yml' is not a file on the controller",
}


@pytest.mark.parametrize("mistake", SENTENCES, ids=lambda mistake: mistake.__name__)
def test_bad_input_touches_no_worker(mistake, app, ansible_playbook, site, tmp_path):
    directory = tmp_path / "app-0"
    assert app().endswith(str(directory))
    before, current = site.workers, site.current
    run = ansible_playbook(*mistake(directory, tmp_path))
    assert (run.returncode, run.changed) == (2, 0)
    assert SENTENCES[mistake] in " ".join(run.output.split())
    assert {port: worker["pid"] for port, worker in site.workers.items()} == {
        port: worker["pid"] for port, worker in before.items()
    }
    site.runs(current)


SLEEPS = {
    "import": {"EDITION = ": "time.sleep(100)\nEDITION = "},
    "migrate": {
        'if __name__ == "__main__":\n': (
            'if __name__ == "__main__":\n    "--check" in sys.argv or time.sleep(100)\n'
        )
    },
}


@pytest.mark.parametrize("step", SLEEPS)
def test_a_step_that_takes_too_long_is_ended_and_the_site_goes_on(
    step, app, ansible_playbook, site, host
):
    before, current = site.workers, site.current
    variable = f"aroundtheworld_{step}_timeout"
    run = ansible_playbook(app(SLEEPS[step]), f"-e{variable}=7")
    assert run.returncode == 2
    assert f"It took longer than {variable} allows, 7 s." in run.output
    assert "no worker was restarted" in run.output
    change = site.last_change
    assert change["outcome"] == "reverted"
    assert 7 <= sum(phase["seconds"] for phase in change["phases"]) < 60
    units = "aroundtheworld-prepare aroundtheworld-migrate"
    states = host.check_output(f"systemctl show --property=ActiveState --value {units}").split()
    assert states == ["inactive", "inactive"]
    assert {port: worker["pid"] for port, worker in site.workers.items()} == {
        port: worker["pid"] for port, worker in before.items()
    }
    site.runs(current)
