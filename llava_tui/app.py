"""The full-screen app: puts session, screen, looks and palette together, and runs them. No chat logic.

The model is loaded after the first frame, on the session's thread; nothing here imports torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import App
from textual.command import Provider
from textual.driver import Driver
from textual.filter import LineFilter
from textual.worker import WorkerFailed

from llava_engine.contract import EngineLike, LoadProgress, Sampling
from llava_engine.opening import AUTO, EngineSource, Placement
from llava_tui import gc_pause
from llava_tui.commands.known_folders import remember_model
from llava_tui.crash import write_report
from llava_tui.history.store import Store
from llava_tui.history.turns import Chat
from llava_tui.paths import user_paths
from llava_tui.samples import samples
from llava_tui.screens.chat_screen import ChatScreen
from llava_tui.screens.palette import ChatCommands
from llava_tui.session.model_loader import LoadModel
from llava_tui.session.model_words import read_words
from llava_tui.session.session import ChatSession
from llava_tui.terminal.detect import detect
from llava_tui.terminal.drawn_lines import SafeLines
from llava_tui.terminal.probe import probe
from llava_tui.themes import EMBER, PAPER
from llava_tui.widgets.graphics import Graphics, graphics_for


class LlavaApp(App[None]):
    """The app around one session.

    Args:
        session: the chat.
        chats: searches the kept chats.
        loader: loads the model, once the first frame is there.
        pictures: paths or URLs to attach at once.
        tiny: the model is the one that comes with the package.
        graphics: makes pictures in the terminal's own protocol; None for half cells.
        still: the same for screens where nothing moves.
        drawn: pictures are shown at all; otherwise only their names.
        theme: the name of the colours to begin with.
        loader_for: what to load when a person says so after /model.

    Attributes:
        crash: what ended the app though it should not have; None otherwise.
    """

    TITLE = "llava"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {ChatCommands}
    DEFAULT_MODE = "chat"

    def __init__(
        self,
        session: ChatSession,
        chats: Callable[[str], list[Chat]],
        loader: LoadModel,
        *,
        pictures: Sequence[str] = (),
        tiny: bool = False,
        graphics: Graphics | None = None,
        still: Graphics | None = None,
        drawn: bool = True,
        theme: str = EMBER.name,
        loader_for: Callable[[str], LoadModel] | None = None,
    ) -> None:
        super().__init__()
        self.set_class(not drawn, "no-pictures")
        self.crash: BaseException | None = None
        self._session = session
        self._chats = chats
        self._loader = loader
        self._pictures = pictures
        self._tiny = tiny
        self._graphics = graphics
        self._still = still
        self._loader_for = loader_for
        self._safe_lines = SafeLines()
        for look in (EMBER, PAPER):
            self.register_theme(look)
        self.theme = theme
        self.add_mode("chat", self._chat_screen)

    def _chat_screen(self) -> ChatScreen:
        return ChatScreen(
            self._session,
            self._chats,
            samples(),
            tiny=self._tiny,
            graphics=self._graphics,
            still=self._still,
            loader_for=self._loader_for,
        )

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and after them the one that looks what is drawn."""
        return [*super().get_line_filters(), self._safe_lines]

    def get_driver_class(self) -> type[Driver]:
        """Textual's own choice, but for a driver that knows Esc sooner."""
        driver = super().get_driver_class()
        if sys.platform != "win32":
            from llava_tui.terminal.driver import QuickEscDriver

            if driver is QuickEscDriver.__base__:
                return QuickEscDriver
        return driver

    def on_ready(self) -> None:
        """The first frame is there."""
        for picture in self._pictures:
            self._session.attach(picture)
        self._session.load(self._loader)
        from textual.widgets import Markdown  # noqa: F401 - takes long, and the first answer should not wait for it

    def _handle_exception(self, error: Exception) -> None:
        """Textual's own report would print the values of local variables, a person's words among them."""
        if self.crash is None:
            self.crash = error.error if isinstance(error, WorkerFailed) else error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()


def run_chat(
    pictures: Sequence[str],
    *,
    source: EngineSource,
    placement: Placement = AUTO,
    resume: bool = False,
    system: str | None = None,
    sampling: Sampling | None = None,
) -> None:
    """Run the app until it is left.

    Args:
        pictures: paths or URLs to attach at once.
        source: the model to begin with.
        placement: where it goes, and in what form.
        resume: go on with the last conversation.
        system: the system text; None for the template's own.
        sampling: how answers are drawn.

    Raises:
        Exception: whatever the app did not foresee; a report of it is the caller's to write.
    """
    paths = user_paths()
    store = Store.open(paths.data)
    session = ChatSession(
        store, sampling=sampling, system=system, report_bug=lambda error: write_report(error, paths.state)
    )
    if resume:
        session.open_last()
    terminal = detect(os.environ, probe)  # before the app runs: afterwards a terminal's answers would be keys
    still = graphics_for(terminal.image_protocol)
    app = LlavaApp(
        session,
        store.chats,
        _loader(source, placement),
        pictures=pictures,
        tiny=source.model is None and source.engine is None,
        # Sixel pictures are sent anew with every frame of an answer below them: they would flicker in the transcript.
        graphics=None if terminal.image_protocol == "sixel" else still,
        still=still,
        drawn=terminal.image_protocol != "none",
        theme="ansi-dark" if terminal.colours == "16" else EMBER.name,
        loader_for=lambda words: loader_of(words, source, placement),
    )
    try:
        app.run()
    finally:
        session.close()
    if app.crash is not None:
        raise app.crash


def loader_of(words: str, source: EngineSource, placement: Placement) -> LoadModel:
    """What is typed after /model -> what to load.

    Raises:
        UsageError: an option is none, has no such value, or does not go with another.
        ModelError: a name leads nowhere: said now, while the model that answers is still there.
    """
    from llava_engine.backends.opening import check

    source, placement = read_words(words, source, placement)
    check(source, placement)
    return _loader(source, placement)


def _loader(source: EngineSource, placement: Placement) -> LoadModel:
    def load(on_progress: Callable[[LoadProgress], None]) -> EngineLike:
        from llava_engine.backends.opening import open_engine

        try:
            engine = open_engine(source, placement, on_progress=on_progress)
        finally:
            gc_pause.resume()
        remember_model(engine.card)
        return engine

    return load
