"""The judge: a model behind chat completions that is asked again where that helps, and never twice for one thing.

Its key comes from the environment, goes to the judge's host, and to no file, line or error. What it said is kept in a
folder by what it was asked, so a further run costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from llava_engine.backends.remote.address import Address
from llava_engine.backends.remote.chunks import chunk_of
from llava_engine.backends.remote.key import OPENAI_VARIABLE, Key, checked
from llava_engine.backends.remote.problems import Problems, error_in, refused_field, retry_after_s
from llava_engine.backends.remote.server import Server, Whole
from llava_engine.contract import never
from llava_engine.errors import EngineAwayError, LlavaError, StorageError, UsageError
from llava_engine.files.atomic import write_text

VARIABLE = "LLAVA_JUDGE_KEY"
TRIES = 6
FIRST_WAIT_S = 1.0
"""Seconds before the second try; each further one waits twice as long, and a little more or less."""

_LONGEST_WAIT_S = 60.0
_POLL_S = 0.05
_MOST_BYTES = 2**24  # of a reply
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
_NO_QUOTA = "insufficient_quota"  # a 429 that no waiting cures
_LETTERS_A_TOKEN, _TOKENS_SAID = 4, 600  # of an estimate: English text, and a long review

Messages = tuple[Mapping[str, str], ...]
"""What is said, in order: {role, content}."""


class JudgeRefusedError(LlavaError):
    """The judge takes no question like these: a wrong key, an unknown model, a wrong address. Nothing more is asked."""


class StoppedError(Exception):
    """Nobody wants the reply any more."""


@dataclass(frozen=True)
class Ask:
    """One thing to ask.

    Attributes:
        messages: what is said.
        temperature: 0 for the likeliest reply.
        max_tokens: of the reply, at most.
        run: asking the same in another run may give another reply.
    """

    messages: Messages
    temperature: float
    max_tokens: int
    run: int = 0


@dataclass(frozen=True)
class Said:
    """A reply.

    Attributes:
        text: as it came; not for a terminal.
        whole: it ended by itself, and not at `max_tokens`.
        tokens_in, tokens_out: what it took, where the server says so.
    """

    text: str
    whole: bool = True
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Cost:
    """What asking will take, before it is asked.

    Attributes:
        requests: how many.
        tokens_in: about so many, by four letters a token.
        tokens_out: at most so many, unless replies are unusually long.
    """

    requests: int
    tokens_in: int
    tokens_out: int

    @classmethod
    def of(cls, asks: Iterable[Ask]) -> Cost:
        """An estimate."""
        listed = list(asks)
        letters = sum(len(message["content"]) for ask in listed for message in ask.messages)
        said = sum(min(ask.max_tokens, _TOKENS_SAID) for ask in listed)
        return cls(len(listed), letters // _LETTERS_A_TOKEN, said)

    def price(self, a_million_in: float, a_million_out: float) -> float:
        """In the currency of the two prices, which are of a million tokens each."""
        return (self.tokens_in * a_million_in + self.tokens_out * a_million_out) / 1e6


class Judge:
    """A judge. Its methods may be called from several threads.

    Args:
        model: the server's name for it.
        url: of the server; `/chat/completions` is added.
        key: what opens it.
        cache: the folder of what it has said before; None keeps nothing.
        insecure: take http beyond this machine.
        within_s: seconds for one reply.
        tell: is given a line where something has to be asked again, each cause once.

    Raises:
        UsageError: the address is none, or is not safe for a key.
    """

    def __init__(
        self,
        model: str,
        url: str,
        key: Key,
        cache: Path | None = None,
        *,
        insecure: bool = False,
        within_s: float = 300.0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        address = Address.parse(url, "--judge-url", f"A key comes from {VARIABLE} or {OPENAI_VARIABLE}.")
        if not (address.encrypted or address.loopback or insecure):
            raise UsageError(
                f"--judge-url: http to {address.where} would show the key and the texts to everybody on the way.",
                "Use https, or --insecure where you trust the way.",
            )
        self.model = model
        self.url = f"{address.bases[-1]}/chat/completions"
        self._server = Server(address, key)
        self._problems = Problems(address, key, None)
        self._key = key
        self._cache = cache
        self._within_s = within_s
        self._tell = tell
        self._told: set[str] = set()
        self._most = "max_tokens"  # newer models of OpenAI take another word for it

    def close(self) -> None:
        """Every connection ends."""
        self._server.close()

    def ask(
        self, ask: Ask, *, cancelled: Callable[[], bool] = never, keep: Callable[[Said], bool] = lambda said: True
    ) -> Said:
        """The reply, from the cache where it is there.

        Args:
            ask: what is asked.
            cancelled: asked every 50 ms.
            keep: whether this reply may be given again to whoever asks the same.

        Raises:
            JudgeRefusedError: the server takes no question like this.
            EngineAwayError: six tries gave no reply.
            StoppedError: it was cancelled.
        """
        if (kept := self.kept(ask)) is not None:
            return kept
        said = self._tried(ask, cancelled)
        if self._cache is not None and keep(said):
            _make(self._cache)
            write_text(self._place(self._cache, ask), json.dumps(asdict(said)), mode=0o600)
        return said

    def kept(self, ask: Ask) -> Said | None:
        """What it said to this before; None where that is not known."""
        if self._cache is None:
            return None
        try:
            return Said(**json.loads(self._place(self._cache, ask).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None  # not there, or broken: asked anew

    def _place(self, cache: Path, ask: Ask) -> Path:
        asked = [self.url, self.model, ask.messages, ask.temperature, ask.max_tokens, ask.run]
        return cache / f"{hashlib.sha256(json.dumps(asked).encode('ascii')).hexdigest()}.json"

    def _tried(self, ask: Ask, cancelled: Callable[[], bool]) -> Said:
        trouble: LlavaError | None = None
        wait_s = 0.0
        for number in range(TRIES):
            if trouble is not None:
                self._say_once(f"{trouble.cause} Asking again.")
                _rest(wait_s, cancelled)
            wait_s = FIRST_WAIT_S * 2**number * random.uniform(0.75, 1.25)
            try:
                answer = self._send(ask, cancelled)
            except EngineAwayError as error:
                trouble = error
            else:
                if answer.head.status == HTTPStatus.OK and (said := self._said(answer)) is not None:
                    return said
                trouble = self._trouble(answer)
                if (asked_s := retry_after_s(answer.head, -1.0)) >= 0:
                    wait_s = min(asked_s, _LONGEST_WAIT_S)
            if cancelled():
                raise StoppedError
        assert trouble is not None
        raise trouble

    def _send(self, ask: Ask, cancelled: Callable[[], bool]) -> Whole:
        while True:
            most = self._most
            body = {
                "model": self.model,
                "messages": list(ask.messages),
                "temperature": ask.temperature,
                most: ask.max_tokens,
            }
            answer = self._server.ask(
                "POST", self.url, body, within_s=self._within_s, most_bytes=_MOST_BYTES, cancelled=cancelled
            )
            if most != "max_tokens" or refused_field(answer, body) != most:
                return answer
            self._most = "max_completion_tokens"

    def _said(self, answer: Whole) -> Said | None:
        """The reply of a 200; None where it holds none."""
        data = answer.json()
        chunk = chunk_of(data)
        if chunk is None or chunk.error is not None or not data.get("choices"):
            return None
        if not chunk.text and not _is_text(data["choices"][0]):
            return None
        # Half a letter, as "\ud83d" alone, can stand in JSON, and in no file.
        text = chunk.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        used = chunk.usage
        return Said(
            self._key.hidden(text), chunk.finish != "length", used.prompt if used else 0, used.completion if used else 0
        )

    def _trouble(self, answer: Whole) -> LlavaError:
        """Why there is no reply, where asking again may help; raises JudgeRefusedError where it does not."""
        status, error = answer.head.status, error_in(answer.json())
        where, words = self._server.address.where, self._problems.words(error, answer)
        no_quota = _NO_QUOTA in (error.get("code"), error.get("type"))
        if status == HTTPStatus.OK and answer.head.kind != "text/html":
            return EngineAwayError(f"{where} sent something that is no reply{words}.", "Ask again later.")
        if (status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR) and not no_quota:
            return EngineAwayError(f"{where} failed ({status}){words}.", "Ask again later.")
        raise JudgeRefusedError(f"{where} refuses ({status}){words}.", self._remedy(status))

    def _remedy(self, status: int) -> str:
        match status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return f"Set {VARIABLE} to a key that this server takes."
            case HTTPStatus.NOT_FOUND | HTTPStatus.OK:
                return f"Is --judge {self.model} one of its models, and --judge-url its address?"
        return "Nothing was lost: what was said so far is kept."

    def _say_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._tell(line)


def find_key(environment: Mapping[str, str]) -> Key:
    """The judge's key: of LLAVA_JUDGE_KEY, else of OPENAI_API_KEY; none where neither is set. Raises UsageError."""
    for name in (VARIABLE, OPENAI_VARIABLE):
        if value := environment.get(name):
            return Key(checked(value, name))
    return Key()


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where replies are kept: LLAVA_HOME/judge, else in the user's cache."""
    if home := environment.get("LLAVA_HOME"):
        return Path(home).expanduser() / "judge"
    from platformdirs import user_cache_path

    return user_cache_path("llava", appauthor=False) / "judge"


def spoken(system: str | None, turns: Sequence[tuple[str, str]]) -> Messages:
    """Messages: a system's, where there is one, then (role, content) pairs."""
    first = [] if system is None else [("system", system)]
    return tuple({"role": role, "content": content} for role, content in (*first, *turns))


def _is_text(choice: Any) -> bool:
    """Whether a choice says something, be it the empty text."""
    message = choice.get("message") if isinstance(choice, dict) else None
    return isinstance(message, dict) and isinstance(message.get("content"), str | list)


def _rest(seconds: float, cancelled: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancelled():
            raise StoppedError
        time.sleep(min(_POLL_S, left))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"{folder} can not be made: {error.strerror}.", "Set LLAVA_HOME to another place.") from None
