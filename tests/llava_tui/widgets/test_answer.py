"""An answer that grows shows at its end what it would show had it come at once."""

from __future__ import annotations

import pytest
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownFence

from llava_tui.widgets.answer import AnswerText
from llava_tui.widgets.segments import LONG
from tests.llava_tui.widgets.bench import Bench

DOCUMENTS = {
    "fence": "Before\n\n```python\nprint('[x]')\n\nprint(2)\n```\n\nAfter\n",
    "open fence": "Before\n\n```\nnever closed\n\nstill in it",
    "nested list": "- one\n  - two\n    - three\n- four\n\nAfter\n",
    "fence in a list": "1. First\n\n   ```\n   code\n   ```\n\n2. Second\n",
    "table": "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nAfter\n",
    "setext": "Heading\n=======\n\nText\n",
    "link defined later": "See [the page][1] and [it][1].\n\nMore.\n\n[1]: https://example.org\n",
    "html": "One\n\n<div>two</div>\n\nthree <b>four</b> <image> five\n",
    "emphasis": "This is **very *much* so** and `code` too.\n",
    "quote": "> said\n> so\n\nand more\n",
}


async def shown(text: str) -> list[str]:
    """The screen of an answer that is there at once."""
    app = Bench(AnswerText(text))
    async with app.run_test(size=(60, 40)) as pilot:
        await pilot.pause()
        return app.seen()


async def streamed(text: str, step: int) -> list[str]:
    """The screen of an answer that came in pieces of `step` characters."""
    answer = AnswerText()
    app = Bench(answer)
    async with app.run_test(size=(60, 40)) as pilot:
        for start in range(0, len(text), step):
            await answer.append(text[start : start + step])
        await answer.finish()
        await pilot.pause()
        assert answer.text == text
        return app.seen()


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_streamed_it_shows_what_it_shows_at_once(name: str) -> None:
    text = DOCUMENTS[name]
    assert await streamed(text, 7) == await shown(text)


async def test_no_word_of_what_was_written_is_lost() -> None:
    lines = "\n".join(await shown(DOCUMENTS["html"]))
    for word in ("<div>two</div>", "<b>four</b>", "<image>", "five"):
        assert word in lines


async def test_console_markup_is_shown_as_it_is() -> None:
    assert "see [bold]this[/bold]" in "\n".join(await shown("see [bold]this[/bold]"))


async def test_a_long_answer_stands_in_several_widgets_and_is_all_there() -> None:
    text = "".join(f"Paragraph number {number} has some words in it.\n\n" for number in range(3 * LONG // 45))
    answer = AnswerText()
    app = Bench(answer)
    async with app.run_test(size=(60, 40)) as pilot:
        for start in range(0, len(text), 200):
            await answer.append(text[start : start + 200])
        await answer.finish()
        await pilot.pause()
        widgets = list(answer.query(Markdown))
        assert len(widgets) >= 3
        assert "".join(widget.source for widget in widgets) == text
        assert all(len(widget.source) < 2 * LONG for widget in widgets)


@pytest.mark.parametrize(
    ("href", "opened"),
    [("https://example.org/a", True), ("file:///etc/passwd", False), ("ssh://host", False)],
)
async def test_only_pages_of_the_web_are_opened(href: str, opened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []
    app = Bench(AnswerText(f"[here]({href})"))
    monkeypatch.setattr(app, "open_url", lambda url, **_: urls.append(url))
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.pause()
        await pilot.click(offset=(3, 0))
        await pilot.pause()
    assert urls == ([href] if opened else [])


async def test_code_of_no_named_language_is_not_guessed() -> None:
    """Guessing imports every lexer that there is, and holds the keys meanwhile."""
    code = "#!/usr/bin/python\nimport os\ndef f():\n    return os.name\n"
    for text in (f"```\n{code}```\n", "".join(f"    {line}\n" for line in code.splitlines())):
        app = Bench(AnswerText(text))
        async with app.run_test(size=(60, 40)) as pilot:
            await pilot.pause()
            assert [fence.lexer for fence in app.query(MarkdownFence)] == ["text"]
