"""The API over a scripted engine, in this process: asked as a client asks it, without a socket."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import httpx

from llava_engine.contract import EngineLike
from llava_engine.server.app import make_app
from llava_engine.server.service import Service
from llava_engine.server.settings import Settings
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, Step
from tests.fakes.fake_picture import png_bytes

HERE = "http://127.0.0.1:8000"
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


class Api:
    """A server that is asked one request at a time.

    Attributes:
        engine: what answers.
        service: what stands before it.
        lines: what was logged.
    """

    def __init__(self, engine: EngineLike, settings: Settings, form: str = "text") -> None:
        self.engine = engine
        self.lines: list[str] = []
        self._settings = settings
        self._form = form
        self.service: Service

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request."""

        async def run() -> httpx.Response:
            self.service = Service(self._settings)
            self.service.ready(self.engine)
            app = make_app(self.service, self.lines.append, self._form)  # type: ignore[arg-type]
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
                try:
                    return await client.request(method, path, **more)
                finally:
                    assert self.service.in_flight == 0
                    self.service.pictures.close()

        return asyncio.run(run())

    def chat(self, body: dict[str, Any] | None = None, **fields: Any) -> httpx.Response:
        """A chat completion; `fields` are added to a body that says hello."""
        return self.ask("POST", CHAT, json=(HELLO if body is None else body) | fields)

    def post(self, content: bytes, path: str = CHAT) -> httpx.Response:
        """A body byte for byte."""
        return self.ask("POST", path, content=content, headers={"content-type": "application/json"})


def fake(*answers: list[Step], slots: int = 1, **card: Any) -> FakeEngine:
    """A scripted engine with places."""
    return FakeEngine(*answers, card=replace(FAKE_CARD, slots=slots, **card))


def api(*answers: list[Step], form: str = "text", **settings: Any) -> Api:
    """A server over a scripted engine."""
    return Api(fake(*answers), Settings(**settings), form)


def user(*parts: str | bytes) -> dict[str, Any]:
    """A message of texts and pictures."""
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_url(part)}}
        for part in parts
    ]
    return {"role": "user", "content": content}


def data_url(data: bytes = png_bytes()) -> str:
    """A picture as clients send it."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def events(text: str) -> list[Any]:
    """The events of a stream: what their data is as JSON, "[DONE]" as it is; comments as ": …"."""
    found: list[Any] = []
    for block in text.split("\n\n"):
        if block.startswith(":"):
            found.append(block)
        elif block:
            data = block.removeprefix("data: ")
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


def error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error object of a response that must be this one."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    told: dict[str, Any] = response.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["message"] and told["type"]
    return told
