"""What happens to a site of a host does not touch the other sites."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from testinfra.host import Host

APPS = Path(__file__).resolve().parents[1]

Processes = Callable[[], dict[str, str]]


@pytest.fixture
def new_release(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that copies a site's app, as a release that is not there yet."""

    def make(site: str) -> str:
        app = tmp_path / site
        shutil.copytree(APPS / site, app)
        (app / "edition.txt").write_text(secrets.token_hex())
        return f"-earoundtheworld_app_dir={app}"

    return make


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the sites with workers that were started or stopped."""
    return {unit.partition("@")[0] for unit, pid in {*before.items()} ^ {*after.items()}}


def test_the_runner_replaces_bokeh_and_loses_no_request(
    urls: dict[str, str],
    play: Callable[..., Any],
    new_release: Any,
    processes: Processes,
    visited: Callable[..., Any],
) -> None:
    before = processes()
    with visited(urls["bokeh"], "/", rate=10) as outcomes:
        assert play("bokeh", new_release("bokeh")).returncode == 0
    assert outcomes.keys() == {"200"}
    assert changed(before, processes()) == {"bokeh"}


def test_luigid_is_stopped_and_started_and_knows_its_tasks_again(
    urls: dict[str, str], play: Callable[..., Any], new_release: Any, processes: Processes
) -> None:
    before = processes()
    with httpx.Client(base_url=urls["luigi"], timeout=20) as client:
        task = {"worker": "w", "task_id": "Pour_1", "family": "Pour", "status": "PENDING"}
        client.post("/api/add_task", data={"data": json.dumps(task)}).raise_for_status()
        assert play("luigi", new_release("luigi")).returncode == 0
        listed = client.get("/api/task_list", params={"data": json.dumps({"status": "PENDING"})})
    assert "Pour_1" in listed.json()["response"]
    assert changed(before, processes()) == {"luigi"}


@pytest.fixture
def jupyter_afterwards(urls: dict[str, str], play: Callable[..., Any]) -> Iterator[None]:
    """Have Jupyter on the host again, whatever the test removes."""
    yield
    assert play("jupyter").returncode == 0
    assert httpx.get(urls["jupyter"], timeout=20).status_code < 400


@pytest.mark.usefixtures("jupyter_afterwards")
def test_a_site_is_removed_and_its_data_only_when_asked(
    host: Host, urls: dict[str, str], play: Callable[..., Any], processes: Processes
) -> None:
    home = "/var/lib/tornado/jupyter"
    host.check_output(f"setpriv --reuid=jupyter --clear-groups touch {home}/shared/kept.ipynb")

    def left() -> set[str]:
        places = (
            f"{home} /etc/jupyter /run/jupyter $(find /etc/systemd /etc/nginx -name '*jupyter*')"
        )
        return set(host.run(f"ls --directory --almost-all {places} {home}/*").stdout.split())

    before = processes()
    dry = play("jupyter", "--tags", "remove", "--check")
    assert dry.returncode == 0
    assert dry.changed > 0
    assert processes() == before
    assert play("jupyter", "--tags", "remove").returncode == 0
    assert changed(before, processes()) == {"jupyter"}
    with pytest.raises(httpx.HTTPError):
        httpx.get(urls["jupyter"], timeout=5)
    assert httpx.get(urls["bokeh"], timeout=20).status_code == 200
    assert host.file(f"{home}/shared/kept.ipynb").exists
    assert left() == {"/etc/jupyter", home, f"{home}/shared", f"{home}/deploys.jsonl"}

    assert play("jupyter", "--tags", "remove", "-earoundtheworld_remove_data=true").changed > 0
    assert left() == set()
    assert not host.user("jupyter").exists
    assert play("jupyter", "--tags", "remove", "-earoundtheworld_remove_data=true").changed == 0
