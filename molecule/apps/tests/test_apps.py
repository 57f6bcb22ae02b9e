"""Apps from PyPI do what they are for, behind nginx, three sites on a host."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from testinfra.host import Host
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

SECONDS = 60


@pytest.fixture(scope="module")
def jupyter(host: Host, urls: dict[str, str]) -> Iterator[httpx.Client]:
    """Return a client that Jupyter lets in."""
    token = host.check_output("cat /etc/jupyter/secrets/jupyter_token")
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(base_url=urls["jupyter"], headers=headers, timeout=SECONDS) as client:
        yield client


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


def test_bokeh_draws_another_wave_when_a_visitor_moves_the_slider(urls: dict[str, str]) -> None:
    page = httpx.get(urls["bokeh"], timeout=SECONDS).text
    token = re.search(r'"token":"([^"]+)"', page)
    assert token

    async def visit() -> dict[str, Any]:
        request = HTTPRequest(
            urls["bokeh"].replace("http", "ws") + "/ws", headers={"Origin": urls["bokeh"]}
        )
        socket = await websocket_connect(request, subprotocols=["bokeh", token[1]])

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

    event = asyncio.run(visit())
    assert event["attr"] == "data"


def test_luigis_scheduler_takes_tasks_and_shows_them(urls: dict[str, str]) -> None:
    with httpx.Client(base_url=urls["luigi"], timeout=SECONDS, follow_redirects=True) as client:
        assert "Luigi Task Visualiser" in client.get("/").text
        task = {"worker": "w", "task_id": "Brew_1", "family": "Brew", "status": "PENDING"}
        client.post("/api/add_task", data={"data": json.dumps(task)}).raise_for_status()
        listed = client.get("/api/task_list", params={"data": json.dumps({"status": "PENDING"})})
        assert "Brew_1" in listed.json()["response"]


def test_jupyter_keeps_notebooks_for_who_has_the_token(
    urls: dict[str, str], jupyter: httpx.Client
) -> None:
    assert httpx.get(f"{urls['jupyter']}/api/contents", timeout=SECONDS).status_code == 403
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    body = {"type": "notebook", "content": notebook}
    jupyter.put("/api/contents/kept.ipynb", json=body).raise_for_status()
    assert jupyter.get("/api/contents/kept.ipynb").json()["content"]["nbformat"] == 4


def test_a_notebooks_kernel_computes(urls: dict[str, str], jupyter: httpx.Client) -> None:
    response = jupyter.post("/api/kernels", json={"name": "python3"})
    response.raise_for_status()
    path = f"/api/kernels/{response.json()['id']}/channels"
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

    async def compute() -> str:
        socket = await websocket_connect(
            HTTPRequest(
                urls["jupyter"].replace("http", "ws") + path,
                headers={
                    "Authorization": jupyter.headers["Authorization"],
                    "Origin": urls["jupyter"],
                },
            )
        )
        await socket.write_message(json.dumps(request))
        while (received := json.loads(await message(socket)))["msg_type"] != "execute_result":
            pass
        await hang_up(socket)
        return str(received["content"]["data"]["text/plain"])

    assert asyncio.run(compute()) == "2"
    jupyter.delete(path.removesuffix("/channels")).raise_for_status()


def test_jupyters_terminal_is_a_websocket(urls: dict[str, str], jupyter: httpx.Client) -> None:
    response = jupyter.post("/api/terminals")
    response.raise_for_status()
    path = f"/terminals/websocket/{response.json()['name']}"

    async def work() -> str:
        request = HTTPRequest(
            urls["jupyter"].replace("http", "ws") + path,
            headers={"Authorization": jupyter.headers["Authorization"], "Origin": urls["jupyter"]},
        )
        socket = await websocket_connect(request)
        await socket.write_message(json.dumps(["stdin", "echo $((6 * 7)); id -un\r"]))
        screen = ""
        while not re.search(r"\b42\s+jupyter\b", screen):
            kind, *rest = json.loads(await message(socket))
            screen += rest[0] if kind == "stdout" else ""
        await hang_up(socket)
        return screen

    assert "42" in asyncio.run(work())
