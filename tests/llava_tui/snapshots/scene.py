"""A scene to be compared with its kept picture: a stage whose clock stands still, and what a person does on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from textual.pilot import Pilot

from llava_tui.widgets.prompt import PromptText
from tests.llava_tui.stage import Person, Stage


class Compare(Protocol):
    def __call__(
        self,
        app: object,
        *,
        terminal_size: tuple[int, int],
        run_before: Callable[[Pilot[None]], Awaitable[None]],
    ) -> bool:
        """Whether the screen is what was kept."""
        ...


def same(
    compare: Compare, stage: Stage, act: Callable[[Person], Awaitable[None]], size: tuple[int, int] = (100, 30)
) -> bool:
    """Run `act` on the stage and compare what stands on the screen then."""

    async def run(pilot: Pilot[None]) -> None:
        me = Person(stage, pilot)
        await me.until(lambda: bool(stage.app.screen.query(PromptText)))
        me.prompt.cursor_blink = False
        await me.pictures_shown()
        await act(me)
        await me.pilot.pause()

    try:
        return compare(stage.app, terminal_size=size, run_before=run)
    finally:
        stage.session.close()


def by_size(size: tuple[int, int]) -> str:
    """The name of a case: "80x24"."""
    return f"{size[0]}x{size[1]}"
