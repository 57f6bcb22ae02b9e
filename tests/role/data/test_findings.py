"""What the app finds wrong with its data is told, and fails nothing."""

import pytest
from ansible.module_utils.aroundtheworld.data import findings as module
from ansible.module_utils.aroundtheworld.data.settings import Settings

CHECK = "The app's check of its data (aroundtheworld_data_check_command)"
PRINTED = "this is what it printed:"


@pytest.fixture
def settings(tmp_path):
    settings = Settings(
        site="shop",
        home=str(tmp_path),
        user="tornado",
        repository="/srv/backups",
        at="",
        keep={},
        databases=[],
        process=["WorkingDirectory=${release}/app"],
    )
    settings.layout.release("r1").mkdir(parents=True)
    settings.layout.current.symlink_to("releases/r1")
    return settings


@pytest.fixture
def find(settings):
    """Returns what is found, and what systemd-run was given, when the command ends in some way."""

    def find(status=0, out="", error="", command=("check", "all")):
        given = []

        def run(words):
            given.append(words)
            return status, out, error

        return list(module.findings(run, settings, command)), given

    return find


def test_the_current_release_is_asked_as_a_worker_of_the_site(find, settings):
    _, [words] = find()
    assert words[words.index("--") + 1 :] == ["/usr/bin/env", "check", "all"]
    assert f"--property=WorkingDirectory={settings.home}/releases/r1/app" in words
    assert f"--property=RuntimeMaxSec={module.SECONDS}" in words
    assert any(word.startswith("--unit=shop-run-data-check-") for word in words)


@pytest.mark.parametrize(
    ("ended", "found"),
    [
        ((0, "all is well\n"), []),
        (
            (1, "photo 1\n\nphoto 2\n"),
            [f"{CHECK} ended with status 1; {PRINTED}", "photo 1", "photo 2"],
        ),
        (
            (1, "photo \x1b[31m1\n", "no database\n"),
            [f"{CHECK} ended with status 1; {PRINTED}", "photo ?[31m1", "no database"],
        ),
        ((203, ""), [f"{CHECK} ended with status 203; it printed nothing."]),
    ],
)  # fmt: skip
def test_it_tells_what_was_printed_when_the_status_is_not_0(find, ended, found):
    assert find(*ended)[0] == found


def test_of_very_many_the_last_are_told_and_how_to_have_all(find):
    found, _ = find(1, "".join(f"{number}\n" for number in range(500)))
    assert found[1:-1] == [str(number) for number in range(500 - module.SHOWN, 500)]
    assert found[-1] == "There may be more; `shop-run` on the host runs it again."


def test_one_that_does_not_end_is_told(find, monkeypatch):
    clock = iter([0.0, module.SECONDS + 1.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    found, _ = find(1, "photo 1\n")
    assert found == [f"{CHECK} was ended after 600 s; {PRINTED}", "photo 1"]


def test_without_a_command_or_a_release_nothing_is_asked(find, settings):
    assert find(command=()) == ([], [])
    settings.layout.current.unlink()
    assert find(1, "x") == ([], [])
