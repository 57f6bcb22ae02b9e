"""Apps that nobody here wrote do what they are for, behind nginx, two sites on one host."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

SECONDS = 20


@pytest.fixture(scope="module")
def urls(name: str) -> dict[str, str]:
    """Return the URL of each site of the host under test."""
    known = json.loads(
        (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "hosts.json").read_text()
    )
    ports = known[name]["ports"]
    sites = {"bokeh": "8001", "luigi": "8002"}
    return {site: f"http://127.0.0.1:{ports[port]}" for site, port in sites.items()}


async def message(socket: WebSocketClientConnection) -> str:
    """Return the next message; fails when none comes."""
    said = await asyncio.wait_for(socket.read_message(), SECONDS)
    assert isinstance(said, str), "the WebSocket was closed"
    return said


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
        socket.close()
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
