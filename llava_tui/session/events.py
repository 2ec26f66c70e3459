"""What a session tells its screen: frozen values, handed out by `ChatSession.poll()`, and the facts of the status line.

Nothing here knows a screen. All text in events has been stripped of terminal control sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llava_engine.contract import LoadProgress, ModelCard, Progress
from llava_engine.terminal_safe import SafeText
from llava_tui.history.turns import Chat, Turn
from llava_tui.session.attachments import Attachment

Phase = Literal["no_model", "loading", "idle", "answering", "stopping"]


@dataclass(frozen=True)
class PhaseChanged:
    """The session went over to another phase."""

    phase: Phase


@dataclass(frozen=True)
class Loading:
    """The model is being loaded, and this is how far it is."""

    progress: LoadProgress


@dataclass(frozen=True)
class ModelReady:
    """The model is loaded and answers now."""

    card: ModelCard


@dataclass(frozen=True)
class ChatChanged:
    """Another chat is shown (opened, new, deleted): read it anew with `ChatSession.page()`. None: a new, empty one."""

    chat: Chat | None


@dataclass(frozen=True)
class ChatTitled:
    """The shown chat has another title, or is a new one that has just been made; its turns stay as they are."""

    chat: Chat


@dataclass(frozen=True)
class BranchChanged:
    """The shown branch of this chat is another one from `from_turn_id` on (a version was flipped, regenerated, edited).

    Everything before it stays as it is; `from_turn_id` is a turn of the new branch. Turns of the new branch from there
    on are to be read with `ChatSession.page()`, which holds what the other events of the same poll tell of turns; no
    `TurnAdded` is sent for those that were there already.
    """

    from_turn_id: int


@dataclass(frozen=True)
class TurnAdded:
    """A turn stands at the end of the shown branch: a user's, or an empty answer that will grow.

    One that was read with `ChatSession.page()` already stays as it is.
    """

    turn: Turn


@dataclass(frozen=True)
class AnswerGrew:
    """More text of the answer that is being written; to be appended."""

    turn_id: int
    text: str


@dataclass(frozen=True)
class TurnFinished:
    """An answer ended: whole, stopped, or failed. `turn.text` is all of it, and replaces what was appended."""

    turn: Turn


@dataclass(frozen=True)
class Attached:
    """A picture of the tray is open: its chip can show name, size and thumbnail."""

    attachment: Attachment


@dataclass(frozen=True)
class AttachFailed:
    """A picture could not be opened; its chip goes. A `Notice` says why."""

    number: int


@dataclass(frozen=True)
class Unsent:
    """A message that waited for its pictures was not sent, since one could not be opened: give the text back."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something a person should know: what is wrong, and what to do (may be empty)."""

    cause: SafeText
    remedy: SafeText = SafeText("")
    severity: Literal["information", "warning", "error"] = "error"


Event = (
    PhaseChanged
    | Loading
    | ModelReady
    | ChatChanged
    | ChatTitled
    | BranchChanged
    | TurnAdded
    | AnswerGrew
    | TurnFinished
    | Attached
    | AttachFailed
    | Unsent
    | Notice
)


@dataclass(frozen=True)
class Facts:
    """What a status line may say; each is true at the time of the last `poll()`.

    Attributes:
        phase: what is going on.
        card: the loaded model; None before.
        progress: how far loading is; None when not loading.
        answer_progress: how far the answer is before its first word, where that takes a while; None otherwise.
        tokens_per_second: while answering, measured over the last two seconds on the pieces that came (a piece is a
            token, or a few that only make text together); after it, the engine's own figure of the last answer.
        time_to_first_token_s: of this or the last answer; None until there was one.
        context_used: tokens of the shown branch, the growing answer included; None until counted.
        context_total: what the model can hold; None before it is loaded.
        picture_tokens: how many of `context_used` are pictures'.
        waiting: a message waits for the model, for the answer before it, or for its pictures.
        held: another program holds the history, and what waits waits for that.
        saved: chats are kept on disk (False: only in memory, a `Notice` has said why).
    """

    phase: Phase = "no_model"
    card: ModelCard | None = None
    progress: LoadProgress | None = None
    tokens_per_second: float | None = None
    time_to_first_token_s: float | None = None
    context_used: int | None = None
    context_total: int | None = None
    picture_tokens: int = 0
    waiting: bool = False
    held: bool = False
    saved: bool = True
    answer_progress: Progress | None = None
