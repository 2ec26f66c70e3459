"""Hostile names and words in every outlet: nothing drawn or printed commands the terminal, nothing is markup."""

from __future__ import annotations

import ast
import dataclasses
import io
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.color import Color
from textual.widgets import Static

from llava_engine.contract import ModelCard
from llava_engine.errors import ModelError
from llava_engine.terminal_safe import strip_cells
from llava_tui.commands.answer_output import MarkdownOutput
from llava_tui.history.store import Store
from llava_tui.terminal.drawn_lines import SafeLines
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.fakes.fake_picture import fake_picture
from tests.llava_tui.conftest import Llava
from tests.llava_tui.stage import Person, Stage, drawn_file
from tests.source import calls, python_files

# A title, the clipboard by OSC 52, a wiped screen in 7 and in 8 bits, a reversed order, and Textual's markup.
EVIL = "\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\u202e\x08[red]hue[@click=app.bell]go"
MILD = "[red]hue[@click=app.bell]go"
"""What of it is words."""


def commands(text: str) -> list[str]:
    """The characters in it that a terminal obeys; told by Unicode's own tables."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return [
        character
        for character in text
        if (unicodedata.category(character) in ("Cc", "Cs") and character != "\n")
        or unicodedata.bidirectional(character) in turning
    ]


def looks_safe(me: Person) -> None:
    """What is drawn now is harmless, and nothing in it can be clicked that a name asked for."""
    for strip in me.stage.app.screen._compositor.render_strips():
        for segment in strip:
            assert not commands(segment.text), ascii(segment.text)
            assert segment.style is None or segment.style.meta.get("@click") != "app.bell"


@pytest.fixture
def only_what_is_stripped_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last look at each line, so that every outlet has to do its own part."""
    monkeypatch.setattr(SafeLines, "apply", lambda self, segments, background: segments)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path fits on a line, wherever the tests run."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


async def test_files_of_a_hostile_archive_are_harmless_in_the_picker(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, only_what_is_stripped_before: None
) -> None:
    folder = short_path / f"a{EVIL}"
    (folder / f"deep{EVIL}").mkdir(parents=True)
    drawn_file(folder, f"b{EVIL}\r\nc.png")
    (folder / "\x1b\x07").mkdir()  # a name that is nothing but control
    monkeypatch.chdir(folder)
    stage = Stage()
    async with stage.open((160, 30)) as me:
        await me.press("ctrl+o")
        await me.sees(f"b{MILD} c.png")
        looks_safe(me)
        assert f"deep{MILD}" in me.seen()
        assert f"/a{MILD}" in me.seen()  # the folder's own line
        await me.press("down", "down", "down")
        await me.sees("320×240")
        looks_safe(me)
        await me.press("enter")
        await me.until(lambda: len(me.session.tray.ready) == 1)
        await me.sees("picture 1")
        await me.pictures_shown()
        looks_safe(me)


async def test_names_and_words_of_a_chat_are_harmless(only_what_is_stripped_before: None) -> None:
    store = Store.in_memory()
    picture = dataclasses.replace(fake_picture(), name=f"n{EVIL}")
    chat = store.new_chat(f"title {EVIL}")
    question = store.add_turn(chat.id, None, "user", f"asked {EVIL}", pictures=[store.keep_picture(picture)])
    answer = store.add_turn(chat.id, question.id, "assistant", f"said {EVIL}")
    again = store.add_turn(chat.id, answer.id, "user", "again")
    broken = store.add_turn(chat.id, again.id, "assistant", "")
    store.finish_turn(broken.id, "", "failed", error=f"why {EVIL}")
    card: ModelCard = dataclasses.replace(FAKE_CARD, name=f"model {EVIL}", about=(f"about {EVIL}",))
    stage = Stage(FakeEngine((f"grown {EVIL} &#x1b;[2J &#x202e;end",), card=card), store=store, resume=True)
    async with stage.open((150, 50)) as me:
        for words in (f"title {MILD}", f"asked {MILD}", f"said {MILD}", f"why {MILD}", f"model {MILD}"):
            await me.sees(words)
        await me.pictures_shown()
        looks_safe(me)
        await me.says("more")
        await me.answered(3)
        await me.sees("end")
        looks_safe(me)
        await me.says("/history hue")
        await me.sees("Earlier chats")
        looks_safe(me)
        await me.press("escape")
        await me.until(me.is_back)
        await me.says("/new")
        await me.sees(f"about {MILD}")
        looks_safe(me)


