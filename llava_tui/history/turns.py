"""What is kept of a chat, as plain values: chats, turns, references to pictures, what an answer took.

The store makes them, the session hands them on, the screens show them. They know no database and no screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llava_engine.contract import FinishReason, Reply
from llava_engine.conversation.conversation import Role

TurnStatus = Literal["complete", "streaming", "cancelled", "interrupted", "failed"]
"""How a turn ended: whole · still being written · stopped by the user, the partial is kept · its program died while it
was written, or its engine went away (`Turn.error` says so), the partial is kept · an error ended it (`Turn.error` says
which)."""


@dataclass(frozen=True)
class PictureRef:
    """A picture of a turn, by the hash of its bytes.

    Attributes:
        sha256: hex digest of the original bytes; `Store.picture_bytes` finds them by it.
        name: what it was called when it was attached.
        media_type: "image/png", "image/jpeg", …
        width: of the original, upright, in pixels.
        height: of the original, upright, in pixels.
        size: of the original file, in bytes.
        tokens: what it cost in the prompt, once an answer has told; None before.
    """

    sha256: str
    name: str
    media_type: str
    width: int
    height: int
    size: int
    tokens: int | None = None


@dataclass(frozen=True)
class ReplyStats:
    """What an answer took: `Reply` without its texts and ids, as it is kept, and the model that gave it."""

    finish_reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    picture_tokens: tuple[int, ...]
    time_to_first_token_s: float
    tokens_per_second: float
    model: str = ""

    @classmethod
    def of(cls, reply: Reply, model: str = "") -> ReplyStats:
        """The figures of a reply, and who gave it."""
        return cls(
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=reply.completion_tokens,
            picture_tokens=reply.picture_tokens,
            time_to_first_token_s=reply.time_to_first_token_s,
            tokens_per_second=reply.tokens_per_second,
            model=model,
        )


@dataclass(frozen=True)
class Turn:
    """One turn of a chat, somewhere in its tree.

    Attributes:
        id: its key; grows with time.
        chat_id: the chat it is of.
        parent_id: the turn before it; None for a first one.
        role: who speaks.
        text: what is said so far.
        status: see `TurnStatus`.
        pictures: in order.
        stats: what the answer took; None for a user's turn and until the answer ends.
        error: why a failed one failed, one or two lines; "" otherwise.
        created: seconds since the epoch.
        version: 1 for the oldest among the turns with the same parent.
        versions: how many turns have the same parent, this one counted.
    """

    id: int
    chat_id: int
    parent_id: int | None
    role: Role
    text: str
    status: TurnStatus
    pictures: tuple[PictureRef, ...]
    stats: ReplyStats | None
    error: str
    created: float
    version: int = 1
    versions: int = 1


@dataclass(frozen=True)
class Chat:
    """A chat as a list shows it.

    Attributes:
        id: its key.
        title: the user's, or the first line of the first question.
        created: seconds since the epoch.
        updated: when a turn was last added or finished, seconds since the epoch.
        turns: how many turns it has, on all branches.
        leaf_id: the last turn of the branch that was shown last; None while it has no turn.
        snippet: where a search found it: (text, is it what was searched for) pieces in order; empty without a search.
    """

    id: int
    title: str
    created: float
    updated: float
    turns: int
    leaf_id: int | None
    snippet: tuple[tuple[str, bool], ...] = ()
