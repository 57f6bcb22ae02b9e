"""The apps of the scenario: what their users do with each, and what visitors ask it for.

Whoever adds an app adds a line to `APPS` at the end, with a function for each use above it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import PIL.Image
from playwright.sync_api import WebSocket, expect, sync_playwright
from testinfra.host import Host
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.waiting import until

HERE = Path(__file__).resolve().parent
SECONDS = 60


@dataclass(frozen=True)
class Site:
    """An app where it is deployed."""

    name: str
    url: str
    """As seen from here, without a slash at the end."""
    host: Host

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that waits long enough."""
        return httpx.Client(base_url=self.url, timeout=SECONDS, **options)

    def secret(self, name: str) -> str:
        """Return what the site has in one of its secrets."""
        return str(self.host.check_output(f"cat /etc/{self.name}/secrets/{name}"))

    async def websocket(self, path: str, headers: Mapping[str, str], *protocols: str) -> Any:
        """Open a WebSocket, as a page of the site does."""
        request = HTTPRequest(
            self.url.replace("http", "ws") + path, headers={"Origin": self.url, **headers}
        )
        return await websocket_connect(request, subprotocols=list(protocols))


async def message(socket: WebSocketClientConnection) -> str:
    """Return the next message; fails when none comes."""
    text = await asyncio.wait_for(socket.read_message(), SECONDS)
    assert isinstance(text, str), "the WebSocket was closed"
    return text


async def hang_up(socket: WebSocketClientConnection) -> None:
    """Close the WebSocket, and wait until the other side has, too."""
    socket.close()
    while await asyncio.wait_for(socket.read_message(), SECONDS) is not None:
        pass


# --- Bokeh ----------------------------------------------------------------------------------------


def bokeh_draws_another_wave_when_the_slider_moves(site: Site) -> None:
    """A visitor's page gets other points over its WebSocket."""
    token = re.search(r'"token":"([^"]+)"', httpx.get(site.url, timeout=SECONDS).text)
    assert token

    async def visit() -> dict[str, Any]:
        socket = await site.websocket("/ws", {}, "bokeh", token[1])

        async def receive() -> tuple[str, dict[str, Any]]:
            header, _, content = [json.loads(await message(socket)) for _ in range(3)]
            return header["msgtype"], content

        async def send(kind: str, content: dict[str, Any]) -> None:
            for part in ({"msgid": kind, "msgtype": kind}, {}, content):
                await socket.write_message(json.dumps(part))

        assert (await receive())[0] == "ACK"
        await send("PULL-DOC-REQ", {})
        kind, content = await receive()
        assert kind == "PULL-DOC-REPLY"
        slider = re.search(r'"name": ?"Slider", ?"id": ?"(\w+)"', json.dumps(content))
        assert slider
        moved = {"kind": "ModelChanged", "model": {"id": slider[1]}, "attr": "value", "new": 5}
        await send("PATCH-DOC", {"events": [moved]})
        kind, content = await receive()
        if kind == "OK":
            kind, content = await receive()
        assert kind == "PATCH-DOC"
        await hang_up(socket)
        (event,) = content["events"]
        return dict(event)

    assert asyncio.run(visit())["attr"] == "data"


# --- Luigi ----------------------------------------------------------------------------------------


def _add_task(client: httpx.Client, name: str) -> None:
    task = {"worker": "w", "task_id": f"{name}_1", "family": name, "status": "PENDING"}
    client.post("/api/add_task", data={"data": json.dumps(task)}).raise_for_status()


def _knows_task(client: httpx.Client, name: str) -> bool:
    listed = client.get("/api/task_list", params={"data": json.dumps({"status": "PENDING"})})
    return f"{name}_1" in listed.json()["response"]


def luigi_takes_tasks_and_shows_them(site: Site) -> None:
    """The scheduler has a page, and tasks."""
    with site.client(follow_redirects=True) as client:
        assert "Luigi Task Visualiser" in client.get("/").text
        _add_task(client, "Brew")
        assert _knows_task(client, "Brew")


@contextlib.contextmanager
def luigi_knows_its_tasks_again(site: Site) -> Iterator[None]:
    """What the scheduler knew before it was stopped, it knows when it has started."""
    with site.client() as client:
        _add_task(client, "Pour")
        yield
        assert _knows_task(client, "Pour")


# --- Jupyter --------------------------------------------------------------------------------------


def _jupyter(site: Site) -> httpx.Client:
    """Return a client that Jupyter lets in."""
    return site.client(headers={"Authorization": f"token {site.secret('jupyter_token')}"})


def jupyter_keeps_notebooks_for_who_has_the_token(site: Site) -> None:
    """Others are refused."""
    assert httpx.get(f"{site.url}/api/contents", timeout=SECONDS).status_code == 403
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    body = {"type": "notebook", "content": notebook}
    with _jupyter(site) as client:
        client.put("/api/contents/kept.ipynb", json=body).raise_for_status()
        assert client.get("/api/contents/kept.ipynb").json()["content"]["nbformat"] == 4


