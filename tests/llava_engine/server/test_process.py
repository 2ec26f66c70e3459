"""The server as a process: it is there before its model, drains at the first signal and ends at the second."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from llava_engine.errors import LlavaError, UsageError
from llava_engine.server.serving import listen
from tests.llava_engine.server.api import HELLO, error, events
from tests.llava_engine.server.live import PATIENCE_S, Live, live, request, until
from tests.llava_engine.server.test_sockets import read_until
from tests.source import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@contextmanager
def served(
    between: float = 0.01, words: int = 5, drain: float = 10, loading: float = 0, ready: bool = True
) -> Iterator[tuple[subprocess.Popen[str], Live]]:
    arguments = map(str, (between, words, drain, loading, 1, 4))
    command = [sys.executable, "-m", "tests.llava_engine.server.served", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        port = int(process.stdout.readline())
        if ready:
            assert process.stdout.readline() == "ready\n"
        yield process, Live(port)
    finally:
        process.kill()
        process.communicate()


def test_what_is_being_said_is_said_to_its_end_and_nothing_new_begins() -> None:
    with served(between=0.02, words=60) as (process, server):
        running = server.connect(request(HELLO | {"stream": True}, headers="Connection: close\r\n"))
        got = read_until(running, b'"content": "1 "')
        waiting = server.connect(request())
        until(lambda: server.metric("waiting") == 1)
        process.send_signal(signal.SIGTERM)
        assert b" 503 " in read_until(waiting, b"}}")
        with server.client() as client:
            health = client.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "draining"})
        refused = server.chat()
        assert error(refused, 503, "shutting_down")
        assert refused.headers["retry-after"]
        got += read_until(running, b"[DONE]")
        assert b'"59 "' in got
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (0, "ended by SIGTERM\n")


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_takes_too_long_is_ended(stream: bool) -> None:
    with served(between=0.02, words=100_000, drain=0.3) as (process, server):
        running = server.connect(request(HELLO | {"stream": stream}, headers="Connection: close\r\n"))
        until(lambda: server.metric("running") == 1)
        process.send_signal(signal.SIGINT)
        got = read_until(running, b"shutting_down")
        assert stream or got.startswith(b"HTTP/1.1 503 ")
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (0, "ended by SIGINT\n")


def test_the_second_signal_ends_at_once() -> None:
    with served(between=0.02, words=100_000, drain=100) as (process, server):
        running = server.connect(request(HELLO | {"stream": True}))
        read_until(running, b'"content": "1 "')
        process.send_signal(signal.SIGTERM)
        until(lambda: server.chat().status_code == 503)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_while_the_model_is_loaded_clients_are_told_to_come_back_and_a_signal_ends_it() -> None:
    with served(loading=1000, ready=False) as (process, server):
        with server.client() as client:
            until(lambda: client.get("/health").json() == {"status": "loading"})
            assert client.get("/health").status_code == 503
            assert error(client.get("/v1/models"), 503, "loading")
            assert client.get("/").status_code == 200
        refused = server.chat()
        assert error(refused, 503, "loading")
        assert refused.headers["retry-after"]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (0, "ended by SIGTERM\n")


def test_an_address_that_is_taken_or_none_is_said() -> None:
    taken = listen("127.0.0.1", 0)
    with taken, pytest.raises(UsageError, match="can not be listened at"):
        listen("127.0.0.1", taken.getsockname()[1])
    for host in ("not a host", "256.1.1.1"):
        with pytest.raises(LlavaError, match="leads nowhere"):
            listen(host, 0)


def test_the_engine_is_closed_at_the_end() -> None:
    from tests.llava_engine.server.api import fake

    engine = fake(["Yes"])
    with live(engine) as server:
        assert events(server.chat(stream=True).text)[-1] == "[DONE]"
        assert not engine.closed
    assert engine.closed
