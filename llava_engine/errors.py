"""What can go wrong for a user.

Each error is one cause and one remedy, both a plain sentence without a full path to our code. The command line prints
them and exits 1; the app shows them as a notice. Anything that is not a `LlavaError` is a bug and keeps its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llava_engine.terminal_safe import SafeText, strip_control

if TYPE_CHECKING:
    from llava_engine.plan import Plan


_LONGEST_CAUSE = 600  # letters: a few lines of a terminal


class LlavaError(Exception):
    """A user's error.

    Args:
        cause: what is wrong, one line, naming the file, URL or value.
        remedy: what to do about it, one line; empty when the cause says it already.

    Both quote names and words from outside, and end on terminals: they are stripped here, once for all.
    """

    cause: SafeText
    remedy: SafeText

    def __init__(self, cause: str, remedy: str = "") -> None:
        cause = strip_control(cause)
        if len(cause) > _LONGEST_CAUSE:  # it quotes a value from outside; both of its ends say most
            cause = f"{cause[: _LONGEST_CAUSE // 2]} … {cause[-_LONGEST_CAUSE // 2 :]}"
        self.cause = strip_control(cause)
        self.remedy = strip_control(remedy)
        super().__init__(f"{self.cause}\n{self.remedy}" if self.remedy else self.cause)


class UsageError(LlavaError, ValueError):
    """An option with a value that it can not have, whatever the machine and the model; the cause names the option."""


class PictureError(LlavaError):
    """A picture that can not be found, fetched, read or trusted."""


class ModelError(LlavaError):
    """A model folder that can not be found, read or trusted."""


class DeviceError(LlavaError):
    """A device, dtype or quantization that this machine does not have."""


class OutOfMemoryError(DeviceError):
    """A model, or a step of it, that needs more memory than there is.

    Args:
        cause, remedy: as for every error.
        plan: what the model takes and where, to be shown beside it.
    """

    def __init__(self, cause: str, remedy: str, plan: Plan) -> None:
        super().__init__(cause, remedy)
        self.plan = plan


class LoadCancelledError(LlavaError):
    """Loading was cancelled; everything that was loaded until then is freed."""

    def __init__(self) -> None:
        super().__init__("Loading was cancelled.")


class ContextOverflowError(LlavaError):
    """A conversation that does not fit the model's context.

    Args:
        tokens: how many tokens the prompt needs.
        limit: how many the model can hold.
        at_least: it was given up before all was counted.
    """

    def __init__(self, tokens: int, limit: int, *, at_least: bool = False) -> None:
        needs = f"at least {tokens:,}" if at_least else f"{tokens:,}"
        super().__init__(
            f"This conversation needs {needs} tokens, and the model can hold {limit:,}.",
            "Start a new chat, or use fewer pictures or a shorter message.",
        )
        self.tokens = tokens
        self.limit = limit


class EngineAwayError(LlavaError):
    """An engine elsewhere that can not be reached, refuses to answer, or broke off."""


class BusyError(LlavaError):
    """An engine with too many waiting already.

    Args:
        cause: as for every error.
        retry_after_s: when to ask again, in seconds.
    """

    def __init__(self, cause: str, retry_after_s: float) -> None:
        super().__init__(cause, f"Ask again in {max(1, round(retry_after_s))} s.")
        self.retry_after_s = retry_after_s


class ConversationError(LlavaError):
    """A conversation that a template can not write (wrong order of roles, an empty one, …)."""


class DataError(LlavaError):
    """Training or evaluation data that can not be used."""


class StorageError(LlavaError):
    """Files of ours that can not be written or read: no space, no permission, a broken database."""
