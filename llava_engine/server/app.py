"""The application: addresses, and the layers around them, from the outside in.

Journal (id, log, last net) · CORS, where it is asked for · Gate (Host, Origin, key, JSON) · Limits (body, time) ·
routes, whose errors are answered here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_engine.errors import LlavaError
from llava_engine.server.endpoints import Completions, Endpoints
from llava_engine.server.gate import Gate
from llava_engine.server.journal import Form, Journal, WriteLine
from llava_engine.server.limits import Limits
from llava_engine.server.problems import Problem, bug, problem_of
from llava_engine.server.service import Service

PAGE = Path(__file__).parent / "page"
_PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def make_app(service: Service, write: WriteLine, form: Form) -> ASGIApp:
    """The whole of it over a service; `write` takes the log's lines."""
    journal: Journal

    def log_bug(request_id: str, error: BaseException) -> None:
        journal.log_bug(request_id, error)

    completions, endpoints = Completions(service, log_bug), Endpoints(service)
    routes = [
        _route("/v1/chat/completions", completions, "POST"),
        Route("/v1/chat/completions/input_tokens", endpoints.input_tokens, methods=["POST"]),
        Route("/v1/models", endpoints.models),
        Route("/v1/models/{name:path}", endpoints.model),
        Route("/v1/votes", endpoints.votes, methods=["POST"]),
        Route("/health", endpoints.health),
        Route("/metrics", endpoints.metrics),
    ]
    handlers = {Problem: _on_problem, LlavaError: _on_error, HTTPException: _on_http, Exception: _on_bug}
    starlette = Starlette(routes=routes, exception_handlers=handlers)
    starlette.router.default = _Page(StaticFiles(directory=PAGE, html=True))
    inside: ASGIApp = Limits(starlette, service)
    gated: ASGIApp = Gate(inside, service.settings)
    if service.settings.cors:
        gated = CORSMiddleware(
            gated,
            allow_origins=service.settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    journal = Journal(gated, service.metrics, write, form)
    return journal


def _route(path: str, endpoint: ASGIApp, method: str) -> Route:
    """A route to a plain ASGI application."""
    return Route(path, endpoint, methods=[method])


class _Page:
    """What is no address of the API: files, with the headers that let nothing in but themselves."""

    def __init__(self, files: ASGIApp) -> None:
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v1/") or scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in _PAGE_HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._files(scope, receive, with_headers)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return Response(error.body(), error.status, error.headers, media_type="application/json")


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LlavaError)
    return await _on_problem(request, problem_of(error))


async def _on_bug(request: Request, error: Exception) -> Response:
    """Starlette raises it again after that, so that the journal says where it came from."""
    return await _on_problem(request, bug(request.scope["llava"].request_id))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        problem = Problem(405, "method_not_allowed", f"{request.method} is not for this address.")
    else:
        problem = Problem(404, "not_found", "There is nothing here; the API is at /v1/chat/completions and /v1/models.")
    problem.headers |= dict(error.headers or {})
    return await _on_problem(request, problem)
