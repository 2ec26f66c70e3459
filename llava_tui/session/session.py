"""A chat as it goes on: send, stop, regenerate, edit, flip, attach, resume; what a screen does to it and sees of it.

Plain code over an engine, a store and a token pump. All methods are for one thread (the UI's) and return at once; that
thread calls `poll()` every 50 ms and shows the events it gets. It knows no Textual and no torch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llava_engine.contract import ModelCard, Sampling
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture, open_picture
from llava_engine.terminal_safe import SafeText, strip_control
from llava_tui.history.kept_database import LockedError
from llava_tui.history.store import Store
from llava_tui.history.turns import Chat, PictureRef, Turn
from llava_tui.session.answering import Answering
from llava_tui.session.attachments import AttachmentTray, Source
from llava_tui.session.conversation_of import Conversations
from llava_tui.session.draft import Draft
from llava_tui.session.events import Event, Facts, Notice, Phase, PhaseChanged, Unsent
from llava_tui.session.model_loader import LoadModel, ModelLoader
from llava_tui.session.model_words import title_of
from llava_tui.session.outbox import Outbox
from llava_tui.session.picture_shelf import PictureShelf
from llava_tui.session.shown_branch import ShownBranch

CLOSE_S = 1.0


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
        self._out = Outbox(report_bug)
        self._model = ModelLoader(self._out, ready=lambda: self._answers.recount())
        self._shelf = PictureShelf(store.picture_bytes)
        conversations = Conversations(
            store, self._shelf, system, lambda notice: self._out.later(lambda: self._out.add(notice))
        )
        self._draft = Draft(self._out, open_source or open_picture, self._keep_early, lambda: self._card)
        self._branch = ShownBranch(store, self._out)
        self._answers = Answering(
            store, self._out, self._branch, self._model, conversations, sampling or Sampling(), clock
        )
        self._told: Phase = "no_model"
        self._told_locked = False

    # Facts

    @property
    def phase(self) -> Phase:
        """no_model -> loading -> idle <-> answering -> stopping -> idle."""
        if (growing := self._answers.growing) is not None:
            return "stopping" if growing.pump.cancelled else "answering"
        if self._model.loading:
            return "loading"
        return "no_model" if self._model.engine is None else "idle"

    @property
    def facts(self) -> Facts:
        """What the status line may say now. Cheap; equal when nothing changed."""
        growing, last = self._answers.growing, self._answers.last
        card, count = self._card, self._answers.meter.count
        own = last is not None and card is not None and last.model == title_of(card)  # not of the model before
        shown = growing or (last if own else None)
        return Facts(
            phase=self.phase,
            card=card,
            progress=self._model.progress,
            tokens_per_second=shown.tokens_per_second if shown else None,
            time_to_first_token_s=shown.time_to_first_token_s if shown else None,
            context_used=count.total + (growing.pump.pieces if growing else 0) if count else None,
            context_total=card.context_length if card else None,
            picture_tokens=sum(count.pictures) if count else 0,
            waiting=self._answers.question_id is not None or self._draft.waiting is not None,
            held=self._told_locked,
            saved=self._store.saved,
            answer_progress=growing.progress if growing else None,
        )

    @property
    def chat(self) -> Chat | None:
        """The chat that is shown; None for a new one, which is made with its first message."""
        return self._branch.chat

    @property
    def tray(self) -> AttachmentTray:
        """The pictures that go with the next message. Add and remove with `attach` and `detach`."""
        return self._draft.tray

    def page(self, before: int | None = None, limit: int = 40) -> list[Turn]:
        """Turns of the shown branch, oldest first: the last ones, or those just before the turn `before`.

        The text of the answer that is being written is what was handed out by `poll()`.
        """
        turns = self._branch.page(before, limit)
        growing = self._answers.growing
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
        self._patiently(self._poll_draft)
        self._guarded(self._answers.poll)
        self._patiently(self._answers.begin_if_ready)
        self._told_locked = self._told_locked and self.facts.waiting
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
        self._answers.recount()

    def attach(self, source: Source, *, at_once: bool = True) -> int | None:
        """Put a picture into the tray; the number of its chip. `Attached` or `AttachFailed` follows.

        Not `at_once`: it is opened when the message is sent. None: the model could not hold it, as a `Notice` says.
        """
        return self._draft.attach(source, at_once=at_once)

    def detach(self, number: int) -> None:
        """Take a picture out of the tray."""
        self._draft.tray.remove(number)

    def takes(self, letters: int) -> bool:
        """Whether a message may have so many letters; otherwise a `Notice` follows, and it should stay where it is."""
        return self._draft.takes(letters)

    def send(self, text: str) -> None:
        """Send a message with the pictures of the tray.

        It is saved at once and answered as soon as the model is ready and the answer before it has ended. While a
        picture is still being opened, or another program holds the history, it waits for that. `Unsent` gives the text
        back when a picture can not be opened, the history does not take it, or it is too long.
        """
        if not self._draft.takes(len(text)):
            self._out.add(Unsent(text))
        else:
            self._draft.hold(text)
            self._patiently(self._poll_draft)

    def stop(self) -> None:
        """End the answer after its current token; what was said is kept, marked "cancelled". Idle: nothing happens."""
        self._answers.stop()

    def regenerate(self, turn_id: int | None = None) -> None:
        """Answer again, as a new version beside the old one. An answer that is being written is stopped.

        `turn_id` is an answer, or a user's turn to be answered; None is the last of the shown branch.
        """
        turn = self._turn(self._branch.leaf_id if turn_id is None else turn_id)
        question_id = None if turn is None else turn.parent_id if turn.role == "assistant" else turn.id
        if question_id is None:
            self._out.add(Notice(SafeText("There is no question to answer yet."), severity="information"))
            return
        self.stop()
        self._patiently(lambda: self._answers.answer(question_id))

    def edit(self, turn_id: int, text: str) -> None:
        """Send a user's turn again with another text and the same pictures, as a new version beside the old one."""
        turn = self._turn(turn_id)
        if turn is None or turn.role != "user":
            self._out.add(Notice(SafeText("Only a question can be edited."), severity="information"))
            return
        if not self._draft.takes(len(text)):
            self._out.add(Unsent(text))
            return
        self.stop()
        try:
            version = self._branch.fork(turn, strip_control(text))
        except StorageError as error:
            self._out.tell(error)
            self._out.add(Unsent(text))
        else:
            self._patiently(lambda: self._answers.answer(version.id))

    def flip(self, turn_id: int, step: int) -> None:
        """Show the version `step` before (negative) or after this turn, and what follows it. At an end: nothing."""
        if self._answers.here:
            self._out.add(Notice(SafeText("An answer is being written."), SafeText("Stop it first (Esc)."), "warning"))
            return

        def turn_over() -> None:
            if self._branch.flip(turn_id, step):
                # A question that waited is out of sight; it can be answered when it is back.
                self._answers.question_id = None
                self._answers.recount()

        self._guarded(turn_over)

    def new_chat(self) -> None:
        """Show a new, empty chat. An answer that is being written is stopped and kept. The tray stays."""
        self._show(None)

    def open_chat(self, chat_id: int) -> None:
        """Show a kept chat. An answer that is being written is stopped and kept."""

        def show() -> None:
            chat = self._branch.kept(chat_id)
            if (growing := self._answers.growing) is None or growing.turn.chat_id != chat_id:
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
        self._guarded(lambda: self._branch.rename(chat_id, title))

    def delete_chat(self, chat_id: int) -> None:
        """Delete a chat; `bring_back` undoes it. When it is the one that is shown, an empty one is shown then."""
        self._guarded(lambda: self._answers.abandon(chat_id))
        if self._branch.chat is not None and self._branch.chat.id == chat_id:
            self._show(None)
        self._store.set_aside(chat_id)

    def bring_back(self) -> Chat | None:
        """The chat that was deleted last, until the program ends; None when there is none left."""
        return self._store.bring_back()

    def close(self) -> None:
        """Stop what runs, save what was said, close the store. Waits a second at most."""
        deadline = time.monotonic() + CLOSE_S
        while self._told_locked and time.monotonic() < deadline:
            self.poll()
            time.sleep(0.005)
        self._answers.question_id = self._draft.waiting = None
        self.stop()
        while self._answers.growing is not None and time.monotonic() < deadline:
            self.poll()
            time.sleep(0.005)
        self._guarded(self._answers.cut_off)
        self._model.close(max(0.0, deadline - time.monotonic()))
        self._store.close()

    def _send(self, text: str) -> None:
        attached = [attachment.picture for attachment in self._draft.tray.ready]
        if not text.strip() and not attached:
            return
        for picture in attached:
            self._shelf.put(picture)
        try:
            question = self._branch.ask(strip_control(text), attached)
        except LockedError:
            self._draft.waiting = text
            raise
        except StorageError:
            self._out.add(Unsent(text))
            raise
        self._draft.tray.clear()
        self._answers.answer(question.id)

    def _keep_early(self, picture: Picture) -> None:
        """Keep a picture while its message is still being written; where that can not be now, sending it will."""
        with contextlib.suppress(LockedError):
            self._store.keep_picture(picture)

    def _poll_draft(self) -> None:
        if (text := self._draft.poll()) is not None:
            self._send(text)

    @property
    def _card(self) -> ModelCard | None:
        return None if self._model.engine is None else self._model.engine.card

    def _show(self, chat: Chat | None) -> None:
        self.stop()
        self._draft.give_back()  # it was meant for the chat that is left
        self._answers.question_id = self._answers.last = None
        self._branch.show(chat)
        self._answers.recount()

    def _turn(self, turn_id: int | None) -> Turn | None:
        try:
            return None if turn_id is None else self._store.turn(turn_id)
        except StorageError as error:
            self._out.tell(error)
            return None

    def _patiently(self, act: Callable[[], object]) -> None:
        """Do it; where another program holds the history, what waits is tried again at each poll, and told once."""
        try:
            act()
        except LockedError as error:
            if not self._told_locked:
                self._out.add(
                    Notice(error.cause, SafeText("Your message waits, and goes as soon as that lets go."), "warning")
                )
            self._told_locked = True
        except StorageError as error:
            self._out.tell(error)

    def _guarded(self, act: Callable[[], object]) -> None:
        """Do it; what the disk has against it becomes a notice."""
        try:
            act()
        except StorageError as error:
            self._out.tell(error)
