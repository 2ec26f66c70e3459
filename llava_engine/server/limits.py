"""How much one request may bring, how long it may take to bring it, and how many may do so at once."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_engine.server.journal import respond
from llava_engine.server.problems import ClientGoneError, Problem
from llava_engine.server.service import Service

BODY_S = 30.0
_LINGER_S = 2.0  # a refused client may still be sending: closed at once, it would not read why


class Limits:
    """Reads the whole body of a request before it is passed on."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body, or say why not."""
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        service = self._service
        if service.in_flight >= service.most_in_flight:
            busy = Problem(503, "busy", "Too many requests are being read.", retry_after_s=1)
            await _refuse(busy, receive, send)
            return
        service.in_flight += 1
        try:
            await self._pass_on(scope, receive, send)
        finally:
            service.in_flight -= 1

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._service.settings.max_body
        length = dict(scope["headers"]).get(b"content-length", b"")
        too_large = Problem(413, "body_too_large", f"The body has more than {most:,} bytes.")
        if length.isdigit() and int(length[:18]) > most:
            await _refuse(too_large, receive, send)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        await _refuse(too_large, receive, send)
                        return
        except TimeoutError:
            slow = Problem(408, "request_timeout", f"The body took longer than {BODY_S:.0f} seconds.")
            await _refuse(slow, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


async def _refuse(problem: Problem, receive: Receive, send: Send) -> None:
    """Say why, take what still comes for a moment, and close."""
    last: list[Message] = []

    async def all_but_the_end(message: Message) -> None:
        if message["type"] == "http.response.body":
            last.append({"type": "http.response.body", "body": b""})
            message = {**message, "more_body": True}
        await send(message)

    problem.headers["Connection"] = "close"
    await respond(problem, all_but_the_end)
    try:
        async with asyncio.timeout(_LINGER_S):
            while (message := await receive())["type"] != "http.disconnect" and message.get("more_body"):
                pass
    except TimeoutError:
        pass  # it was told, and had its time
    await send(last[0])
