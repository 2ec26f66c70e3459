"""A chat as it goes on: send, stop, regenerate, edit, flip, attach, resume; what a screen does to it and sees of it.

Plain code over an engine, a store and a token pump. All methods are for one thread (the UI's) and return at once; that
thread calls `poll()` every 50 ms and shows the events it gets. It knows no Textual and no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from llava_engine.contract import EngineLike, LoadProgress, Sampling
from llava_engine.pictures.opening import Picture
from llava_tui.attachments import AttachmentTray, Source
from llava_tui.events import Event, Facts, Phase
from llava_tui.records import Chat, PictureRef, Turn
from llava_tui.store import Store

Loader = Callable[[Callable[[LoadProgress], None]], EngineLike]
"""Loads a model, telling its progress; raises LlavaError. Runs on the engine's thread."""


class ChatSession:
    """One conversation at a time, over one engine.

    Args:
        store: where chats are kept.
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
        raise NotImplementedError

    # Facts

    @property
    def phase(self) -> Phase:
        """no_model -> loading -> idle <-> answering -> stopping -> idle."""
        raise NotImplementedError

    @property
    def facts(self) -> Facts:
        """What the status line may say now. Cheap; equal when nothing changed."""
        raise NotImplementedError

    @property
    def chat(self) -> Chat | None:
        """The chat that is shown; None for a new one, which is made with its first message."""
        raise NotImplementedError

    @property
    def tray(self) -> AttachmentTray:
        """The pictures that go with the next message. Add and remove with `attach` and `detach`."""
        raise NotImplementedError

    def page(self, before: int | None = None, limit: int = 40) -> list[Turn]:
        """Turns of the shown branch, oldest first: the last ones, or those just before the turn `before`.

        The text of the answer that is being written is what was handed out by `poll()`.
        """
        raise NotImplementedError

    def picture(self, ref: PictureRef) -> Picture:
        """A picture of a kept turn, opened again. Slow, and safe in any thread: call it off the UI thread.

        Raises StorageError when its bytes are gone, PictureError when they can not be read.
        """
        raise NotImplementedError

    def poll(self) -> list[Event]:
        """What happened since the last call, in order. Call it every 50 ms; it also saves a growing answer."""
        raise NotImplementedError

    # What a person does

    def load(self, loader: Loader) -> None:
        """Load a model in the background. Messages sent meanwhile wait for it."""
        raise NotImplementedError

    def attach(self, source: Source) -> int:
        """Put a picture into the tray; the number of its chip. `Attached` or `AttachFailed` follows."""
        raise NotImplementedError

    def detach(self, number: int) -> None:
        """Take a picture out of the tray."""
        raise NotImplementedError

    def send(self, text: str) -> None:
        """Send a message with the pictures of the tray.

        It is saved at once and answered as soon as the model is ready and the answer before it has ended. While a
        picture is still being opened, it waits for that; should that fail, `Unsent` gives the text back.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """End the answer after its current token; what was said is kept, marked "cancelled". Idle: nothing happens."""
        raise NotImplementedError

    def regenerate(self, turn_id: int | None = None) -> None:
        """Answer again, as a new version beside the old one.

        `turn_id` is an answer, or a user's turn to be answered; None is the last of the shown branch.
        """
        raise NotImplementedError

    def edit(self, turn_id: int, text: str) -> None:
        """Send a user's turn again with another text and the same pictures, as a new version beside the old one."""
        raise NotImplementedError

    def flip(self, turn_id: int, step: int) -> None:
        """Show the version `step` before (negative) or after this turn, and what follows it. At an end: nothing."""
        raise NotImplementedError

    def new_chat(self) -> None:
        """Show a new, empty chat. An answer that is being written is stopped and kept. The tray stays."""
        raise NotImplementedError

    def open_chat(self, chat_id: int) -> None:
        """Show a kept chat. An answer that is being written is stopped and kept."""
        raise NotImplementedError

    def open_last(self) -> bool:
        """Show the chat that was used last; False when there is none."""
        raise NotImplementedError

    def rename_chat(self, chat_id: int, title: str) -> None:
        """Give a chat a title."""
        raise NotImplementedError

    def delete_chat(self, chat_id: int) -> None:
        """Delete a chat. When it is the one that is shown, a new, empty one is shown then."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop what runs, save what was said, close the store. Waits a second at most."""
        raise NotImplementedError
