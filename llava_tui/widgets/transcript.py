"""The conversation: a window of mounted turns over all that are known, which follows its end only when one is there.

In: turns, as the session tells them. Out: `Transcript.NewBelow` when something came that is out of sight. Older turns
are asked of `page` when one scrolls up to them, and turns far from sight are unmounted: a chat may be of any length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.layout import DockArrangeResult, WidgetPlacement
from textual.message import Message
from textual.scrollbar import ScrollBar
from textual.widget import Widget

from llava_engine.terminal_safe import SafeText
from llava_tui.history.turns import Turn
from llava_tui.widgets.turn import AnswerView, PictureDesk, QuestionView, TurnView
from llava_tui.widgets.window import CAP, OPENED, Window

NEAR = 3
"""Rows from an end at which the turns beyond it are fetched."""

SETTLED_S = 0.3
"""Seconds after which the turns of an opened chat have their full heights."""


class Transcript(VerticalScroll, can_focus=False):
    """The turns of the shown branch.

    Args:
        page: turns just before the turn with this key, oldest first; the last ones for None.
        desk: how turns show their pictures.
    """

    @dataclass
    class NewBelow(Message):
        """Whether something new stands below what is in sight."""

        new: bool

    def __init__(self, page: Callable[[int | None], list[Turn]], desk: PictureDesk, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.turns: list[Turn] = []
        self.window = Window(0, 0)
        self._page = page
        self._desk = desk
        self._lock = asyncio.Lock()
        self._following = True
        self._pivot: tuple[Widget, int] | None = None
        self._placements: list[WidgetPlacement] = []
        self._all_known = False
        self._going_on = False
        self._new_below = False

    @property
    def views(self) -> list[TurnView]:
        """The mounted turns, in order."""
        return list(self.query_children(TurnView))

    def view(self, turn_id: int) -> TurnView | None:
        """The mounted view of a turn."""
        return next((view for view in self.views if view.turn.id == turn_id), None)

    @property
    def following(self) -> bool:
        """Whether the end is in sight and stays there when it grows."""
        return self._following

    # What the session tells

    async def show(self, turns: Sequence[Turn]) -> None:
        """Another chat: these are its last turns."""
        async with self._lock:
            self.turns = list(turns)
            self._all_known = not turns
            self._pivot = None
            self._follow()
            async with self.batch():
                await self.remove_children(TurnView)
                await self._mount(Window.at_end(len(self.turns)))
        self.set_timer(SETTLED_S, self._look_around)  # they may not fill the screen

    async def change(self, from_turn_id: int, turns: Sequence[Turn]) -> None:
        """The branch is another one from this turn on; `turns` are the last ones of the new branch."""
        at = next((index for index, turn in enumerate(turns) if turn.id == from_turn_id), None)
        parent = turns[at].parent_id if at is not None else None
        kept = next((index + 1 for index, turn in enumerate(self.turns) if turn.id == parent), None)
        if at is None or (kept is None and parent is not None):
            await self.show(turns)
            return
        async with self._lock:
            self.turns[kept or 0 :] = turns[at:]
            if self.window.first > (kept or 0):
                window = Window.at_end(len(self.turns))
                gone = self.views
            else:
                window = Window(self.window.first, min(len(self.turns), self.window.first + CAP))
                gone = self.views[(kept or 0) - self.window.first :]
            in_hand = any(view.has_focus for view in gone)
            async with self.batch():
                for view in gone:
                    await view.remove()
                self.window = Window(window.first, window.first + len(self.views))
                await self._mount(window)
            if in_hand and (fresh := self.view(from_turn_id)):
                fresh.focus()

    async def add(self, turn: Turn) -> None:
        """A turn came to the end of the branch."""
        async with self._lock:
            if any(known.id == turn.id for known in self.turns[-2:]):
                return  # it was there when the turns were read
            self.turns.append(turn)
            total = len(self.turns)
            if self.window.last == total - 1:
                async with self.batch():
                    await self._mount(Window(max(self.window.first, total - CAP), total))
            self._news()

    async def grow(self, turn_id: int, text: str) -> None:
        """An answer grew by this text."""
        async with self._lock:
            known = next((turn for turn in reversed(self.turns) if turn.id == turn_id), None)
            if known is not None:
                self._remember(replace(known, text=known.text + text))
            view = self.view(turn_id)
            if isinstance(view, AnswerView):
                await view.grow(text)
            self._news()

    async def finish(self, turn: Turn) -> None:
        """An answer ended."""
        async with self._lock:
            self._remember(turn)
            view = self.view(turn.id)
            if isinstance(view, AnswerView):
                await view.finish(turn)
            self._price(turn)

    def wait(self, reason: SafeText) -> None:
        """The last question waits to be answered, for this reason; "" when it does not."""
        last = self.turns[-1].id if self.turns else None
        for view in self.views:
            if isinstance(view, QuestionView):
                view.wait(reason if view.turn.id == last else SafeText(""))

    def progress(self, words: SafeText) -> None:
        """How far the last answer is before its first word; "" when that is not said."""
        view = self.view(self.turns[-1].id) if self.turns else None
        if isinstance(view, AnswerView):
            view.progress(words)

    def latest(self) -> None:
        """Go to the end, and follow it."""
        self.run_worker(self._to_latest())

    async def _to_latest(self) -> None:
        async with self._lock:
            if self.window.last != len(self.turns):
                async with self.batch():
                    await self.remove_children(TurnView)
                    await self._mount(Window.at_end(len(self.turns)))
            self._follow()
            self.scroll_end(animate=False)

    def first(self) -> None:
        """Go to the first turn of all."""
        self.run_worker(self._to_first())

    async def _to_first(self) -> None:
        async with self._lock:
            while not self._all_known:
                self._know_older()
            if self.window.first > 0:
                async with self.batch():
                    await self.remove_children(TurnView)
                    await self._mount(Window(0, min(OPENED, len(self.turns))))
            self._following = False
            self._pivot = None
            self.scroll_home(animate=False)

    # The window

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        # First of all: what super() does may lay out, and that puts things where they were to be held.
        if new_value >= self.max_scroll_y and self.window.last == len(self.turns):
            self._follow()
        else:
            self._following = False
            self._hold()
        super().watch_scroll_y(old_value, new_value)
        self._look_around()

    def _look_around(self) -> None:
        """Fetch the turns beyond an end that is near; once, for however many steps of scrolling ask for it."""
        full = self.window.last - self.window.first >= CAP
        if self._going_on or not self.size or (full and self.max_scroll_y <= 2 * NEAR):
            return  # where all that may be mounted fits on the screen, both ends are near for ever
        if self.scroll_y <= NEAR and (self.window.first > 0 or not self._all_known):
            self._going_on = True
            self.run_worker(self._earlier())
        elif self.scroll_y >= self.max_scroll_y - NEAR and self.window.last < len(self.turns):
            self._going_on = True
            self.run_worker(self._later())

    async def _earlier(self) -> None:
        async with self._lock:
            if self.window.first == 0:
                self._know_older()
            await self._move(self.window.earlier())

    async def _later(self) -> None:
        async with self._lock:
            await self._move(self.window.later(len(self.turns)))

    def _know_older(self) -> None:
        if not self._all_known:
            older = self._page(self.turns[0].id if self.turns else None)
            self._all_known = not older
            self.turns[:0] = older
            self.window = self.window.shifted(len(older))

    async def _move(self, window: Window) -> None:
        """Mount and unmount turns at the two ends, what is in sight staying where it is."""
        if window != self.window:
            async with self.batch():
                await self._mount(window)
        self._going_on = False
        self.call_after_refresh(self._look_around)  # one may have come to the other end meanwhile

    async def _mount(self, window: Window) -> None:
        """Make the mounted turns those of `window`, which overlaps with or continues the ones before."""
        old, self.window = self.window, window
        views = self.views
        if not views:
            await self.mount_all([self._make(turn) for turn in self.turns[window.first : window.last]])
            return
        before = self.turns[window.first : max(window.first, old.first)]
        after = self.turns[min(window.last, old.last) : window.last]
        gone = views[: max(0, window.first - old.first)] + views[len(views) - max(0, old.last - window.last) :]
        if before:
            await self.mount_all([self._make(turn) for turn in before], before=views[0])
        if after:
            await self.mount_all([self._make(turn) for turn in after])
        for view in gone:
            await view.remove()

    def _make(self, turn: Turn) -> TurnView:
        return QuestionView(turn, self._desk) if turn.role == "user" else AnswerView(turn)

    def _remember(self, turn: Turn) -> None:
        for index in range(len(self.turns) - 1, -1, -1):
            if self.turns[index].id == turn.id:
                self.turns[index] = turn
                return

    def _price(self, answer: Turn) -> None:
        """An answer's figures say what each picture up to it cost; tell the ones of its own question."""
        question = self.view(answer.parent_id) if answer.parent_id is not None else None
        if answer.stats and isinstance(question, QuestionView) and question.turn.pictures:
            question.price(answer.stats.picture_tokens[-len(question.turn.pictures) :])

    # Following, or holding still

    def _follow(self) -> None:
        self._following = True
        self._pivot = None
        if self._new_below:
            self._new_below = False
            self.post_message(self.NewBelow(False))

    def _hold(self) -> None:
        """Remember the first turn in sight and where it stands, for when the layout changes around it."""
        top = self.scroll_offset.y
        for placement in self._placements:  # of the last layout; asking the widgets may begin another one
            if placement.region.bottom > top:
                self._pivot = (placement.widget, placement.region.y - top)
                return

    def _news(self) -> None:
        if not self._following and not self._new_below:
            self._new_below = True
            self.post_message(self.NewBelow(True))

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Lay the turns out, and in the same step scroll so that the end, or what is being read, stays in place.

        Scrolling after the layout would show one wrong frame; Textual's own anchor can not hold anything but the end.
        """
        result = super().arrange(size, optimal)
        self._placements = result.placements
        bottom = max(0, result.total_region.bottom - size.height)
        if self._following:
            self._scroll_silently(bottom)
        elif self._pivot is not None:
            view, offset = self._pivot
            place = next((placement for placement in result.placements if placement.widget is view), None)
            if place is not None:
                self._scroll_silently(min(bottom, max(0, place.region.y - offset)))
        return result

    def _scroll_silently(self, y: int) -> None:
        if round(self.scroll_y) != y:
            self.set_reactive(Widget.scroll_y, float(y))
            self.set_reactive(Widget.scroll_target_y, float(y))
            self.vertical_scrollbar.set_reactive(ScrollBar.position, float(y))
