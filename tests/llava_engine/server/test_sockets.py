"""Over real sockets: clients that leave, that are slow, that are many; and nothing that stays behind."""

from __future__ import annotations

import io
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from llava_engine.server import endpoints, limits, patience, pictures
from llava_engine.server.settings import Settings
from tests.llava_engine.server.api import CHAT, HELLO, error, events, fake, user
from tests.llava_engine.server.live import Live, live, request, until


def talkative(pieces: int = 100_000, every_s: float = 0.002) -> list[Any]:
    """An answer that does not end while a test looks at it."""
    return [step for _ in range(pieces) for step in ("word ", every_s)]


def at_rest(server: Live) -> bool:
    return server.metric("running") == server.metric("waiting") == server.metric("in_flight") == 0


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got:
        piece = connection.recv(65536)
        assert piece, got
        got += piece
    return got


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_answer(stream: bool) -> None:
    with live(fake(talkative())) as server:
        connection = server.connect(request(HELLO | {"stream": stream}))
        if stream:
            read_until(connection, b'"content": "word "')
        until(lambda: server.metric("running") == 1)
        connection.close()
        until(lambda: at_rest(server))
        assert server.metric('answers_total{reason="cancelled"}') == 1
        assert server.metric('requests_total{status="499"}') == 1
        assert any(f"POST {CHAT} 499" in line for line in server.lines)


MORE = {"a line": b"\r\n", "a request": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_a_client_that_leaves_after_it_has_said_more_ends_its_answer_too(more: bytes) -> None:
    with live(fake(talkative())) as server:
        connection = server.connect(request())
        until(lambda: server.metric("running") == 1)
        connection.sendall(more)
        time.sleep(0.1)
        connection.close()
        until(lambda: at_rest(server))


def test_a_client_that_leaves_while_it_waits_gives_its_place_back() -> None:
    gate = threading.Event()
    engine = fake([gate, "One"], ["Two"])
    with live(engine, Settings(queue=1)) as server:
        first = server.connect(request())
        until(lambda: server.metric("running") == 1)
        second = server.connect(request())
        until(lambda: server.metric("waiting") == 1)
        second.close()
        until(lambda: server.metric("waiting") == 0)
        third = server.connect(request())
        until(lambda: server.metric("waiting") == 1)
        gate.set()
        assert b"One" in read_until(first, b"}}")
        assert b"Two" in read_until(third, b"}}")
        assert len(engine.conversations) == 2
        until(lambda: at_rest(server))


def test_beyond_the_queue_clients_are_told_when_to_come_back() -> None:
    gate = threading.Event()
    with live(fake([gate, "Yes"], slots=2), Settings(queue=3)) as server, ThreadPoolExecutor(5) as pool:
        inside = [pool.submit(server.chat) for _ in range(5)]
        until(lambda: server.metric("running") == 2 and server.metric("waiting") == 3)
        for stream in (False, True):
            refused = server.chat(stream=stream)
            assert error(refused, 429, "queue_full")["type"] == "rate_limit_error"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        gate.set()
        assert {response.result().status_code for response in inside} == {200}
        until(lambda: at_rest(server))


def test_who_came_first_is_answered_first() -> None:
    gates = [threading.Event() for _ in range(4)]
    engine = fake(*([gate, "Yes"] for gate in gates))
    with live(engine) as server, ThreadPoolExecutor(4) as pool:
        asked = []
        for number in range(4):
            body = {"messages": [{"role": "user", "content": f"{number}"}]}
            asked.append(pool.submit(server.chat, **body))
            until(lambda number=number: server.metric("waiting") + server.metric("running") == number + 1)  # type: ignore[misc]
        for gate in gates:
            gate.set()
        assert all(answer.result().status_code == 200 for answer in asked)
    assert [conversation.messages[0].text for conversation in engine.conversations] == ["0", "1", "2", "3"]


def test_a_stream_that_waits_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "KEEP_ALIVE_S", 0.03)
    gate, later = threading.Event(), threading.Event()
    with live(fake([gate, "Yes", later, "."])) as server:
        connection = server.connect(request(HELLO | {"stream": True}, headers="Connection: close\r\n"))
        got = read_until(connection, b": waiting\n\n")
        gate.set()
        got += read_until(connection, b'"content": "Yes"')
        got += read_until(connection, b": waiting\n\n")
        later.set()
        got += read_until(connection, b"[DONE]")
        assert got.startswith(b"HTTP/1.1 200 ")


