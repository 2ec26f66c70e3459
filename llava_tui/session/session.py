"""A chat as it goes on: send, stop, regenerate, edit, flip, attach, resume; what a screen does to it and sees of it.

Plain code over an engine, a store and a token pump. All methods are for one thread (the UI's) and return at once; that
thread calls `poll()` every 50 ms and shows the events it gets. It knows no Textual and no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from llava_engine.contract import Reply, Sampling, TokenCount
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture, open_picture
from llava_engine.terminal_safe import SafeText, strip_control
from llava_tui.history.store import Store
from llava_tui.history.turns import Chat, PictureRef, Turn
from llava_tui.session.attachments import AttachmentTray, FailedAttachment, Source
from llava_tui.session.context_meter import ContextMeter
from llava_tui.session.events import (
    AnswerGrew,
    Attached,
    AttachFailed,
    BranchChanged,
    ChatChanged,
    ChatTitled,
    Event,
    Facts,
    Notice,
    Phase,
    PhaseChanged,
    TurnAdded,
    TurnFinished,
    Unsent,
)
from llava_tui.session.growing_answer import Answer
from llava_tui.session.model_loader import LoadModel, ModelLoader
from llava_tui.session.outbox import Outbox, reason
from llava_tui.session.picture_shelf import PictureShelf
from llava_tui.session.prompts import Prompts

__all__ = ["ChatSession", "LoadModel"]

CLOSE_S = 1.0
_TITLE_LENGTH = 60


class ChatSession:
    """One conversation at a time, over one engine.

    Args:
        store: where chats are kept; closed with the session.
        sampling: how answers are drawn.
        system: the system text of new prompts; None for the template's own.
        open_source: source -> Picture, for the tray; the engine's `open_picture` when None.
        report_bug: writes a crash file for what is not a user's error, and says where it is; None where it could not.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        open_source: Callable[[Source], Picture] | None = None,
        report_bug: Callable[[BaseException], Path | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sampling = sampling or Sampling()
        self._clock = clock
        self._out = Outbox(report_bug)
        self._model = ModelLoader(self._out, ready=self._recount)
        self._meter = ContextMeter(self._model.submit, self._out.later)
        self._shelf = PictureShelf(store.picture_bytes)
        self._prompts = Prompts(
            store, self._shelf, system, lambda notice: self._out.later(lambda: self._out.add(notice))
        )
        self._tray = AttachmentTray(open_source or open_picture, store.keep_picture)
        self._chat: Chat | None = None
        self._leaf_id: int | None = None  # the end of the shown branch
        self._answer: Answer | None = None  # the one that is being written, perhaps in a chat that was left
        self._last: Answer | None = None  # the one before, for the status line
        self._to_answer: int | None = None  # a question of the shown branch that waits
        self._held: str | None = None  # a message that waits for its pictures
        self._told: Phase = "no_model"

    # Facts

    @property
    def phase(self) -> Phase:
        """no_model -> loading -> idle <-> answering -> stopping -> idle."""
        if self._answer is not None:
            return "stopping" if self._answer.pump.cancelled else "answering"
        if self._model.loading:
            return "loading"
        return "no_model" if self._model.engine is None else "idle"

    @property
    def facts(self) -> Facts:
        """What the status line may say now. Cheap; equal when nothing changed."""
        shown = self._answer or self._last
        card = self._model.engine.card if self._model.engine is not None else None
        count = self._meter.count
        growing = self._answer.pump.pieces if self._answer is not None else 0
        return Facts(
            phase=self.phase,
            card=card,
            progress=self._model.progress,
            tokens_per_second=shown.tokens_per_second if shown else None,
            time_to_first_token_s=shown.time_to_first_token_s if shown else None,
            context_used=count.total + growing if count else None,
            context_total=card.context_length if card else None,
            picture_tokens=sum(count.pictures) if count else 0,
            waiting=self._to_answer is not None or self._held is not None,
            saved=self._store.saved,
        )

    @property
    def chat(self) -> Chat | None:
        """The chat that is shown; None for a new one, which is made with its first message."""
        return self._chat

    @property
    def tray(self) -> AttachmentTray:
        """The pictures that go with the next message. Add and remove with `attach` and `detach`."""
        return self._tray

    def page(self, before: int | None = None, limit: int = 40) -> list[Turn]:
        """Turns of the shown branch, oldest first: the last ones, or those just before the turn `before`.

        The text of the answer that is being written is what was handed out by `poll()`.
        """
        if self._chat is None:
            return []
        turns = self._store.turns(self._chat.id, before, limit)
        growing = self._answer
        if growing is None:
            return turns
        return [replace(turn, text=growing.text) if turn.id == growing.turn.id else turn for turn in turns]

    def picture(self, ref: PictureRef) -> Picture:
        """A picture of a kept turn, opened again. Slow, and safe in any thread: call it off the UI thread.

        Raises StorageError when its bytes are gone, PictureError when they can not be read.
        """
        return self._shelf.get(ref)

    def poll(self) -> list[Event]:
        """What happened since the last call, in order. Call it every 50 ms; it also saves a growing answer."""
        self._out.settle()
        self._guarded(self._poll_tray)
        self._guarded(self._poll_answer)
        self._guarded(self._answer_if_ready)
        for notice in self._store.take_notices():
            self._out.tell(notice)
        if self.phase != self._told:
            self._told = self.phase
            self._out.add(PhaseChanged(self._told))
        return self._out.take()

    # What a person does

    def load(self, loader: LoadModel) -> None:
        """Load a model in the background. Messages sent meanwhile wait for it."""
        self.stop()
        self._model.load(loader)
        self._recount()

    def attach(self, source: Source, *, at_once: bool = True) -> int:
        """Put a picture into the tray; the number of its chip. `Attached` or `AttachFailed` follows.

        Not `at_once`: it is opened when the message is sent.
        """
        return self._tray.add(source, at_once=at_once)

    def detach(self, number: int) -> None:
        """Take a picture out of the tray."""
        self._tray.remove(number)

    def send(self, text: str) -> None:
        """Send a message with the pictures of the tray.

        It is saved at once and answered as soon as the model is ready and the answer before it has ended. While a
        picture is still being opened, it waits for that; should that fail, `Unsent` gives the text back.
        """
        self._tray.open_all()
        if self._tray.opening:
            self._held = text if self._held is None else f"{self._held}\n{text}"
        else:
            self._guarded(lambda: self._send(text))

    def stop(self) -> None:
        """End the answer after its current token; what was said is kept, marked "cancelled". Idle: nothing happens."""
        if self._answer is not None:
            self._answer.pump.cancel()

    def regenerate(self, turn_id: int | None = None) -> None:
        """Answer again, as a new version beside the old one. An answer that is being written is stopped.

        `turn_id` is an answer, or a user's turn to be answered; None is the last of the shown branch.
        """
        turn = self._turn(self._leaf_id if turn_id is None else turn_id)
        question_id = None if turn is None else turn.parent_id if turn.role == "assistant" else turn.id
        if question_id is None:
            self._out.add(Notice(SafeText("There is no question to answer yet."), severity="information"))
            return
        self.stop()
        self._to_answer = question_id
        self._guarded(self._answer_if_ready)

    def edit(self, turn_id: int, text: str) -> None:
        """Send a user's turn again with another text and the same pictures, as a new version beside the old one."""
        turn = self._turn(turn_id)
        if turn is None or turn.role != "user":
            self._out.add(Notice(SafeText("Only a question can be edited."), severity="information"))
            return
        self.stop()

        def fork() -> None:
            new = self._store.add_turn(
                turn.chat_id, turn.parent_id, "user", strip_control(text), pictures=turn.pictures
            )
            self._leaf_id = self._to_answer = new.id
            self._out.add(BranchChanged(new.id))
            self._answer_if_ready()

        self._guarded(fork)

    def flip(self, turn_id: int, step: int) -> None:
        """Show the version `step` before (negative) or after this turn, and what follows it. At an end: nothing."""
        if self._answering_here:
            self._out.add(Notice(SafeText("An answer is being written."), SafeText("Stop it first (Esc)."), "warning"))
            return

        def turn_over() -> None:
            versions = self._store.versions(turn_id)
            here = next((index for index, turn in enumerate(versions) if turn.id == turn_id), None)
            if here is None or not step or not 0 <= here + step < len(versions):
                return
            self._leaf_id = self._store.show_branch(versions[here + step].id).id
            self._to_answer = None  # a question that waited is out of sight; it can be answered when it is back
            self._out.add(BranchChanged(versions[here + step].id))
            self._recount()

        self._guarded(turn_over)

    def new_chat(self) -> None:
        """Show a new, empty chat. An answer that is being written is stopped and kept. The tray stays."""
        self._show(None)

    def open_chat(self, chat_id: int) -> None:
        """Show a kept chat. An answer that is being written is stopped and kept."""

        def show() -> None:
            chat = self._store.chat(chat_id)
            if chat is None:
                raise StorageError("That chat is not in the history any more.", "Open another, or a new one.")
            if self._answer is None or self._answer.turn.chat_id != chat_id:
                self._store.mark_interrupted(chat_id)
            self._show(chat)

        self._guarded(show)

    def open_last(self) -> bool:
        """Show the chat that was used last; False when there is none."""
        try:
            chat = self._store.last_chat()
        except StorageError as error:
            self._out.tell(error)
            return False
        if chat is not None:
            self.open_chat(chat.id)
        return chat is not None

    def rename_chat(self, chat_id: int, title: str) -> None:
        """Give a chat a title."""

        def rename() -> None:
            self._store.rename(chat_id, strip_control(title))
            self._refresh_chat()

        self._guarded(rename)

    def delete_chat(self, chat_id: int) -> None:
        """Delete a chat. When it is the one that is shown, a new, empty one is shown then."""
        if self._answer is not None and self._answer.turn.chat_id == chat_id:
            self._answer.abandoned = True
        if self._chat is not None and self._chat.id == chat_id:
            self._show(None)
        self._guarded(lambda: self._store.delete_chat(chat_id))

    def close(self) -> None:
        """Stop what runs, save what was said, close the store. Waits a second at most."""
        deadline = time.monotonic() + CLOSE_S
        self._to_answer = self._held = None
        self.stop()
        while self._answer is not None and time.monotonic() < deadline:
            self.poll()
            time.sleep(0.005)
        if self._answer is not None:
            answer, self._answer = self._answer, None
            self._guarded(lambda: self._store.finish_turn(answer.turn.id, answer.text, "cancelled"))
        self._model.close(max(0.0, deadline - time.monotonic()))
        self._store.close()

    # How: messages

    def _send(self, text: str) -> None:
        text = strip_control(text)
        attached = self._tray.ready
        if not text.strip() and not attached:
            return
        for attachment in attached:
            self._shelf.put(attachment.picture)
        # Kept when they were opened; again, should a chat that showed the same have been deleted since.
        pictures = [self._store.keep_picture(attachment.picture) for attachment in attached]
        if self._chat is None:
            self._chat = self._store.new_chat(_title(text, pictures))
        turn = self._store.add_turn(self._chat.id, self._leaf_id, "user", text, pictures=pictures)
        self._tray.clear()
        self._leaf_id = self._to_answer = turn.id
        self._out.add(TurnAdded(turn))
        self._refresh_chat()
        self._answer_if_ready()

    def _poll_tray(self) -> None:
        failed = False
        for result in self._tray.poll():
            if isinstance(result, FailedAttachment):
                failed = True
                self._out.add(AttachFailed(result.number))
                self._out.tell(result.error)
            else:
                self._out.add(Attached(result))
        if self._held is None:
            return
        if failed:
            self._out.add(Unsent(self._held))
            self._held = None
        elif not self._tray.opening:
            text, self._held = self._held, None
            self._send(text)

    # How: answers

    @property
    def _answering_here(self) -> bool:
        return self._answer is not None and self._chat is not None and self._answer.turn.chat_id == self._chat.id

    def _answer_if_ready(self) -> None:
        engine, question_id = self._model.engine, self._to_answer
        if engine is None or question_id is None or self._answer is not None or self._chat is None:
            return
        self._to_answer = None
        turn = self._store.add_turn(self._chat.id, question_id, "assistant", "", status="streaming")
        self._leaf_id = turn.id
        self._out.add(BranchChanged(turn.id) if turn.versions > 1 else TurnAdded(turn))
        counted = self._meter.expect()

        def stream(cancelled: Callable[[], bool]) -> Iterator[str | Reply]:
            conversation = self._prompts.up_to(question_id)
            counted(engine.count(conversation))
            yield from engine.stream(conversation, self._sampling, cancelled=cancelled)

        self._answer = Answer(turn, stream, self._model.submit, self._clock)

    def _poll_answer(self) -> None:
        answer = self._answer
        if answer is None:
            return
        grown = answer.take()
        if not answer.abandoned:
            if grown:
                self._out.add(AnswerGrew(answer.turn.id, grown))
            if answer.due:
                self._store.update_turn_text(answer.turn.id, answer.text)
                answer.saved()
        if answer.ended:
            self._answer, self._last = None, answer
            if not answer.abandoned:
                self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        if answer.error is not None:
            self._out.tell(answer.error)
        turn = self._store.finish_turn(
            answer.turn.id, answer.text, answer.status, reply=answer.reply, error=reason(answer.error)
        )
        self._out.add(TurnFinished(turn))
        if answer.reply is not None and self._leaf_id == turn.id:
            self._meter.settle(answer.reply)
        else:
            self._recount()
        self._refresh_chat()

    def _recount(self) -> None:
        """Find out in the background how long the shown branch is."""
        engine, leaf_id = self._model.engine, self._leaf_id
        if engine is None or self._answering_here:
            self._meter.empty()  # asked again when a model is there, or the answer has ended
        elif leaf_id is None:
            self._meter.empty()
            self._meter.count = TokenCount(0, ())
        else:
            self._meter.ask(lambda: engine.count(self._prompts.up_to(leaf_id)))

    # How: chats

    def _show(self, chat: Chat | None) -> None:
        self.stop()
        if self._held is not None:  # it was meant for the chat that is left
            self._out.add(Unsent(self._held))
        self._to_answer = self._held = self._last = None
        self._chat = chat
        self._leaf_id = chat.leaf_id if chat is not None else None
        self._out.add(ChatChanged(chat))
        self._recount()

    def _refresh_chat(self) -> None:
        """See what the store says of the shown chat now."""
        if self._chat is None:
            return
        before, self._chat = self._chat, self._store.chat(self._chat.id) or self._chat
        if before.turns == 0 or before.title != self._chat.title:
            self._out.add(ChatTitled(self._chat))

    def _turn(self, turn_id: int | None) -> Turn | None:
        try:
            return None if turn_id is None else self._store.turn(turn_id)
        except StorageError as error:
            self._out.tell(error)
            return None

    def _guarded(self, act: Callable[[], object]) -> None:
        """Do it; what the disk has against it becomes a notice."""
        try:
            act()
        except StorageError as error:
            self._out.tell(error)


def _title(text: str, pictures: list[PictureRef]) -> str:
    words = " ".join(text.split()) or ", ".join(ref.name for ref in pictures)
    return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1].rstrip() + "…"
