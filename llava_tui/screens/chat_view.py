"""The chat as it is seen: what it is made of, and what each event of the session changes.

In: the session, looked at every 50 ms. What a person does is in `chat_screen.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.screen import Screen

from llava_engine.terminal_safe import SafeText, one_line
from llava_tui.history.turns import PictureRef, Turn
from llava_tui.samples import Sample
from llava_tui.session import events
from llava_tui.session.events import Event
from llava_tui.session.progress_words import progress_words
from llava_tui.session.session import ChatSession
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.pill import Pill
from llava_tui.widgets.prompt import Prompt
from llava_tui.widgets.status import Status
from llava_tui.widgets.transcript import Transcript
from llava_tui.widgets.turn import PictureDesk, TurnView
from llava_tui.widgets.welcome import Welcome
from llava_tui.widgets.words import Words

if TYPE_CHECKING:
    from PIL import Image
    from textual.notifications import SeverityLevel

BEAT = 0.05
"""Seconds between two looks at the session."""

HINTS = SafeText("Enter send · Ctrl+O picture · / commands · ? help")
HINTS_ANSWERING = SafeText("Esc stop · Enter send next")
HINTS_OPENING = SafeText("The message goes as soon as its pictures are open")
HINTS_HELD = SafeText("The message goes when the history is free")
HINTS_EDITING = SafeText("Enter send the changed message · Esc leave it")
HINTS_TURN = SafeText("y copy · r again · e edit · o open · ← → versions · Esc back")


TURN_EVENTS = (events.TurnAdded, events.AnswerGrew, events.TurnFinished)


class ChatView(Screen[None]):
    """Shows a session; arguments as for `ChatScreen`."""

    CSS_PATH = "chat_screen.tcss"
    AUTO_FOCUS = "PromptText"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (64, "-usual"), (108, "-wide")]  # noqa: RUF012 - no ClassVar there
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012

    def __init__(
        self, session: ChatSession, samples: list[Sample], *, tiny: bool, graphics: Graphics | None = None
    ) -> None:
        super().__init__()
        self.session = session
        self.desk = PictureDesk(self._open_picture, graphics)
        self.editing: Turn | None = None
        self._samples = samples
        self._tiny = tiny
        self._title = ""
        self._shown: object = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Words(SafeText("llava"), id="brand")
            yield Words(id="title")
        with Container(id="stage"):
            yield Welcome(self._samples, tiny=self._tiny, graphics=self.desk.graphics, id="welcome")
            yield Transcript(self.session.page, self.desk, id="transcript")
            yield Pill(id="pill")
        yield Prompt(id="prompt")
        yield Status(id="status")

    async def on_mount(self) -> None:
        await self._show_chat()
        self.run_worker(self._follow_session(), group="session")

    @property
    def transcript(self) -> Transcript:
        """The conversation."""
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        """Where one writes."""
        return self.query_one(Prompt)

    def edit(self, turn: Turn | None) -> None:
        """Change a message of the user in the prompt; None: no longer."""
        self.editing = turn
        self.prompt.set_class(turn is not None, "editing")
        if turn is not None:
            self.prompt.area.write(turn.text)
            self.prompt.area.focus()

    def notice(self, cause: SafeText, remedy: SafeText = SafeText(""), severity: SeverityLevel = "error") -> None:
        """Tell a person something, and go on."""
        text = "\n".join(line for line in (cause, remedy) if line)
        self.notify(text, severity=severity, markup=False, timeout=20 if severity == "error" else 5)

    async def _follow_session(self) -> None:
        """Look at the session again and again; in a worker, so that keys are answered while an answer is laid out."""
        try:
            while self.app.is_running:
                await self._show_all(self.session.poll())
                await self._show_facts()
                await asyncio.sleep(BEAT)
        except Exception:
            if self.app.is_running:  # otherwise the widgets went while it looked at them
                raise

    async def _show_all(self, batch: list[Event]) -> None:
        """Show what happened since the last look, in order.

        Where the chat or its branch is another one, the turns are read anew; that reading holds all that the batch
        tells of turns, so it takes the place of those events.
        """
        moved = [event for event in batch if isinstance(event, events.ChatChanged | events.BranchChanged)]
        for event in batch:
            if not (moved and isinstance(event, TURN_EVENTS)):
                await self._show(event)
        if len(moved) == 1 and isinstance(moved[0], events.BranchChanged):
            self._show_stage(empty=False)
            await self.transcript.change(moved[0].from_turn_id, self.session.page())
        elif moved:
            await self._show_chat()

    async def _show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case events.TurnAdded(turn):
                self._show_stage(empty=False)
                await self.transcript.add(turn)
            case events.AnswerGrew(turn_id, text):
                await self.transcript.grow(turn_id, text)
            case events.TurnFinished(turn):
                await self.transcript.finish(turn)
            case events.Unsent(text):
                self.prompt.area.give_back(text)
            case events.Notice(cause, remedy, severity):
                self.notice(cause, remedy, severity)
            case _:  # phase, loading, model and tray are shown from what they are now, not from how they changed
                pass

    async def _show_chat(self) -> None:
        """Show a chat from its end."""
        self.edit(None)
        turns = self.session.page()
        self.prompt.area.remember([turn.text for turn in turns if turn.role == "user" and turn.text])
        self._show_stage(empty=not turns)
        await self.transcript.show(turns)

    def _show_stage(self, *, empty: bool) -> None:
        """The transcript, or the welcome of an empty chat."""
        self.query_one("#welcome").display = empty
        self.transcript.display = not empty

    async def _show_facts(self) -> None:
        """What is true now, wherever it stands."""
        facts, tray, chat = self.session.facts, self.session.tray, self.session.chat
        turns = len(self.transcript.turns)
        now = (
            facts,
            tray.opening,
            tray.kept,
            tray.ready,
            chat,
            turns,
            isinstance(self.focused, TurnView),
            self.editing,
        )
        if now == self._shown:
            return
        self._shown = now
        self.query_one(Status).facts = facts
        if facts.card:
            self.query_one(Welcome).introduce(facts.card.about)
        tokens = facts.card.picture_tokens if facts.card and not facts.card.tiles else None
        await self.prompt.chips.show(tray, tokens, self.desk.graphics)
        self.transcript.wait(self._waits_for(facts))
        progress = facts.answer_progress
        self.transcript.progress(SafeText("") if progress is None else progress_words(progress))
        self._show_title()
        self._show_hint(facts)

    def _waits_for(self, facts: events.Facts) -> SafeText:
        if not facts.waiting:
            return SafeText("")
        if facts.phase == "loading":
            return SafeText("waits for the model to be loaded")
        return SafeText("waits for a model" if facts.phase == "no_model" else "waits for its turn")

    def _show_title(self) -> None:
        chat = self.session.chat
        title = one_line(chat.title) if chat and chat.title else SafeText("New chat")
        if title != self._title:
            self._title = title
            self.query_one("#title", Words).say(title)

    def _show_hint(self, facts: events.Facts) -> None:
        if isinstance(self.focused, TurnView):
            self.prompt.hint(HINTS_TURN)
        elif self.editing is not None:
            self.prompt.hint(HINTS_EDITING)
        elif facts.waiting and self.session.tray.opening:
            self.prompt.hint(HINTS_OPENING)
        elif facts.held:
            self.prompt.hint(HINTS_HELD)
        else:
            self.prompt.hint(HINTS_ANSWERING if facts.phase in ("answering", "stopping") else HINTS)

    def on_transcript_new_below(self, event: Transcript.NewBelow) -> None:
        self.query_one(Pill).display = event.new

    def _open_picture(self, ref: PictureRef) -> Image.Image:
        return self.session.picture(ref).image