def test_what_goes_wrong_after_waiting_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "KEEP_ALIVE_S", 0.03)
    gate = threading.Event()
    with live(fake([gate, RuntimeError("secret")])) as server:
        connection = server.connect(request(HELLO | {"stream": True}))
        read_until(connection, b": waiting\n\n")
        gate.set()
        got = read_until(connection, b"0\r\n\r\n")
        assert b"internal_error" in got
        assert b"secret" not in got
        assert b"[DONE]" not in got


SLOW: dict[str, bytes] = {
    "says nothing": b"",
    "begins a head": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-",
    "begins a body": request(HELLO | {"metadata": "x" * 9999})[:-9000],
    "begins a chunk": (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nffff\r\n{"
    ),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_S", 0.2)
    monkeypatch.setattr(limits, "BODY_S", 0.2)
    monkeypatch.setattr(limits, "_LINGER_S", 0.1)
    with live(fake(["Yes"])) as server:
        connection = server.connect(SLOW[what])
        connection.settimeout(0.02)
        end = time.monotonic() + 10
        got = b""
        closed = False
        while not closed:
            assert time.monotonic() < end, "it is still connected"
            try:
                if SLOW[what]:
                    connection.sendall(b"a")
                piece = connection.recv(4096)
                closed, got = not piece, got + piece
            except TimeoutError:
                continue
            except OSError:
                closed = True
        assert not got or b" 408 " in got
        assert server.chat().status_code == 200
        until(lambda: at_rest(server))


def test_between_requests_the_same_clock_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_S", 0.2)
    with live(fake(["Yes"])) as server:
        connection = server.connect(request())
        read_until(connection, b"}}")
        time.sleep(0.4)  # idle is allowed longer
        connection.sendall(request())
        read_until(connection, b"}}")
        connection.sendall(b"POST /v1")
        with pytest.raises((AssertionError, OSError)):
            read_until(connection, b"}}")


@pytest.mark.parametrize("path", ["/health", "/v1/models", CHAT])
def test_who_was_answered_before_he_had_said_all_is_cut_off_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_S", 0.2)
    with live(fake(["Yes"]), Settings(key="secret")) as server:
        method = "POST" if path == CHAT else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        connection = server.connect(head.encode())
        read_until(connection, b"}")
        connection.settimeout(0.02)
        end = time.monotonic() + 10
        with pytest.raises(ConnectionError):
            while True:
                assert time.monotonic() < end, "it is still connected"
                connection.sendall(b"a")
                try:
                    if not connection.recv(4096):
                        raise ConnectionError
                except TimeoutError:
                    continue


def test_a_body_that_was_not_waited_for_may_still_end_and_another_request_follow() -> None:
    with live(fake(["Yes"])) as server:
        connection = server.connect(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1234")
        read_until(connection, b"}")
        connection.sendall(b"56789" + request())
        assert b'"content": "Yes"' in read_until(connection, b"}}")


def test_a_client_that_does_not_read_holds_nothing_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "READ_S", 0.3)
    with live(fake(["word " * 200_000] * 40)) as server:
        for stream in (True, False):
            connection = server.connect(request(HELLO | {"stream": stream}), receive_buffer=4096)
            until(lambda: server.metric("running") == 1 or bool(server.lines))
            until(lambda: at_rest(server))
            connection.settimeout(10)
            with pytest.raises(OSError):
                while connection.recv(2**20):
                    pass
                raise OSError("closed in between")
        assert server.metric("running") == 0


def test_pictures_that_do_not_fit_in_memory_together_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DECODED_BYTES", 3 * 60 * 40)

    def shows(colour: str) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (60, 40), colour).save(file, "PNG")
        return request({"messages": [user(file.getvalue(), "What?")]})

    gate = threading.Event()
    engine = fake([gate, "One"], ["Two"], ["Three"], slots=4)
    with live(engine) as server:
        first = server.connect(shows("red"))
        until(lambda: len(engine.conversations) == 1)
        leaver, second = server.connect(shows("green")), server.connect(shows("blue"))
        until(lambda: server.metric("running") == 3)
        leaver.close()
        until(lambda: server.metric("running") == 2)
        assert "Two" in server.chat().text  # who shows none waits for nobody
        assert len(engine.conversations) == 2
        gate.set()
        assert b"One" in read_until(first, b"}}")
        assert b"Three" in read_until(second, b"}}")
        until(lambda: at_rest(server))


def test_a_large_body_that_is_refused_can_read_why() -> None:
    with live(fake(["Yes"]), Settings(max_body=1000)) as server:
        with server.client() as client:
            response = client.post(CHAT, content=b" " * 5_000_000, headers={"content-type": "application/json"})
            assert error(response, 413, "body_too_large")
            assert response.headers["connection"] == "close"
        assert server.chat().status_code == 200


def test_many_clients_that_leave_at_any_moment_leave_nothing_behind() -> None:
    chance = random.Random(5)
    before = threading.active_count()
    with live(fake(talkative(40, 0.001), slots=4), Settings(queue=8)) as server:
        whole = request(HELLO | {"stream": True})

        def one(_: int) -> None:
            with server.connect(whole[: chance.choice((len(whole), len(whole), chance.randrange(len(whole))))]) as made:
                time.sleep(chance.random() * 0.06)
                if chance.random() < 0.5:
                    made.setblocking(False)
                    try:
                        made.recv(4096)
                    except OSError:
                        return

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(one, range(150)))
        until(lambda: at_rest(server))
        answers = events(server.chat(stream=True).text)
        assert answers[-1] == "[DONE]"
        until(lambda: at_rest(server))
    until(lambda: threading.active_count() <= before)


