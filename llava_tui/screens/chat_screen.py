"""The chat: transcript or welcome, prompt, status. What a person does becomes a call of the session.

What the session tells in turn is shown by `chat_view.py`; the logic of a chat is session.py's, the look that of
chat_screen.tcss.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from textual import on, work
from textual.events import Key

from llava_engine.errors import LlavaError
from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.commands.plan_lines import plan_lines
from llava_tui.history.turns import Chat, Turn
from llava_tui.samples import Sample
from llava_tui.screens.chat_view import ChatView
from llava_tui.screens.command_table import QUIT_WORDS, bindings, looks_like_slash, slash
from llava_tui.screens.help import HelpScreen
from llava_tui.screens.history import HistoryScreen
from llava_tui.screens.picture_picker import PicturePicker
from llava_tui.screens.picture_viewer import PictureViewer
from llava_tui.session.model_loader import LoadModel
from llava_tui.session.model_words import title_of
from llava_tui.session.pasted_pictures import find_sources, is_data_url, without_sources
from llava_tui.session.session import ChatSession
from llava_tui.terminal.clipboard import copy_text, paste_picture
from llava_tui.terminal.letters import letter
from llava_tui.widgets import messages
from llava_tui.widgets.graphics import Graphics


class ChatScreen(ChatView):
    """One conversation at a time.

    Args:
        session: what it shows and acts on.
        chats: searches the kept chats; all of them for "".
        samples: what the welcome offers.
        tiny: the model is the one that comes with the package.
        graphics: makes pictures in the terminal's own protocol; None for half cells.
        still: the same for screens where nothing moves.
        loader_for: what to load when a person says so after /model; None where there is but one model.
    """

    BINDINGS = bindings("chat")

    def __init__(
        self,
        session: ChatSession,
        chats: Callable[[str], list[Chat]],
        samples: list[Sample],
        *,
        tiny: bool,
        graphics: Graphics | None = None,
        still: Graphics | None = None,
        loader_for: Callable[[str], LoadModel] | None = None,
    ) -> None:
        super().__init__(session, samples, tiny=tiny, graphics=graphics)
        self._chats = chats
        self._loader_for = loader_for
        self._still = still

    # Writing

    def on_key(self, event: Key) -> None:
        """What is typed beside the prompt, and is no key of what has the focus, goes into the prompt."""
        if (typed := letter(event)) and event.key not in self.active_bindings:
            event.stop()
            self.prompt.area.focus()
            self.prompt.area.insert(typed)

    @on(messages.MessageSent)
    async def _sent(self, event: messages.MessageSent) -> None:
        text = event.text
        if command := slash(text):
            self.prompt.area.sent(text)
            what, argument = command
            await self.run_action(f"{what.action}({argument!r})" if argument and what.argument else what.action)
        elif looks_like_slash(text):
            unknown = one_line(f"There is no command {text.strip()}.")
            self.notice(unknown, SafeText("/ lists them. With a word before it, it is a message."), "warning")
        elif text.strip().lower() in QUIT_WORDS:
            self.app.exit()
        elif (found := find_sources(text)) and not without_sources(text, found):
            self.prompt.area.sent("")  # a path that a terminal typed instead of pasting it: a picture, not a message
            for source in found:
                self.session.attach(source.location)
        elif not self.session.takes(len(text)):
            pass  # it stays in the prompt
        elif self.editing is not None:
            self.prompt.area.sent(text)
            self.session.edit(self.editing.id, text)
            self.edit(None)
        elif text.strip() or len(self.session.tray):
            self.prompt.area.sent(text)
            self.session.send(text)
            self.transcript.latest()

    @on(messages.TextPasted)
    def _pasted(self, event: messages.TextPasted) -> None:
        """Pictures become chips. Of a text that only mentions some on other machines nothing is fetched before it is
        sent, and it stays whole: these may be words about an address, and the address may not answer.
        """
        if is_data_url(event.text.strip()):
            self.session.attach(event.text.strip())
            return
        if not self.session.takes(self.prompt.area.letters + len(event.text)):
            return  # it stays where it was copied
        found = find_sources(event.text)
        alone = bool(found) and not without_sources(event.text, found)
        taken = [source for source in found if alone or not source.fetched]
        for source in found:
            self.session.attach(source.location, at_once=source in taken)
        self.prompt.area.insert(strip_control(without_sources(event.text, taken) if taken else event.text))

    @on(messages.ClipboardWanted)
    @work(thread=True, exit_on_error=True)
    def _paste_picture(self) -> None:
        try:
            data = paste_picture(os.environ)
        except LlavaError as error:
            self.app.call_from_thread(self._paste_text, error)
        else:
            self.app.call_from_thread(self.session.attach, data)

    def _paste_text(self, error: LlavaError) -> None:
        """No picture could be had; what was copied inside the app is pasted, and otherwise the reason is told."""
        if text := self.app.clipboard:
            self.prompt.area.insert(text)
        else:
            self.notice(error.cause, error.remedy, "warning")

    @on(messages.ChipRemoved)
    def _chip_removed(self, event: messages.ChipRemoved) -> None:
        numbers = self.prompt.chips.numbers
        if event.number is not None:
            self.session.detach(event.number)
        elif numbers:
            self.session.detach(numbers[-1])

    @on(messages.SampleChosen)
    def _sample_chosen(self, event: messages.SampleChosen) -> None:
        self.session.attach(event.picture)
        self.session.send(event.question)
        self.prompt.area.focus()

    @on(messages.TurnCommand)
    def _turn_command(self, event: messages.TurnCommand) -> None:
        match event.command:
            case "copy":
                self._copy(event.turn.text)
            case "regenerate":
                self.session.regenerate(event.turn.id)
                self.prompt.area.focus()
            case "edit":
                self.edit(self._question_of(event.turn))
            case "flip":
                self.session.flip(event.turn.id, event.step)
            case "leave":
                self.prompt.area.focus()

    @on(messages.PicturesOpened)
    def _pictures_opened(self, event: messages.PicturesOpened) -> None:
        self.app.push_screen(PictureViewer(event.pictures, event.index, self._still))

    @on(messages.LatestWanted)
    def action_last(self) -> None:
        self.transcript.latest()

    @on(messages.HelpWanted)
    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    # Actions of the table of commands

    def action_attach(self, source: str = "") -> None:
        if not source:
            self.app.push_screen(PicturePicker(self._still), self._picked)
            return
        for location in [found.location for found in find_sources(source)] or [source]:
            self.session.attach(location)

    def _picked(self, path: str | None) -> None:
        if path:
            self.session.attach(path)

    def action_detach(self) -> None:
        for number in self.prompt.chips.numbers:
            self.session.detach(number)

    def action_stop(self) -> None:
        if self.session.phase == "answering":
            self.session.stop()
        elif self.editing is not None:
            self.prompt.area.sent("")
            self.edit(None)
        else:
            self.action_to_prompt()

    def action_to_prompt(self) -> None:
        self.prompt.area.focus()

    def action_regenerate(self) -> None:
        self.session.regenerate()
        self.transcript.latest()

    def action_edit(self) -> None:
        self.edit(next((turn for turn in reversed(self.transcript.turns) if turn.role == "user"), None))

    def action_copy(self) -> None:
        answers = [turn for turn in self.transcript.turns if turn.role == "assistant" and turn.text]
        if answers:
            self._copy(answers[-1].text)
        else:
            self.notice(SafeText("There is no answer to copy yet."), severity="information")

    def action_new(self) -> None:
        self.session.new_chat()
        self.prompt.area.focus()

    def action_history(self, words: str = "") -> None:
        self.app.push_screen(HistoryScreen(self._chats, self.session, words), self._resume)

    def _resume(self, chat_id: int | None) -> None:
        if chat_id is not None:
            self.session.open_chat(chat_id)

    def action_rename(self, title: str = "") -> None:
        if self.session.chat is None or not title:
            hint = SafeText("Say what to call this chat, once it has begun.")
            self.notice(hint, SafeText("/rename TITLE"), "information")
        else:
            self.session.rename_chat(self.session.chat.id, title)

    def action_model(self, words: str = "") -> None:
        card = self.session.facts.card
        if not words:
            lines = [] if card is None or card.plan is None else list(plan_lines(card.plan))
            title = "There is no model."
            if card is not None:
                title = title_of(card) if card.where else f"{card.name}, {card.device}, {card.kernel}"
                lines += card.notes if card.where else ()
            text = "\n".join([*lines, "/model FOLDER --quantize int8 loads another, /model URL asks a server."])
            self.notice(one_line(title), strip_control(text), "information")
        elif self._loader_for is not None:
            try:
                self.session.load(self._loader_for(words))
            except LlavaError as error:
                self.notice(error.cause, error.remedy, "warning")

    def action_theme(self, name: str = "") -> None:
        if not name:
            self.app.search_themes()
        elif name in self.app.available_themes:
            self.app.theme = name
        else:
            self.notice(one_line(f"There is no theme {name!r}."), SafeText("Ctrl+T lists them."), "warning")

    def action_page(self, step: int) -> None:
        if step < 0:
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)

    def action_first(self) -> None:
        self.transcript.first()

    async def action_quit(self) -> None:
        self.app.exit()

    # Parts of the above

    def _question_of(self, turn: Turn) -> Turn | None:
        """The user's turn that this is, or that this answers."""
        if turn.role == "user":
            return turn
        return next((other for other in self.transcript.turns if other.id == turn.parent_id), None)

    @work(thread=True, exit_on_error=True)
    def _copy(self, text: str) -> None:
        copied = copy_text(strip_control(text), os.environ, self._write_terminal)
        self.app.call_from_thread(self.notice, copied.message, severity="information")

    def _write_terminal(self, sequence: str) -> None:
        driver = self.app._driver  # Textual has no public way to send a sequence of one's own
        if driver is not None:
            self.app.call_from_thread(driver.write, sequence)
