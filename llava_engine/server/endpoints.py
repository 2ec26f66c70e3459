"""What each address of the API does. Errors are raised as `Problem` or as the engine's own; app.py answers them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from llava_engine.contract import Reply
from llava_engine.errors import LlavaError
from llava_engine.server import protocol, votes
from llava_engine.server.conversation import Draft, draft
from llava_engine.server.events import WAITING, Completion, failed
from llava_engine.server.metrics import MEDIA_TYPE
from llava_engine.server.problems import ClientGoneError, Problem, bug, problem_of
from llava_engine.server.service import Question, Service

KEEP_ALIVE_S = 15.0
"""So long a stream may be silent; and so long its status waits for the first word, so that errors have their own."""
_LARGE = 256_000  # bytes: what is longer is read on another thread, and the loop goes on

_T = TypeVar("_T")
LogBug = Callable[[str, BaseException], None]


class JsonResponse(Response):
    """JSON in ASCII."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content).encode("ascii")


async def _parsed(read: Callable[[bytes], _T], body: bytes) -> _T:
    return read(body) if len(body) < _LARGE else await asyncio.to_thread(read, body)


def _asked(body: bytes) -> tuple[protocol.Request, Draft]:
    request = protocol.read_request(body)
    return request, draft(request.messages)


class Completions:
    """`POST /v1/chat/completions`, whole or as a stream."""

    def __init__(self, service: Service, log_bug: LogBug) -> None:
        self._service = service
        self._log_bug = log_bug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that leaves ends it within a token."""
        arrived = time.monotonic()
        body = await Request(scope, receive).body()
        working = asyncio.ensure_future(self._answer(scope, body, arrived, send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientGoneError
            working.result()
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def _answer(self, scope: Scope, body: bytes, arrived: float, send: Send) -> None:
        service = self._service
        service.check_room()
        request, said = await _parsed(_asked, body)
        service.check_model(request.model)
        sampling = request.sampling(service.settings.temperature)
        question = Question(said, sampling, request.llava_preprocess or "default", arrived)
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        completion = Completion(service.name, service.fingerprint, usage=with_usage)
        beginning = asyncio.ensure_future(service.begin(question))
        try:
            if request.stream:
                await _Stream(completion, scope, send, self._log_bug).answer(beginning)
            else:
                await _whole(completion, scope, send, beginning)
        finally:
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            if not beginning.cancelled() and beginning.exception() is None:
                beginning.result()[0].cancel()  # nothing to an answer that is over


Beginning = asyncio.Future[Any]


async def _whole(completion: Completion, scope: Scope, send: Send, beginning: Beginning) -> None:
    answer, items = await beginning
    while not (items and isinstance(items[-1], Reply)):
        items = await answer.take(KEEP_ALIVE_S)
    reply = items[-1]
    if reply.finish_reason == "cancelled":
        raise Problem(503, "shutting_down", "This server ended before the answer did.", retry_after_s=5)
    _note(scope, reply)
    await Response(completion.whole(reply), media_type="application/json")(scope, _nothing, send)


class _Stream:
    """An answer as server-sent events."""

    def __init__(self, completion: Completion, scope: Scope, send: Send, log_bug: LogBug) -> None:
        self._completion = completion
        self._scope = scope
        self._send = send
        self._log_bug = log_bug
        self._begun = False

    async def answer(self, beginning: Beginning) -> None:
        """Say it all. What goes wrong before the first event is raised, later it is an event."""
        try:
            while not (await asyncio.wait({beginning}, timeout=KEEP_ALIVE_S))[0]:
                await self._say(WAITING)
            answer, items = beginning.result()
            await self._say(self._completion.first())
            while True:
                said = [self._completion.piece(item) for item in items if isinstance(item, str) and item]
                if items and isinstance(reply := items[-1], Reply):
                    break
                await self._say(b"".join(said) or WAITING)
                items = await answer.take(KEEP_ALIVE_S)
            if reply.finish_reason == "cancelled":
                raise Problem(503, "shutting_down", "This server ended before the answer did.")
            _note(self._scope, reply)
            await self._say(b"".join((*said, self._completion.last(reply))))
        except (Problem, LlavaError) as error:
            if not self._begun:
                raise
            problem = error if isinstance(error, Problem) else problem_of(error)
            await self._say(failed(problem))
        except Exception as error:
            if not self._begun:
                raise
            request_id = self._scope["llava"].request_id
            self._log_bug(request_id, error)
            await self._say(failed(bug(request_id)))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),  # nginx would hold events back
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _note(scope: Scope, reply: Reply) -> None:
    """For the log: counts, no text."""
    scope["llava"].tokens = reply.prompt_tokens, reply.completion_tokens
    scope["llava"].pictures = len(reply.picture_tokens)


class Endpoints:
    """The smaller ones."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def input_tokens(self, request: Request) -> Response:
        """What a request's messages cost: `{"input_tokens": n}`, as llama-server says it."""
        asked, said = await _parsed(_asked, await request.body())
        self._service.check_model(asked.model)
        return JsonResponse({"input_tokens": await self._service.count(said)})

    async def models(self, request: Request) -> Response:
        """The one model that is here."""
        return JsonResponse({"object": "list", "data": [self._service.model()]})

    async def model(self, request: Request) -> Response:
        """The same by its name, in which slashes may be."""
        self._service.check_model(request.path_params["name"])
        return JsonResponse(self._service.model())

    async def health(self, request: Request) -> Response:
        """Whether to send requests here."""
        state = self._service.state
        return JsonResponse({"status": state}, status_code=200 if state == "ok" else 503)

    async def metrics(self, request: Request) -> Response:
        """Counts."""
        return Response(self._service.metrics.text(self._service.gauges()), media_type=MEDIA_TYPE)

    async def votes(self, request: Request) -> Response:
        """Keep what somebody thinks of an answer, where there is a file for it."""
        path = self._service.settings.votes
        if path is None:
            raise Problem(404, "no_votes", "This server keeps no votes; it was started without --votes.")
        vote = await _parsed(protocol.read_vote, await request.body())
        self._service.check_model(vote.model)
        await asyncio.to_thread(votes.keep, path, vote, vote.model or self._service.name)
        return JsonResponse({"kept": True})
