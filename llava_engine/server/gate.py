"""Who may come in: by the name that they call us, by the page that they come from, by the key that they show.

A page that somebody looks at can send requests to this machine, and by a name of its own that is made to lead here
(DNS rebinding) even read the answers. So the Host must be ours, an Origin our own, and a body JSON: that, a page may
send elsewhere only after asking, and nobody here says yes.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from llava_engine.server.journal import respond
from llava_engine.server.problems import Problem
from llava_engine.server.settings import Settings

_CLOSED = ("/v1/", "/metrics")
"""What the key is for. The page is the same for everybody, and asks for it; /health is for who can not know it."""


class Gate:
    """Lets in who may come."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._key = None if settings.key is None else settings.key.encode()
        self._cors = settings.cors
        here = socket.gethostname().lower()
        self._hosts = settings.hosts | {"localhost", here, here.partition(".")[0]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say why not before anything of its body is read."""
        problem = self._problem(scope)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await respond(problem, send)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        host = headers.get(b"host", "")
        if not self._is_ours(host):
            return Problem(421, "foreign_host", "This server is not known by that name; --allow-host adds one.")
        origin = headers.get(b"origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}", *self._cors):
            return Problem(403, "foreign_origin", "Pages of another origin may not ask; --cors lets one in.")
        if scope["path"].startswith(_CLOSED) and not self._shows_key(headers.get(b"authorization", "")):
            return Problem(
                401, "invalid_api_key", "The key is missing or wrong.", headers={"WWW-Authenticate": "Bearer"}
            )
        if scope["method"] == "POST":
            kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return Problem(415, "not_json", "The body must be application/json, and say so.")
        return None

    def _is_ours(self, host: str) -> bool:
        """An address is ours: only names can be made to lead where they did not."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _shows_key(self, authorization: str) -> bool:
        if self._key is None:
            return True
        scheme, _, shown = authorization.partition(" ")
        # Only what a header may have around a value: to Unicode the last byte of an "à", read as latin-1, is a space.
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip(" \t").encode("latin-1"), self._key)
