"""A hub on this machine: two servers that speak the protocol of the Hugging Face hub, well behaved or not.

The first is the hub itself, the second the storage that it redirects to for large files. Every request is kept, and
faults can be ordered for a path: each is used up by one request.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_FROM = 2_000
"""Files of so many bytes are stored in LFS."""

Fault = Callable[["Answer"], None]


def cut_after(count: int) -> Fault:
    """The connection ends after so many bytes of the body, though more were promised."""

    def fault(answer: Answer) -> None:
        answer.cut = count

    return fault


def status(code: int, **headers: str) -> Fault:
    """An error in place of the answer."""

    def fault(answer: Answer) -> None:
        answer.status = code
        answer.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer.body = b"{}"

    return fault


def instead(body: bytes) -> Fault:
    """Other content than was asked for."""

    def fault(answer: Answer) -> None:
        answer.body = body[answer.start :]

    return fault


def whole(answer: Answer) -> None:
    """All of the file, whatever range was asked for."""
    answer.body = answer.file
    answer.status = 200


def another_range(answer: Answer) -> None:
    """A part of the file that was not asked for."""
    answer.headers["Content-Range"] = f"bytes 0-{len(answer.file) - 1}/{len(answer.file)}"
    answer.body = answer.file


def hang(seconds: float) -> Fault:
    """Silence before the answer."""

    def fault(answer: Answer) -> None:
        time.sleep(seconds)

    return fault


@dataclass
class Answer:
    """What a server is about to send; a fault may change it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    file: bytes = b""
    start: int = 0


@dataclass(frozen=True)
class Request:
    """What was asked, and with which headers (names in lower case)."""

    where: str
    path: str
    headers: dict[str, str]


class FakeHub:
    """Repositories by id, each a table of files; `url` is for HF_ENDPOINT."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.listings: dict[str, Any] = {}
        self.requests: list[Request] = []
        self.faults: dict[str, list[Fault]] = {}
        self.redirect_to: str | None = None
        self._hub = self._serve("hub")
        self._storage = self._serve("storage")
        self.url = f"http://127.0.0.1:{self._hub.server_port}"
        self.storage_url = f"http://127.0.0.1:{self._storage.server_port}"

    def add(self, model_id: str, **files: bytes) -> None:
        """A repository; `__` in a name stands for a dot."""
        self.repositories[model_id] = {name.replace("__", "."): body for name, body in files.items()}

    def order(self, path_end: str, *faults: Fault) -> None:
        """Faults for the next requests whose path ends so, in this order."""
        self.faults.setdefault(path_end, []).extend(faults)

    def asked(self, path_end: str) -> list[Request]:
        """The requests whose path ends so."""
        return [request for request in self.requests if request.path.endswith(path_end)]

    def close(self) -> None:
        """End both servers."""
        for server in (self._hub, self._storage):
            server.shutdown()
            server.server_close()

    def _serve(self, where: str) -> ThreadingHTTPServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def _answer(self, with_body: bool) -> None:
                self.close_connection = True
                path = unquote(urlsplit(self.path).path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append(Request(where, path, headers))
                answer = outer._answer(where, path, headers)
                for end in [end for end, faults in outer.faults.items() if faults and path.endswith(end)]:
                    if with_body and answer.status < 300:
                        outer.faults[end].pop(0)(answer)
                body = answer.body if answer.cut is None else answer.body[: answer.cut]
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def _answer(self, where: str, path: str, headers: dict[str, str]) -> Answer:
        parts = path.strip("/").split("/")
        if where == "storage":
            return self._content(self._stored(parts[-1]), headers)
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self._listing("/".join(parts[2:4]), parts[4:])
        model_id = "/".join(parts[:2])
        if len(parts) < 5 or parts[2] != "resolve" or parts[4] not in self.repositories.get(model_id, {}):
            return Answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        body = self.repositories[model_id][parts[4]]
        own = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(body)}"'}
        if len(body) < LARGE_FROM:
            return self._content(body, headers, own)
        digest = hashlib.sha256(body).hexdigest()
        own |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(body))}
        return Answer(302, b"", own | {"Location": self.redirect_to or f"{self.storage_url}/{digest}"})

    def _stored(self, digest: str) -> bytes:
        every = (body for files in self.repositories.values() for body in files.values())
        return next(body for body in every if hashlib.sha256(body).hexdigest() == digest)

    def _content(self, body: bytes, headers: dict[str, str], own: dict[str, str] | None = None) -> Answer:
        asked = headers.get("range", "")
        if not asked:
            return Answer(200, body, dict(own or {}), file=body)
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        content_range = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return Answer(206, body[start:], {**(own or {}), **content_range}, file=body, start=start)

    def _listing(self, model_id: str, rest: list[str]) -> Answer:
        files = self.repositories.get(model_id)
        if files is None or (rest and rest[1:2] not in ([], ["main"], [COMMIT])):
            return Answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["tree"]:  # what the official library asks for
            answer: Any = [tree_entry(name, body) for name, body in files.items()]
        else:
            siblings = [sibling(name, body) for name, body in files.items()]
            answer = {"id": model_id, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
        answer = self.listings.get(model_id, answer)
        return Answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def git_sha1(body: bytes) -> str:
    """A content's name in git."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def sibling(name: str, body: bytes) -> dict[str, Any]:
    """A file as `/api/models/…?blobs=true` lists it."""
    entry: dict[str, Any] = {"rfilename": name, "size": len(body), "blobId": git_sha1(body)}
    if len(body) >= LARGE_FROM:
        entry["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return entry


def tree_entry(name: str, body: bytes) -> dict[str, Any]:
    """A file as `/api/models/…/tree/…` lists it."""
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(body), "oid": git_sha1(body)}
    if len(body) >= LARGE_FROM:
        entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return entry
