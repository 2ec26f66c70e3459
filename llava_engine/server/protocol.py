"""The body of a request, checked against its schema: what is honoured, what is ignored, what is refused politely.

Unknown fields are ignored, for clients send many. In: bytes. Out: `Request`, every field of which has its kind and a
value that can be met. msgspec reads it; nothing here knows a picture or a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from llava_engine.contract import Sampling
from llava_engine.errors import UsageError
from llava_engine.server.problems import invalid
from llava_engine.server.settings import MOST_STOPS

PictureMode = Literal["default", "crop", "pad", "resize"]

_PLACE = re.compile(r" - at `\$(?P<place>.*)`$", re.DOTALL)
_LONGEST_SAID = 300  # letters of what msgspec says: it quotes values
_FIELDS = {"A": "stop"}


class ImageUrl(msgspec.Struct):
    """A `data:` URL or an address; `detail` and whatever else clients add is ignored."""

    url: str


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    """Words."""

    text: str


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """A picture; some clients send the URL alone."""

    image_url: ImageUrl | str

    @property
    def url(self) -> str:
        """Where the picture is."""
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    """What an assistant said instead of an answer; clients send it back."""

    refusal: str


Part = TextPart | ImagePart | RefusalPart


class Message(msgspec.Struct):
    """One message, as it came."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None
    audio: Any = None


class StreamOptions(msgspec.Struct):
    """What a stream is to carry besides the text."""

    include_usage: bool | None = False


class Request(msgspec.Struct):
    """What is asked. Below the first blank line stand fields that are read only to be refused."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    llava_preprocess: PictureMode | None = None

    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: Any = None

    def sampling(self, temperature: float) -> Sampling:
        """How to choose tokens; `temperature` where the request says none.

        Raises:
            Problem: a value is out of range.
        """
        given: dict[str, Any] = {
            "temperature": temperature if self.temperature is None else self.temperature,
            "max_new_tokens": self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens,
            "stops": _stops(self.stop),
            "seed": self.seed,
        }
        if self.top_p is not None:
            given["top_p"] = self.top_p
        if self.top_k is not None:
            given["top_k"] = 0 if self.top_k == -1 else self.top_k  # -1 is how vLLM's clients say "all"
        if self.repetition_penalty is not None:
            given["repetition_penalty"] = self.repetition_penalty
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:
            raise invalid("seed must be a number of 64 bits.", "seed")
        try:
            return Sampling(**given)
        except UsageError as error:
            name, _, wrong = error.cause.partition(" ")
            if name == "max_new_tokens":  # by the name that the client knows it by
                name = "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"
            name = _FIELDS.get(name, name)
            raise invalid(error.cause if name == "stop" else f"{name} {wrong}", name) from error


class Vote(msgspec.Struct):
    """What somebody thinks of an answer: the conversation ends with it."""

    type: Literal["upvote", "downvote", "flag"]
    messages: list[Message]
    model: str | None = None


_REQUESTS = msgspec.json.Decoder(Request)
_VOTES = msgspec.json.Decoder(Vote)


def read_request(body: bytes) -> Request:
    """The body of a chat completion.

    Raises:
        Problem: no JSON, a wrong kind, or something that is not done here.
    """
    request: Request = _decoded(_REQUESTS, body)
    _refuse(request)
    return request


def read_vote(body: bytes) -> Vote:
    """The body of a vote; raises `Problem`."""
    vote: Vote = _decoded(_VOTES, body)
    return vote


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        said = str(error)
        place = _PLACE.search(said)
        param = place["place"].lstrip(".") if place else None
        words = said[: place.start()] if place else said
        message = words[:_LONGEST_SAID] + (f" at {param}" if param else "")
        raise invalid(f"{message}.", param, "invalid_type") from error
    except (msgspec.DecodeError, UnicodeError, ValueError, OverflowError) as error:
        raise invalid(f"The body is not JSON: {str(error)[:_LONGEST_SAID]}.", code="invalid_json") from error
    except RecursionError as error:
        raise invalid("The body is nested too deeply.", code="invalid_json") from error


def _refuse(request: Request) -> None:
    """What is not done here is said, never done wrong in silence."""
    refused: Mapping[str, Any] = {
        "n": request.n not in (None, 1),
        "tools": request.tools,
        "functions": request.functions,
        "logit_bias": request.logit_bias,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "response_format": request.response_format and request.response_format.get("type") != "text",
        "modalities": request.modalities and request.modalities != ["text"],
        "audio": request.audio,
    }
    for name, is_asked in refused.items():
        if is_asked:
            raise invalid(f"{name} is not supported here.", name, "unsupported_parameter")
    for index, message in enumerate(request.messages):
        for name in ("tool_calls", "function_call", "audio"):
            if getattr(message, name):
                raise invalid(f"{name} is not supported here.", f"messages[{index}].{name}", "unsupported_parameter")


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > MOST_STOPS:
        raise invalid(f"stop has {len(stops)} texts; {MOST_STOPS} at most.", "stop")
    return stops