def jupyters_kernel_computes(site: Site) -> None:
    """A notebook's cell has its result."""
    # By Jupyter's protocol; what may be empty is.
    request = {
        "channel": "shell",
        "header": {
            **{"msg_id": "1", "msg_type": "execute_request", "version": "5.3"},
            **{"session": "s", "username": "", "date": ""},
        },
        "content": {"code": "1 + 1", "silent": False, "user_expressions": {}},
        **{"parent_header": {}, "metadata": {}, "buffers": []},
    }

    async def compute(path: str, headers: Mapping[str, str]) -> str:
        socket = await site.websocket(f"{path}/channels", headers)
        await socket.write_message(json.dumps(request))
        while (received := json.loads(await message(socket)))["msg_type"] != "execute_result":
            pass
        await hang_up(socket)
        return str(received["content"]["data"]["text/plain"])

    with _jupyter(site) as client:
        response = client.post("/api/kernels", json={"name": "python3"})
        response.raise_for_status()
        path = f"/api/kernels/{response.json()['id']}"
        token = {"Authorization": client.headers["Authorization"]}
        assert asyncio.run(compute(path, token)) == "2"
        client.delete(path).raise_for_status()


def jupyters_terminal_is_a_websocket(site: Site) -> None:
    """A shell answers, as the site's user."""

    async def work(name: str, headers: Mapping[str, str]) -> None:
        socket = await site.websocket(f"/terminals/websocket/{name}", headers)
        await socket.write_message(json.dumps(["stdin", "echo $((6 * 7)); id -un\r"]))
        screen = ""
        while not re.search(r"\b42\s+jupyter\b", screen):
            kind, *rest = json.loads(await message(socket))
            screen += rest[0] if kind == "stdout" else ""
        await hang_up(socket)

    with _jupyter(site) as client:
        response = client.post("/api/terminals")
        response.raise_for_status()
        token = {"Authorization": client.headers["Authorization"]}
        asyncio.run(work(response.json()["name"], token))
        client.delete(f"/api/terminals/{response.json()['name']}").raise_for_status()


# --- Streamlit ------------------------------------------------------------------------------------


def _has_progress(frame: str | bytes) -> bool:
    return b"% complete" in (frame if isinstance(frame, bytes) else frame.encode())


def streamlit_answers_a_click_over_its_websocket(site: Site) -> None:
    """A visitor has the plot drawn once more, in a real browser."""
    path = shutil.which("chromium")
    assert path, "Chromium is missing: scripts/bootstrap browser installs it"
    sockets: list[WebSocket] = []
    patience = SECONDS * 1000
    with sync_playwright() as playwright:
        # As root, as which CI runs, Chromium's sandbox does not work.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("websocket", lambda socket: sockets.append(socket))
        page.goto(f"{site.url}/plotting_demo", timeout=patience)
        button = page.get_by_role("button", name="Rerun")
        expect(button).to_be_visible(timeout=patience)
        (socket,) = sockets
        # The script draws from its top again, and says how far it is; the button came last.
        with socket.expect_event("framereceived", _has_progress, timeout=patience):
            button.click()
        assert not socket.is_closed()
        browser.close()


# --- thumbor --------------------------------------------------------------------------------------

PICTURE = "127.0.0.1:8005/pictures/stripes.png"  # as the host itself sees the site


def _signed(site: Site, path: str) -> str:
    """Return the path of a picture with its signature, as thumbor's documentation says."""
    digest = hmac.digest(site.secret("thumbor_key").encode(), path.encode(), hashlib.sha1)
    return f"/{base64.urlsafe_b64encode(digest).decode()}/{path}"


def thumbor_makes_pictures_smaller_for_who_has_the_key(site: Site) -> None:
    """A picture's URL is in the path, with its slashes or encoded."""
    with site.client() as client:
        for source in (f"http://{PICTURE}", f"http:%2F%2F{PICTURE.replace('/', '%2F')}"):
            response = client.get(_signed(site, f"120x90/{source}"))
            assert response.status_code == 200, (source, response.text)
            assert PIL.Image.open(io.BytesIO(response.content)).size == (120, 90)
        assert client.get(f"/unsafe/120x90/http://{PICTURE}").status_code == 400


# --- Flower ---------------------------------------------------------------------------------------

PASSWORD = "an example, not a password"
ADA = {"Authorization": f"Basic {base64.b64encode(f'ada:{PASSWORD}'.encode()).decode()}"}


def flower_shows_a_worker_and_the_task_that_it_has_done(site: Site) -> None:
    """The site's own queue worker does a task that is given in Flower."""
    assert httpx.get(site.url, timeout=SECONDS).status_code == 401
    with site.client(headers=ADA) as client:

        def shown(path: str) -> Any:
            response = client.get(path)
            return response.json() if response.status_code == 200 else {}

        # Each of two Flowers learns of it by itself.
        until(lambda: shown("/api/workers?refresh=true"), seconds=SECONDS)
        sent = client.post(
            "/api/task/send-task/celery.accumulate", json={"args": [6 * 7], "kwargs": {}}
        )
        sent.raise_for_status()
        done = f"/api/task/info/{sent.json()['task-id']}"
        until(lambda: shown(done).get("state") == "SUCCESS", seconds=SECONDS)
        assert "42" in shown(done)["result"]
        assert "celery@" in client.get("/workers").text


