"""Text in: what of a paste is a picture, what waits until it is sent, and which letters a person may type."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from textual._xterm_parser import XTermParser
from textual.widgets import Input

from llava_tui.widgets.chips import Chip, Remove
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.fakes.fake_picture import png_bytes
from tests.llava_tui.screens.test_attaching import chips, paste
from tests.llava_tui.stage import Stage

Server = tuple[str, list[str], threading.Event]


@pytest.fixture
def server() -> Iterator[tuple[str, list[str], threading.Event]]:
    """A machine that has /there.png only: its address, what it was asked for, and whether it may say no yet."""
    asked: list[str] = []
    refuses = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = png_bytes() if self.path == "/there.png" else b""
            if not body:
                refuses.wait(10)
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    machine = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=machine.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{machine.server_port}", asked, refuses
    machine.shutdown()
    machine.server_close()


async def test_an_address_alone_is_fetched(server: Server) -> None:
    address, asked, _ = server
    stage = Stage()
    async with stage.open() as me:
        await paste(me, f"{address}/there.png\r\n")
        await chips(me, 1)
        assert asked == ["/there.png"]
        assert me.prompt.text == ""


async def test_an_address_inside_a_text_is_fetched_when_it_is_sent(server: Server) -> None:
    address, asked, _ = server
    engine = FakeEngine(("A circle.",))
    stage = Stage(engine)
    async with stage.open() as me:
        words = f"We saw {address}/there.png yesterday. What is in it?"
        await paste(me, words)
        await me.sees("fetched when sent")
        assert me.prompt.text == words
        assert asked == []
        await me.press("enter")
        await me.answered()
        assert asked == ["/there.png"]
        assert engine.conversations[0].messages[0].text == words
        assert len(engine.conversations[0].pictures) == 1


async def test_an_address_whose_chip_was_taken_out_is_never_fetched(server: Server) -> None:
    address, asked, _ = server
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        await paste(me, f"see {address}/there.png ok")
        await me.sees("fetched when sent")
        await me.pilot.click(me.screen.query_one(Remove))
        await me.until(lambda: not me.screen.query(Chip))
        await me.press("enter")
        await me.answered()
        assert asked == []
        assert not engine.conversations[0].pictures


async def test_words_whose_address_does_not_answer_come_back(server: Server) -> None:
    address, _, refuses = server
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        words = f"line one\nsee {address}/gone.png and say"
        await paste(me, words)
        await me.sees("fetched when sent")
        await me.press("enter")
        await me.until(lambda: me.prompt.text == "")
        me.prompt.insert("more")  # while it is tried
        refuses.set()
        await me.until(lambda: any("404" in notice for notice in me.notices))
        await me.until(lambda: me.prompt.text == f"{words}\nmore")
        await chips(me, 0)
        assert not engine.conversations


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        ("photo", b"\0\0\0\x18ftypcrx \0\0\0\0crx mif1" + bytes(9), "camera's raw"),
        ("scan.old", b"%PDF-1.7\n%more", "a PDF document"),
        ("film.mkv", b"", "film.mkv is empty"),
    ],
)
async def test_a_kind_that_is_not_read_says_so_and_nothing_is_sent(
    tmp_path: Path, name: str, data: bytes, what: str, typed: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        if typed:
            me.prompt.write(str(path))
        else:
            await paste(me, f"{path}\r")
        await me.press("enter")
        await me.until(lambda: any(what in notice for notice in me.notices))
        await me.press("enter")
        await me.until(lambda: me.prompt.text == "" and not me.session.tray)
        assert not engine.conversations
        assert not me.screen.transcript.turns


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
async def test_the_line_ends_of_a_paste_are_line_ends(end: str) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        await paste(me, end.join(["one", "", "\x1b[31mtwo", "three"]))
        await me.until(lambda: me.prompt.text == "one\n\ntwo\nthree")
        await me.press("enter")
        await me.answered()
        assert engine.conversations[0].messages[0].text == "one\n\ntwo\nthree"


async def test_letters_that_join_are_typed_kept_sent_and_shown() -> None:
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f467 \u200fa\u00a0b\u3000c"
    engine = FakeEngine(("\U0001f469\u200d\U0001f467",))
    stage = Stage(engine)
    async with stage.open() as me:
        for event in XTermParser().feed(text):
            me.stage.app.post_message(event)
        await me.until(lambda: me.prompt.text == text, "the letters never came")
        await me.press("enter")
        await me.answered()
        assert engine.conversations[0].messages[0].text == text
        assert [turn.text for turn in me.session.page()] == [text, "\U0001f469\u200d\U0001f467"]
        assert "\u200c" in me.seen()
        assert me.seen().count("\U0001f469\u200d\U0001f467") >= 2


async def test_letters_that_join_are_typed_beside_the_prompt_and_searched_for() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("hello")
        await me.answered()
        await me.press("shift+tab")
        assert not me.writes()
        for event in XTermParser().feed("\u3000"):
            me.stage.app.post_message(event)
        await me.until(lambda: me.prompt.text == "\u3000")
        await me.press("ctrl+l")
        await me.sees("Earlier chats")
        for event in XTermParser().feed("a\u200cb"):
            me.stage.app.post_message(event)
        await me.until(lambda: me.stage.app.screen.query_one(Input).value == "a\u200cb")


async def test_a_paste_over_the_limit_is_refused_and_what_is_there_stays() -> None:
    engine = FakeEngine(card=replace(FAKE_CARD, context_length=100))
    stage = Stage(engine)
    async with stage.open() as me:
        await me.until(lambda: me.session.facts.card is not None)
        await paste(me, "w" * 1000)
        await me.until(lambda: len(me.prompt.text) == 1000)
        await paste(me, "v" * 601)
        await me.until(lambda: any("the limit here is 1,600" in notice for notice in me.notices))
        assert me.prompt.text == "w" * 1000
        await paste(me, "v" * 600)
        await me.until(lambda: len(me.prompt.text) == 1600)
        me.prompt.insert("!")  # as typing does
        await me.press("enter")
        await me.until(lambda: len(me.notices) == 2)
        assert len(me.prompt.text) == 1601
        assert engine.conversations == []


async def test_a_picture_that_is_written_out_may_be_longer_than_a_text() -> None:
    engine = FakeEngine(card=replace(FAKE_CARD, context_length=100))
    stage = Stage(engine)
    async with stage.open() as me:
        await me.until(lambda: me.session.facts.card is not None)
        data = b64encode(png_bytes() + bytes(9000)).decode()
        await paste(me, f"data:image/png;base64,{data}\r")
        await chips(me, 1)
        assert me.prompt.text == ""