def test_garbage_is_no_reason_to_end() -> None:
    with live(fake(["Yes"])) as server:
        for garbage in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n" * 9):
            connection = server.connect(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        assert server.chat().status_code == 200


def test_names_that_lead_here_from_outside_are_not_answered_over_a_socket_either() -> None:
    with live(fake(["Yes"])) as server:
        connection = server.connect(request().replace(b"Host: localhost", b"Host: evil.example"))
        assert read_until(connection, b"}}").startswith(b"HTTP/1.1 421 ")


def test_requests_that_are_sent_ahead_are_answered_in_turn() -> None:
    gate = threading.Event()
    with live(fake([gate, "One"], ["Two"])) as server:
        connection = server.connect(request())
        until(lambda: server.metric("running") == 1)
        second = request(HELLO | {"metadata": "x" * 3_000_000}, headers="Connection: close\r\n")
        for byte in second[:60]:
            connection.sendall(bytes([byte]))
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(connection.sendall, second[60:])
            time.sleep(0.1)
            gate.set()
            got = read_until(connection, b"Two")
            sending.result()
        assert got.index(b"One") < got.index(b"Two")


def test_an_answer_may_be_asked_for_twice_over_one_connection() -> None:
    with live(fake(["One"], ["Two"])) as server, server.client() as client:
        texts = [client.post(CHAT, json=HELLO).json()["choices"][0]["message"]["content"] for _ in range(2)]
        assert texts == ["One", "Two"]
        client.get("/health")
