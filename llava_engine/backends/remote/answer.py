"""An answer as it comes over the wire: the head is a 200, content follows -> text pieces, and at last what it took."""

from __future__ import annotations

import time
from collections.abc import Iterator

from llava_engine.backends.remote.chunks import Chunk, Usage, chunk_of
from llava_engine.backends.remote.events import Event, EventReader, TooLongError
from llava_engine.backends.remote.problems import Problems
from llava_engine.backends.remote.server import Head, broke_off, parsed
from llava_engine.contract import FinishReason, Reply
from llava_engine.errors import EngineAwayError
from llava_engine.terminal_safe import ControlStripper, one_line

MOST_LETTERS = 2_000_000
"""Of one answer, several times what the longest contexts hold; a server that goes on is cut."""

_BURST_S = 0.01  # what comes at once says nothing of how fast it was made
_WHOLE_BYTES = 2**24  # of an answer in one piece
_ENDED_BY_LENGTH = ("length", "max_tokens", "max_output_tokens", "model_length")
_BROKEN = ("error", "abort", "aborted", "cancelled", "canceled")
_DONE = "[DONE]"


class Answer:
    """One answer.

    Args:
        where: which server, for errors.
        problems: its errors.
        started: when the question was asked, as `time.perf_counter` has it.

    Attributes:
        over: it is complete; nothing that follows is read.
        usage: what it took, where the server says so.
    """

    def __init__(self, where: str, problems: Problems, started: float) -> None:
        self._where = where
        self._problems = problems
        self._started = started
        self._events = EventReader()
        self._whole: bytearray | None = None  # of a server that does not stream
        self._stripper = ControlStripper()
        self._high = ""  # half of a letter beyond the first 65,536, which some send in two events
        self._said: list[str] = []
        self._letters = 0
        self._pieces = 0
        self._first_at = self._last_at = 0.0
        self._finish = ""
        self._called = self._thought = False
        self.over = False
        self.usage: Usage | None = None

    def begin(self, head: Head) -> None:
        """What kind of answer it is.

        Raises:
            EngineAwayError: none that an engine gives.
        """
        if head.kind == "text/html":
            raise EngineAwayError(
                f"{self._where} answers with a web page.", "Give the address of an engine, not of a page."
            )
        self._whole = bytearray() if head.kind == "application/json" else None

    def push(self, content: bytes) -> Iterator[str]:
        """The text that comes with this content.

        Raises:
            LlavaError: the server says what went wrong, or sends what is no answer. What was said stays said.
        """
        if self._whole is not None:
            self._whole += content
            if len(self._whole) > _WHOLE_BYTES:
                raise self._nonsense()
            return
        try:
            events = self._events.push(content)
        except TooLongError:
            raise self._nonsense() from None
        for event in events:
            yield from self._take(event)

    def end(self, broken: EngineAwayError | None = None) -> Iterator[str]:
        """No more comes: the text that was left.

        Args:
            broken: why no more comes, where the connection broke.

        Raises:
            LlavaError: as `push`; or the answer is not complete.
        """
        if self._whole is not None:
            if broken is not None:
                raise broken
            yield from self._take_json(bytes(self._whole))
            self.over = True
        else:
            for event in self._events.end():
                if event.data.strip() != _DONE and parsed(event.data) is None:
                    break  # it was cut in two
                yield from self._take(event)
        if not self.complete:
            raise broken or broke_off(self._where)
        self._check_end()

    @property
    def complete(self) -> bool:
        """Whether the model has ended it."""
        return self.over or bool(self._finish)

    def reply(self, *, cancelled: bool = False) -> Reply:
        """What was said, and what it took; 0 and () where the server does not say."""
        completion = self.usage.completion if self.usage else self._pieces
        spoken = self._pieces if self._thought else max(completion, self._pieces)
        took = self._last_at - self._first_at
        rate = (spoken - 1) / took if took > _BURST_S else 0.0
        reason: FinishReason = "length" if self._finish in _ENDED_BY_LENGTH else "stop"
        return Reply(
            text="".join(self._said),
            token_ids=(),
            finish_reason="cancelled" if cancelled else reason,
            prompt="",
            prompt_tokens=self.usage.prompt if self.usage else 0,
            cached_tokens=self.usage.cached if self.usage else 0,
            completion_tokens=completion,
            picture_tokens=(),
            time_to_first_token_s=self._first_at - self._started if self._pieces else 0.0,
            tokens_per_second=rate,
        )

    def _take(self, event: Event) -> Iterator[str]:
        if self.over:
            return
        if event.data.strip() == _DONE:
            self.over = True
            self._check_end()
            return
        yield from self._take_json(event.data, error=event.name == "error")

    def _take_json(self, data: str | bytes, *, error: bool = False) -> Iterator[str]:
        said = parsed(data)
        chunk = chunk_of(said)
        if error and isinstance(said, dict) and (chunk is None or chunk.error is None):
            chunk = Chunk(error=said)
        if chunk is None:
            raise self._nonsense()
        if chunk.error is not None:
            raise self._problems.of_error(chunk.error)
        self.usage = chunk.usage or self.usage
        self._finish = chunk.finish or self._finish
        self._called = self._called or chunk.calls
        self._thought = self._thought or chunk.thought
        if chunk.text:
            yield from self._say(chunk.text)

    def _say(self, text: str) -> Iterator[str]:
        text, self._high = self._high + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        shown = self._stripper.push(whole)
        if not shown:
            return
        self._last_at = time.perf_counter()
        self._first_at = self._first_at or self._last_at
        self._pieces += 1
        self._letters += len(shown)
        self._said.append(shown)
        if self._letters > MOST_LETTERS:
            self._finish, self.over = "length", True
        yield shown

    def _check_end(self) -> None:
        """An end that is none: raised after all that was said."""
        if self._finish == "content_filter":
            raise EngineAwayError(f"{self._where} ended the answer by its content filter.", "Ask in another way.")
        if self._finish in _BROKEN:
            raise EngineAwayError(
                f"{self._where} ended the answer before it was complete ({one_line(self._finish)}).", "Ask again."
            )
        if self._called and not self._said:
            raise EngineAwayError(
                f"The model at {self._where} wants to call a tool, and llava has none.", "Ask in another way."
            )

    def _nonsense(self) -> EngineAwayError:
        return EngineAwayError(
            f"{self._where} sent something that is no answer.",
            "Is it an OpenAI-compatible engine? Its log may say more.",
        )
