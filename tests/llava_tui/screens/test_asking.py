"""Asking: what is typed is sent, answered, stopped, asked again; and is never taken for anything but text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.worker import WorkerFailed

from llava_engine.contract import GREEDY, LoadProgress, Progress, Reply, Sampling, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import ModelError
from llava_tui.history.store import Store
from llava_tui.widgets.turn import AnswerView, QuestionView, TurnView
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.held_history import held
from tests.llava_tui.stage import Stage, drawn_file


async def test_a_question_is_answered() -> None:
    stage = Stage(FakeEngine(("It is ", "**red**.")))
    async with stage.open() as me:
        await me.says("What colour is it?")
        await me.answered()
        await me.sees("It is red.")
        assert me.prompt.text == ""


async def test_what_one_writes_is_never_markup() -> None:
    stage = Stage(FakeEngine(("[red]so[/red] \\[x]",)))
    async with stage.open() as me:
        me.prompt.write("[bold]What[/bold] is [/this] [link='x'] **here**")
        await me.press("enter")
        await me.answered()
        await me.sees("[bold]What[/bold] is [/this] [link='x'] **here**")
        await me.sees("[red]so[/red] [x]")


async def test_control_sequences_never_reach_the_screen() -> None:
    stage = Stage(FakeEngine(("\x1b[31mred\x1b[0m and \x1b]0;title\x07plain",)))
    async with stage.open() as me:
        await me.says("Say")
        await me.answered()
        await me.sees("red and plain")
        assert "\x1b" not in me.seen()


async def test_escape_stops_and_keeps_what_was_said() -> None:
    stage = Stage(FakeEngine(("It is ", threading.Event(), "never said")))
    async with stage.open() as me:
        await me.says("What is it?")
        await me.sees("It is")
        await me.press("escape")
        await me.answered()
        await me.sees("stopped")
        assert "It is" in me.seen()
        assert "never said" not in me.seen()


async def test_escape_without_an_answer_goes_back_to_the_prompt() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab")
        assert isinstance(me.screen.focused, TurnView)
        await me.press("escape")
        assert me.writes()


async def test_a_message_waits_visibly_for_the_model() -> None:
    loaded = threading.Event()
    stage = Stage(held=(LoadProgress("weights", 2_000_000, 4_000_000), loaded))
    async with stage.open() as me:
        await me.sees("2.0 MB of 4.0 MB")
        await me.says("What is it?")
        await me.sees("waits for the model to be loaded")
        loaded.set()
        await me.answered()
        await me.sees("It is red.")
        assert "waits" not in me.seen()


async def test_a_message_waits_visibly_for_the_answer_before_it() -> None:
    first = threading.Event()
    stage = Stage(FakeEngine(("One ", first, "done."), ("Two.",)))
    async with stage.open() as me:
        await me.says("First?")
        await me.sees("One")
        await me.says("Second?")
        await me.sees("waits for its turn")
        first.set()
        await me.answered(2)
        await me.sees("Two.")


async def test_a_model_that_can_not_be_loaded_is_a_notice_and_the_app_goes_on() -> None:
    stage = Stage(held=(ModelError("There is no model in [here].", "Say another folder."),))
    async with stage.open() as me:
        await me.sees("There is no model in [here].")
        await me.sees("Say another folder.")
        await me.sees("no model")
        await me.says("Still there?")
        await me.sees("waits for a model")


async def test_an_error_of_the_engine_is_told_and_the_conversation_goes_on() -> None:
    stage = Stage(FakeEngine((ModelError("No memory left.", "Use fewer pictures."),), ("Better.",)))
    async with stage.open() as me:
        await me.says("Once?")
        await me.answered()
        await me.sees("No memory left.")
        await me.says("Again?")
        await me.answered(2)
        await me.sees("Better.")


async def test_answering_again_makes_a_version_and_the_arrows_flip() -> None:
    stage = Stage(FakeEngine(("First version.",), ("Second version.",)))
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab", "r")
        await me.sees("Second version.")
        await me.answered()
        await me.sees("‹ 2 of 2 ›")
        assert "First version." not in me.seen()
        await me.press("shift+tab", "left")
        await me.sees("First version.")
        await me.sees("‹ 1 of 2 ›")


async def test_a_version_stays_in_hand_while_one_flips() -> None:
    stage = Stage(FakeEngine(("First version.",), ("Second version.",), ("Third version.",)))
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        for words in ("Second version.", "Third version."):
            await me.press("ctrl+r")
            await me.sees(words)
            await me.answered()
        await me.press("shift+tab", "left")
        await me.sees("Second version.")
        await me.press("left")
        await me.sees("First version.")
        await me.press("right")
        await me.sees("Second version.")


async def test_an_edited_question_forks_and_keeps_its_pictures(tmp_path: Path) -> None:
    engine = FakeEngine(("Red.",), ("Two.",))
    stage = Stage(engine, pictures=[str(drawn_file(tmp_path))])
    async with stage.open() as me:
        await me.until(lambda: bool(me.session.tray.ready))
        await me.says("What colour?")
        await me.answered()
        await me.press("shift+tab", "up", "e")
        await me.until(lambda: me.prompt.text == "What colour?")
        await me.sees("send the changed message")
        me.prompt.write("How many?")
        await me.press("enter")
        await me.sees("Two.")
        await me.answered()
        await me.sees("How many?")
        await me.sees("‹ 2 of 2 ›")
        assert [len(conversation.pictures) for conversation in engine.conversations] == [1, 1]
        assert engine.conversations[1].messages[-1].text == "How many?"


async def test_escape_leaves_the_editing() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What colour?")
        await me.answered()
        await me.says("/edit")
        await me.until(lambda: me.prompt.text == "What colour?")
        await me.press("escape")
        await me.until(lambda: me.prompt.text == "")
        assert me.screen.editing is None


async def test_up_brings_back_what_was_said() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("First thing")
        await me.answered(1)
        await me.says("Second thing")
        await me.answered(2)
        await me.press("up", "up")
        assert me.prompt.text == "First thing"


@pytest.mark.parametrize("word", ["exit", "quit", ":q", "/quit"])
async def test_words_that_leave(word: str) -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says(word)
        await me.until(lambda: not stage.app.is_running)


async def test_an_empty_message_is_not_sent() -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        await me.until(lambda: me.session.phase == "idle")
        await me.press("enter", "space", "enter")
        await me.pilot.pause()
        assert engine.conversations == []
        assert not me.screen.transcript.turns


async def test_a_new_chat_begins_empty() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("ctrl+n")
        await me.sees("New chat")
        await me.until(lambda: not me.screen.query(TurnView))


async def test_the_title_is_the_first_question() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What is on the table?")
        await me.answered()
        assert "What is on the table?" in me.seen().splitlines()[1]
        await me.says("/rename Kitchen")
        await me.until(lambda: "Kitchen" in me.seen().splitlines()[1])


async def test_the_keys_go_from_message_to_message_and_back() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab")
        assert isinstance(me.screen.focused, AnswerView)
        await me.press("up")
        assert isinstance(me.screen.focused, QuestionView)
        await me.press("down", "down")
        assert me.writes()


async def test_a_bug_ends_the_app_and_is_handed_to_the_caller() -> None:
    stage = Stage()
    with pytest.raises(WorkerFailed):
        async with stage.open() as me:

            def broken() -> list[object]:
                raise ZeroDivisionError("a bug")

            me.session.poll = broken  # type: ignore[assignment, method-assign]
            await me.until(lambda: stage.app.crash is not None)
    assert isinstance(stage.app.crash, ZeroDivisionError)


async def test_what_is_typed_beside_the_prompt_goes_into_it() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab")
        await me.types("what")
        assert me.prompt.text == "what"
        assert me.writes()


async def test_a_click_on_a_message_leaves_the_keys_to_the_prompt() -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.pilot.click(AnswerView)
        await me.types("red")
        assert me.prompt.text == "red"
        assert len(engine.conversations) == 1


async def test_a_click_on_an_arrow_flips_the_version() -> None:
    stage = Stage(FakeEngine(("First version.",), ("Second version.",)))
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("ctrl+r")
        await me.sees("‹ 2 of 2 ›")
        await me.answered()
        await me.pilot.click("AnswerView .note", offset=(0, 0))
        await me.sees("First version.")


async def test_what_comes_with_a_change_of_chat_is_shown_once() -> None:
    gate = threading.Event()
    said = threading.Event()

    class Telling(FakeEngine):
        def stream(
            self,
            conversation: Conversation,
            sampling: Sampling = GREEDY,
            *,
            begun: str = "",
            cancelled: Callable[[], bool] = never,
        ) -> Iterator[str | Progress | Reply]:
            for piece in super().stream(conversation, sampling, begun=begun, cancelled=cancelled):
                yield piece
                if isinstance(piece, str):
                    said.set()  # asked for more: the piece has arrived

    stage = Stage(Telling(("half",), ("grown ", "", gate)))
    async with stage.open() as me:
        await me.says("one")
        await me.answered()
        said.clear()
        me.session.new_chat()
        me.session.send("two")
        assert said.wait(10)  # nobody looks meanwhile: the change and the first words come in one look
        await me.sees("grown")
        await me.pilot.pause(0.2)
        assert me.seen().count("grown") == 1
        assert me.seen().count("two") == 1 + 1  # the title, and the question
        gate.set()
        await me.answered()


async def test_a_message_that_waits_for_the_history_is_told_as_long_as_it_waits(tmp_path: Path) -> None:
    stage = Stage(FakeEngine(("yes",)), store=Store.open(tmp_path))
    async with stage.open((60, 20)) as me:  # the narrowest status line has no room for it
        with held(tmp_path):
            await me.says("Is it red?")
            await me.until(lambda: "when the history is free" in me.hint)
            await me.types("meanwhile")  # keys are answered
            assert me.prompt.text == "meanwhile"
        await me.answered()
        await me.until(lambda: "Enter send" in me.hint)
        assert [turn.text for turn in me.screen.transcript.turns] == ["Is it red?", "yes"]
