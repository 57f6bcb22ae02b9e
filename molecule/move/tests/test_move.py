"""A site moves to another host by the commands of docs/data.md, while visitors read and write."""

import re
import shlex
import time
from types import SimpleNamespace

import httpx
import pytest
import testinfra

from tests.role_files import CHECKOUT
from tests.visitors import READS, SERVED, WRITE, rows_on, visiting

HOSTS = ("www2",)  # the site comes from www1
OLD, NEW = "www1", "www2"
RATE = 20  # requests a second
SHARED = "/var/lib/tornado/aroundtheworld/shared"
CLOSED = {(path, "503") for path in (*READS, WRITE.path)}


@pytest.fixture(scope="module")
def commands():
    """The commands of the recipe, as a reader copies them."""
    section = (CHECKOUT / "docs/data.md").read_text().partition("\n## Move to another host\n")[2]
    (block,) = re.findall(r"```console\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    found = [line.removeprefix("$ ") for line in block.splitlines()]
    assert len(found) == 5
    return found


@pytest.fixture(scope="module")
def old(host):
    return testinfra.get_host(f"ssh://{OLD}", ssh_config=host.backend.ssh_config)


@pytest.fixture(scope="module")
def urls(published):
    """Where the site is from here, on each host."""
    return {name: published(80, name) for name in (OLD, NEW)}


@pytest.fixture(scope="module")
def moved(commands, urls, ansible_playbook, old):
    """Play the recipe, and note what visitors saw."""

    def play(command, **values):
        for name, value in values.items():
            assert f"<{name}>" in command
            command = command.replace(f"<{name}>", value)
        words = shlex.split(command, comments=True)
        at = words.index("--limit")
        limit = words[at + 1]
        assert words[:2] == ["ansible-playbook", "site.yml"]
        begun = time.monotonic()
        run = ansible_playbook(*words[2:at], *words[at + 2 :], limit=limit)
        assert run.returncode == 0, run.output
        return SimpleNamespace(begun=begun, ended=time.monotonic(), output=run.output)

    deploy, close, back_up, restore, remove = commands
    old.check_output(f"echo old | install -o tornado -m 0640 /dev/stdin {SHARED}/photo")
    with httpx.Client(base_url=urls[OLD], timeout=60) as player:
        account = {"name": "ada", "password": "correct horse battery"}
        assert player.post("/api/players", json=account).status_code == 201
        cookies = player.cookies
    with visiting(urls[OLD], RATE) as visits:
        play(deploy)
        closed = play(close)
        backup = re.search(r"\b[0-9a-f]{8}\b", play(back_up).output)
        restored = play(restore, id=backup[0])
    with visiting(urls[NEW], RATE) as new_visits:
        play(remove)
    print(f"closed for {restored.ended - closed.ended:.1f} s")
    return SimpleNamespace(visits=visits, closed=closed, new_visits=new_visits, cookies=cookies)


def test_the_old_host_serves_until_it_is_closed_and_then_says_so(moved):
    visits, closed = moved.visits, moved.closed
    assert visits.outcomes(ended=closed.begun) == SERVED
    assert visits.outcomes(closed.begun, closed.ended) <= SERVED | CLOSED
    assert visits.outcomes(closed.ended) == CLOSED


def test_every_row_is_on_the_new_host(moved, host):
    written = moved.visits.written()
    assert len(written) > 20
    assert written <= rows_on(host)


def test_files_and_sessions_are_there_and_belong_to_the_site(moved, host, urls):
    photo = host.file(f"{SHARED}/photo")
    assert (photo.content_string, photo.user, photo.mode) == ("old\n", "tornado", 0o640)
    with httpx.Client(base_url=urls[NEW], timeout=60, cookies=moved.cookies) as player:
        assert player.get("/api/session").json()["name"] == "ada"


def test_the_new_host_serves_from_then_on(moved, ansible_playbook):
    assert moved.new_visits.outcomes() == SERVED
    assert len(moved.new_visits.written()) > 5
    assert ansible_playbook("--tags", "status").returncode == 0
    run = ansible_playbook()
    assert (run.returncode, run.changed) == (0, 0)


def test_the_old_host_keeps_its_data_and_serves_nothing(moved, old):
    assert old.file(f"{SHARED}/photo").exists
    assert old.run("systemctl list-units --no-legend 'aroundtheworld*'").stdout == ""