# --- Socket.IO ------------------------------------------------------------------------------------

# How a visitor comes, and is connected in the end.
TRANSPORTS = {"polling": "polling", "websocket": "websocket", "polling websocket": "websocket"}


@contextlib.contextmanager
def _visitors(site: Site, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """Have somebody of each kind talk for so long, or until what came of it is asked for."""
    # What they come with is no tool of the tests: it has an environment of its own.
    lock = str(HERE / "socketio" / "requirements.txt")
    command = ["uv", "run", "--quiet", "--isolated", "--no-project", "--with-requirements", lock]
    command += ["python", str(HERE / "socketio" / "client.py"), site.url, str(seconds)]
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                subprocess.Popen(
                    [*command, *transports.split()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for transports in TRANSPORTS
        ]


def socketio_keeps_a_session_with_its_worker(site: Site) -> None:
    """Whichever way a visitor comes, all that they said is in one session."""
    with _visitors(site, 5) as visitors:
        outcomes = [json.loads(cast(Any, visitor.stdout).read()) for visitor in visitors]
    assert [outcome["sessions"] for outcome in outcomes] == [1] * len(TRANSPORTS)
    assert [outcome["transport"] for outcome in outcomes] == list(TRANSPORTS.values())
    assert all(outcome["remembered"] == outcome["answers"] > 3 for outcome in outcomes), outcomes


@contextlib.contextmanager
def socketio_ends_a_session_at_most_once(site: Site) -> Iterator[None]:
    """Each visitor who talks meanwhile begins at most one session more."""
    with _visitors(site, 10 * SECONDS) as visitors:
        yield
        outcomes = [json.loads(visitor.communicate()[0]) for visitor in visitors]
    assert all(outcome["sessions"] in {1, 2} for outcome in outcomes), outcomes


# --- a repository of Python packages, by FastAPI --------------------------------------------------


def pip_downloads_from_the_repository(site: Site) -> None:
    """A wheel that somebody put there is what pip gets."""
    name = f"made_{secrets.token_hex(4)}"
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        about = f"{name}-1.0.dist-info"
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    shared = f"/var/lib/tornado/{site.name}/shared/{name.replace('_', '-')}"
    content = base64.b64encode(wheel.getvalue()).decode()
    file = f"{name}-1.0-py3-none-any.whl"
    site.host.check_output(
        f"setpriv --reuid={site.name} --clear-groups sh -c "
        f"'mkdir {shared} && echo {content} | base64 --decode >{shared}/{file}'"
    )
    # Whatever is set for pip on this machine, it would add to the repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"),
                *(directory, "--index-url", f"{site.url}/simple/", name),
            ],
            env={**environment, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"},
            check=True,
        )
        assert (Path(directory) / file).read_bytes() == wheel.getvalue()
    site.host.check_output(f"rm -r {shared}")


# --------------------------------------------------------------------------------------------------


def _anybody(*paths: str) -> Callable[[Site], Sequence[str]]:
    """Return a function that returns the same paths for every site."""
    return lambda _site: paths


@dataclass(frozen=True)
class App:
    """What an app is tried with."""

    uses: Sequence[Callable[[Site], None]]
    """What its users do; each fails when that does not work."""
    asked: Callable[[Site], Sequence[str]]
    """Returns the paths that visitors ask for in turn while it is exchanged."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What these visitors send."""
    meanwhile: Callable[[Site], AbstractContextManager[Any]] = nullcontext
    """What else has to hold for an exchange, around which it is."""


APPS = {
    "bokeh": App(
        uses=[bokeh_draws_another_wave_when_the_slider_moves],
        # Each page has a document in its worker, and several a second are many.
        asked=_anybody("/", *["/metadata"] * 9),
    ),
    "luigi": App(
        uses=[luigi_takes_tasks_and_shows_them],
        asked=_anybody("/api/task_list"),
        meanwhile=luigi_knows_its_tasks_again,
    ),
    "jupyter": App(
        uses=[
            jupyter_keeps_notebooks_for_who_has_the_token,
            jupyters_kernel_computes,
            jupyters_terminal_is_a_websocket,
        ],
        asked=_anybody("/api"),
    ),
    "streamlit": App(
        uses=[streamlit_answers_a_click_over_its_websocket],
        asked=_anybody("/", "/_stcore/health"),
    ),
    "thumbor": App(
        uses=[thumbor_makes_pictures_smaller_for_who_has_the_key],
        asked=lambda site: ("/healthcheck", _signed(site, f"120x90/http://{PICTURE}")),
    ),
    "flower": App(
        uses=[flower_shows_a_worker_and_the_task_that_it_has_done],
        asked=_anybody("/api/workers", "/healthcheck"),
        headers=ADA,
    ),
    "socketio": App(
        uses=[socketio_keeps_a_session_with_its_worker],
        asked=_anybody("/"),
        meanwhile=socketio_ends_a_session_at_most_once,
    ),
    "repository": App(
        uses=[pip_downloads_from_the_repository],
        asked=_anybody("/simple/"),
    ),
}
