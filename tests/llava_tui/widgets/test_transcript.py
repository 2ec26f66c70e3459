"""The transcript: few mounted turns of many, at the end when one is there, and still when one is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from PIL import Image
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from llava_tui.history.turns import Turn
from llava_tui.widgets.transcript import Transcript
from llava_tui.widgets.turn import PictureDesk
from llava_tui.widgets.window import CAP, OPENED


def turn(number: int, text: str = "", status: str = "complete", parent: int | None = None) -> Turn:
    """The `number`th turn: odd ones are questions."""
    return Turn(
        id=number,
        chat_id=1,
        parent_id=parent if parent is not None else (number - 1 or None),
        role="user" if number % 2 else "assistant",
        text=text or f"turn {number}",
        status="streaming" if status == "streaming" else "complete",
        pictures=(),
        stats=None,
        error="",
        created=0.0,
    )


def chat(total: int) -> list[Turn]:
    return [turn(number) for number in range(1, total + 1)]


class Hall(App[None]):
    """A transcript over a list of turns."""

    def __init__(self, turns: list[Turn]) -> None:
        super().__init__()
        self.kept = turns
        self.news: list[bool] = []

    def compose(self) -> ComposeResult:
        yield Transcript(self.page, PictureDesk(lambda ref: Image.new("RGB", (ref.width, ref.height))))

    def page(self, before: int | None = None) -> list[Turn]:
        return [turn for turn in self.kept if before is None or turn.id < before][-40:]

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def mounted(self) -> list[int]:
        return [view.turn.id for view in self.transcript.views]

    def on_transcript_new_below(self, event: Transcript.NewBelow) -> None:
        self.news.append(event.new)

    def top(self) -> str:
        """The first turn in sight, and where it stands."""
        scrolled = self.transcript.scroll_offset.y
        for view in self.transcript.views:
            if view.virtual_region.bottom > scrolled:
                return f"{view.turn.id} at {view.virtual_region.y - scrolled}"
        return "nothing"


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await asyncio.sleep(0.02)
        await pilot.pause()


async def until(pilot: Pilot[None], enough: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not enough():
            await settle(pilot)


async def moved(pilot: Pilot[None], app: Hall, ends: tuple[int, int]) -> None:
    """Wait until other turns are mounted than between these two."""
    await until(pilot, lambda: (app.mounted[0], app.mounted[-1]) != ends)


async def test_a_long_chat_opens_at_its_end_with_few_turns() -> None:
    app = Hall(chat(1000))
    async with app.run_test(size=(80, 10)) as pilot:
        await app.transcript.show(app.page())
        await settle(pilot)
        assert app.mounted == list(range(1001 - OPENED, 1001))
        assert app.transcript.is_vertical_scroll_end
        assert app.transcript.following


async def test_scrolling_up_goes_through_the_whole_chat_and_never_mounts_more_than_the_cap() -> None:
    app = Hall(chat(70))
    async with app.run_test(size=(80, 24)) as pilot:
        await app.transcript.show(app.page())
        await settle(pilot)
        most = 0

        def at_the_first() -> bool:
            nonlocal most
            most = max(most, len(app.mounted))
            app.transcript.scroll_to(y=max(0, app.transcript.scroll_y - 40), animate=False)
            return app.mounted[0] == 1

        await until(pilot, at_the_first)
        assert most <= CAP
        assert app.mounted == list(range(1, len(app.mounted) + 1))

        def at_the_last() -> bool:
            nonlocal most
            most = max(most, len(app.mounted))
            app.transcript.scroll_to(y=app.transcript.scroll_y + 40, animate=False)
            return app.mounted[-1] == 70

        await until(pilot, at_the_last)
        assert most <= CAP


async def test_what_one_reads_stays_where_it_is_when_turns_come_and_go() -> None:
    app = Hall(chat(200))
    async with app.run_test(size=(80, 10)) as pilot:
        await app.transcript.show(app.page())
        await settle(pilot)
        for y in (2, 0, 3, 0, 1, 2):  # near the upper end, again and again
            ends = app.mounted[0], app.mounted[-1]
            app.transcript.scroll_to(y=y, animate=False, immediate=True)
            before = app.top()
            await moved(pilot, app, ends)
            await settle(pilot)
            assert app.top() == before
        for up in (2, 0, 3):  # and near the lower one, with turns leaving above
            ends = app.mounted[0], app.mounted[-1]
            app.transcript.scroll_to(y=app.transcript.max_scroll_y - up, animate=False, immediate=True)
            before = app.top()
            await moved(pilot, app, ends)
            await settle(pilot)
            assert app.top() == before


async def test_a_screen_that_is_not_filled_gets_older_turns() -> None:
    app = Hall(chat(100))
    async with app.run_test(size=(80, 50)) as pilot:
        await app.transcript.show(app.page())
        await until(pilot, lambda: len(app.mounted) > 20)
        await settle(pilot)
        assert app.mounted[-1] == 100
        assert app.transcript.following


async def test_where_all_that_may_be_mounted_fits_it_stays_at_rest() -> None:
    app = Hall(chat(100))
    async with app.run_test(size=(80, 150)) as pilot:
        await app.transcript.show(app.page())
        await until(pilot, lambda: len(app.mounted) == CAP)
        for _ in range(5):
            await settle(pilot)
            assert app.mounted == list(range(61, 101))


async def test_at_the_end_it_follows_an_answer_that_grows() -> None:
    app = Hall(chat(30))
    async with app.run_test(size=(80, 24)) as pilot:
        await app.transcript.show(app.page())
        await app.transcript.add(turn(31))
        await app.transcript.add(turn(32, " ", "streaming"))
        for _ in range(20):
            await app.transcript.grow(32, "More words.\n\n")
        await settle(pilot)
        assert app.transcript.is_vertical_scroll_end
        assert app.transcript.max_scroll_y > 20
        assert app.news == []


async def test_away_from_the_end_nothing_moves_and_the_news_are_told() -> None:
    app = Hall(chat(30))
    async with app.run_test(size=(80, 10)) as pilot:
        await app.transcript.show(app.page())
        await settle(pilot)
        app.transcript.scroll_to(y=5, animate=False, immediate=True)
        await settle(pilot)
        before = app.top()
        await app.transcript.add(turn(31))
        await app.transcript.add(turn(32, " ", "streaming"))
        for _ in range(20):
            await app.transcript.grow(32, "More words.\n\n")
        await settle(pilot)
        assert app.top() == before
        assert app.news == [True]
        app.transcript.latest()
        await until(pilot, lambda: app.transcript.is_vertical_scroll_end and app.transcript.following)
        assert app.mounted[-1] == 32
        assert app.news == [True, False]


async def test_a_finished_answer_shows_all_of_its_text() -> None:
    app = Hall(chat(1))
    async with app.run_test(size=(80, 24)) as pilot:
        await app.transcript.show(app.page())
        await app.transcript.add(turn(2, " ", "streaming"))
        await app.transcript.grow(2, "It is")
        await app.transcript.finish(turn(2, "Something else."))
        await settle(pilot)
        (_, view) = app.transcript.views
        assert view.turn.text == "Something else."
        assert "Something else." in "".join(
            segment.text for strip in app.screen._compositor.render_strips() for segment in strip
        )


async def test_a_turn_that_was_read_already_is_not_shown_twice() -> None:
    app = Hall(chat(4))
    async with app.run_test(size=(80, 24)):
        await app.transcript.show(app.page())
        await app.transcript.add(turn(4))
        assert app.mounted == [1, 2, 3, 4]


async def test_another_branch_takes_the_place_of_what_followed() -> None:
    app = Hall(chat(6))
    async with app.run_test(size=(80, 24)):
        await app.transcript.show(app.page())
        first, second = app.transcript.views[:2]
        await app.transcript.change(7, [turn(1), turn(2), turn(7, parent=2), turn(8)])
        assert app.mounted == [1, 2, 7, 8]
        assert app.transcript.views[:2] == [first, second]  # what stays the same is not made anew


async def test_another_branch_from_the_first_turn_on() -> None:
    app = Hall(chat(2))
    async with app.run_test(size=(80, 24)):
        await app.transcript.show(app.page())
        other = turn(3, "other")
        first = Turn(**{**other.__dict__, "parent_id": None})
        await app.transcript.change(3, [first, turn(4, parent=3)])
        assert app.mounted == [3, 4]


async def test_a_resize_keeps_what_one_reads() -> None:
    app = Hall([turn(number, f"{number} " + "words " * 40) for number in range(1, 31)])
    async with app.run_test(size=(80, 24)) as pilot:
        await app.transcript.show(app.page())
        await settle(pilot)
        app.transcript.scroll_to(y=30, animate=False, immediate=True)
        await settle(pilot)
        before = app.top().split()[0]
        await pilot.resize_terminal(60, 30)
        await settle(pilot)
        assert app.top().split()[0] == before


async def test_home_goes_to_the_first_turn_of_all_and_end_back() -> None:
    app = Hall(chat(300))
    async with app.run_test(size=(80, 24)) as pilot:
        await app.transcript.show(app.page())
        await settle(pilot)
        app.transcript.first()
        await until(pilot, lambda: app.mounted[0] == 1 and app.transcript.scroll_y == 0)
        assert len(app.mounted) <= CAP
        assert not app.transcript.following
        app.transcript.latest()
        await until(pilot, lambda: app.mounted[-1] == 300 and app.transcript.is_vertical_scroll_end)
        assert len(app.mounted) <= CAP


async def test_an_answer_that_grew_out_of_sight_is_whole_when_one_comes_back() -> None:
    app = Hall(chat(300))
    async with app.run_test(size=(80, 24)) as pilot:
        await app.transcript.show(app.page())
        await app.transcript.add(turn(301))
        await app.transcript.add(turn(302, " ", "streaming"))
        app.transcript.first()
        await until(pilot, lambda: app.mounted[0] == 1)
        await app.transcript.grow(302, "Written while nobody looked.")
        app.transcript.latest()
        await until(pilot, lambda: app.mounted[-1] == 302)
        await settle(pilot)
        text = "".join(segment.text for strip in app.screen._compositor.render_strips() for segment in strip)
        assert "Written while nobody looked." in text
