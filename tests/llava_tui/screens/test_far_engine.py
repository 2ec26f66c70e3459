"""The app over an engine that is elsewhere, through a real connection: what it says, stopping, losing, changing it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llava_engine.contract import EngineLike, LoadProgress
from llava_engine.opening import AUTO, EngineSource
from llava_tui.app import LlavaApp, loader_of
from llava_tui.history.store import Store
from llava_tui.session.session import ChatSession
from tests.fakes.far_server import PATIENCE_S, FarServer, Said
from tests.fakes.recorded_streams import RECORDED, TEXT
from tests.llava_tui.stage import Stage, drawn_file

OURS, UNKNOWN = RECORDED["llava"], RECORDED["llama-cpp-python"]
SIZE = (120, 30)


class FarStage(Stage):
    """The app as `llava chat --engine URL` starts it, with its history in memory."""

    def __init__(self, server: FarServer, pictures: tuple[str, ...] = ()) -> None:
        self.store = Store.in_memory()
        self.session = ChatSession(self.store)
        source = EngineSource(engine=server.url)

        def load(on_progress: Callable[[LoadProgress], None]) -> EngineLike:
            return loader_of("", source, AUTO)(on_progress)

        self.app = LlavaApp(
            self.session,
            self.store.chats,
            load,
            pictures=pictures,
            loader_for=lambda words: loader_of(words, source, AUTO),
        )


async def test_what_is_known_of_it_stands_on_the_screen() -> None:
    with FarServer(OURS) as server:
        async with FarStage(server).open(SIZE) as me:
            await me.sees(OURS.model)
            await me.sees(f"at {server.where}")
            await me.says("What is it?")
            await me.answered()
            await me.sees("A red círculo 日本 🦙.")
            await me.sees("590 of 4,096 tokens")
            [_, answer] = me.screen.transcript.turns
    assert answer.stats is not None
    assert answer.stats.model == f"{OURS.model} at {server.where}"


async def test_what_is_not_known_of_it_does_not_stand_there(tmp_path: Path) -> None:
    with FarServer(UNKNOWN) as server:
        async with FarStage(server, (str(drawn_file(tmp_path)),)).open(SIZE) as me:
            await me.until(lambda: me.session.phase == "idle" and bool(me.session.tray.ready))
            await me.says("What is it?")
            await me.answered()
            await me.sees("cut off")
            assert " of " not in me.seen().splitlines()[-1]
        assert server.questions[0].body["messages"][0]["content"][0]["type"] == "image_url"


async def test_escape_closes_the_connection_and_keeps_what_was_said() -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([OURS.stream[:900], forever]), Said([OURS.stream])) as server:
        async with FarStage(server).open(SIZE) as me:
            await me.says("What is it?")
            await me.sees("A red")
            await me.press("escape")
            await me.answered()
            await me.sees("stopped")
            assert server.left.wait(PATIENCE_S)
            assert "A red" in me.seen()
            await me.says("Again?")
            await me.answered(2)
            await me.sees(TEXT)


async def test_escape_is_heard_before_the_first_word() -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([forever])) as server:
        async with FarStage(server).open(SIZE) as me:
            await me.says("What is it?")
            await me.until(lambda: bool(server.questions))
            await me.press("escape")
            await me.answered()
            assert server.left.wait(PATIENCE_S)


async def test_a_server_that_goes_in_the_middle_is_told_and_what_was_said_stays() -> None:
    with FarServer(OURS, Said([OURS.stream[:900]], cut=True)) as server:
        async with FarStage(server).open(SIZE) as me:
            await me.says("What is it?")
            await me.answered()
            await me.sees("broke off")
            assert "A red" in me.seen()
            [_, answer] = me.screen.transcript.turns
    assert answer.status == "interrupted"
    assert answer.text.startswith("A red")


async def test_a_model_that_can_not_see_takes_no_pictures(tmp_path: Path) -> None:
    places = {"/api/show": {"capabilities": ["completion"], "model_info": {}}}
    with FarServer(RECORDED["ollama"], places=places) as server:
        async with FarStage(server).open(SIZE) as me:
            await me.until(lambda: me.session.phase == "idle")
            await me.types(f"/image {drawn_file(tmp_path)}")
            await me.press("enter")
            await me.until(lambda: any("can not see pictures" in notice for notice in me.notices))
            assert len(me.session.tray) == 0


async def test_another_server_is_asked_by_its_address() -> None:
    with FarServer(OURS) as first, FarServer(RECORDED["vllm"]) as second:
        async with FarStage(first).open(SIZE) as me:
            await me.sees(f"at {first.where}")
            me.prompt.write(f"/model {second.url}")
            await me.press("enter")
            await me.sees(f"at {second.where}")
            me.prompt.write("/model http://gpu 1")
            await me.press("enter")
            await me.until(lambda: bool(me.notices))
            me.prompt.write(f"/model {second.url} --quantize int8")
            await me.press("enter")
            await me.until(lambda: any("--quantize" in notice for notice in me.notices))
            assert f"at {second.where}" in me.seen()  # which stays


async def test_a_server_that_says_nothing_of_itself_keeps_nobody() -> None:
    forever = threading.Event()
    silent = {"/v1/models": Said([forever])}
    with FarServer(OURS, places=silent) as first, FarServer(RECORDED["vllm"]) as second:
        async with FarStage(first).open(SIZE) as me:
            await me.sees("asking the server")
            me.prompt.write(f"/model {second.url}")
            await me.press("enter")
            assert first.left.wait(PATIENCE_S)
            await me.sees(f"at {second.where}")


async def test_a_server_that_is_not_there_is_told() -> None:
    with FarServer(OURS) as server:
        pass
    async with FarStage(server).open(SIZE) as me:
        await me.until(lambda: any(server.where in notice for notice in me.notices))
        await me.sees("no model")