@pytest.mark.parametrize("error", [ModelError(f"cause {EVIL}", f"remedy {EVIL}"), RuntimeError(f"bug {EVIL}")])
async def test_errors_are_harmless(error: Exception, only_what_is_stripped_before: None) -> None:
    stage = Stage(held=[error])
    async with stage.open((150, 30)) as me:
        await me.sees(MILD)
        looks_safe(me)


async def test_what_is_typed_after_a_command_is_harmless(only_what_is_stripped_before: None) -> None:
    stage = Stage()
    async with stage.open((150, 30)) as me:
        me.prompt.text = f"/theme {EVIL}"
        await me.press("enter")
        await me.sees("There is no theme")
        looks_safe(me)


async def test_a_widget_that_forgot_is_harmless_too() -> None:
    class Forgetful(App[None]):
        def compose(self) -> ComposeResult:
            yield Static(EVIL, markup=False)

    forgetful = Forgetful()
    async with forgetful.run_test() as pilot:
        await pilot.pause()
        drawn = [segment for strip in forgetful.screen._compositor.render_strips() for segment in strip]
        assert commands("".join(segment.text for segment in drawn))  # Textual alone passes it on
        safe = SafeLines().apply(drawn, Color(0, 0, 0))
        assert not commands("".join(segment.text for segment in safe))
        assert sum(map(Segment.cell_length.fget, safe)) == sum(map(Segment.cell_length.fget, drawn))  # type: ignore[attr-defined]
    stage = Stage()
    assert any(isinstance(line_filter, SafeLines) for line_filter in stage.app.get_line_filters())
    stage.session.close()


def test_cells_keep_their_letters() -> None:
    assert strip_cells("a\x1b[1m\tb\u200c\u200d\ne") == "a[1mb\u200c\u200de"


def test_markdown_of_ask_is_stripped_after_its_entities_are_read() -> None:
    stream = io.StringIO()
    with MarkdownOutput(Console(file=stream, force_terminal=False, width=60)) as output:
        output.feed("one &#x1b;]0;owned&#7; &#x9b;2J &#x202e;two `&#27;` &#8203;three\n\n```&#27;\nx\n```\n\nend")
    assert not commands(stream.getvalue()), ascii(stream.getvalue())
    assert "two &#27; three" in stream.getvalue()


def test_the_command_line_is_harmless(llava: Llava, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", f"xterm{EVIL}")
    monkeypatch.setenv("LLAVA_IMAGES", f"sixel{EVIL}")
    done = llava("doctor")
    assert MILD in done.out
    assert not commands(done.out)

    done = llava("ask", "-i", str(tmp_path / f"{EVIL}.png"), "-q", "What?")
    assert done.code == 1
    assert MILD in done.err
    assert not commands(done.err)

    done = llava("models", "show", str(tmp_path / EVIL))
    assert done.code == 1
    assert not commands(done.out + done.err)


def test_safe_text_is_made_of_literals_only() -> None:
    """Anything else goes through a function of terminal_safe.py, which strips it."""

    def literal(node: ast.expr) -> bool:
        if isinstance(node, ast.IfExp):
            return literal(node.body) and literal(node.orelse)
        return isinstance(node, ast.Constant)

    found = [
        f"{path}:{call.lineno}"
        for path in python_files("llava_engine", "llava_tui", "training")
        for name, call in calls(path)
        if name == "SafeText" and path != Path("llava_engine/terminal_safe.py") and not literal(call.args[0])
    ]
    assert not found


def test_commands_print_through_one_door() -> None:
    doors = {Path("llava_tui/commands/say.py"), Path("llava_tui/cli.py")}  # cli.py prints its own help and version
    found = [
        f"{path}:{call.lineno} {name}"
        for path in python_files("llava_tui")
        for name, call in calls(path)
        if name in ("typer.echo", "typer.secho", "print", "sys.stdout.write", "sys.stderr.write") and path not in doors
    ]
    assert not found
