"""A conversation and how to sample -> the body of `/chat/completions`, in the dialect of a server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

from llava_engine.backends.remote.dialects import Dialect
from llava_engine.contract import Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.pictures.opening import Picture

_UPRIGHT = (None, 0, 1)  # of EXIF's orientation
_ORIENTATION = 0x0112


def body_of(
    model: str, conversation: Conversation, dialect: Dialect, sampling: Sampling | None = None, begun: str = ""
) -> dict[str, Any]:
    """What is sent.

    Args:
        model: the server's name for it.
        conversation: what was said.
        dialect: what the server calls things.
        sampling: how to answer; of it only what is not as it is everywhere, but for the temperature, whose default
            elsewhere is not ours. None for a body that only asks what the prompt costs.
        begun: how the answer begins.
    """
    messages: list[dict[str, Any]] = []
    if conversation.system is not None:
        messages.append({"role": "system", "content": conversation.system})
    messages += [{"role": message.role, "content": _content(message, dialect)} for message in conversation.messages]
    body: dict[str, Any] = {"model": model, "messages": messages}
    if begun:
        messages.append({"role": "assistant", "content": begun})
        body |= dialect.go_on
    if sampling is None:
        return body
    body |= {"stream": True, "stream_options": {"include_usage": True}, "temperature": sampling.temperature}
    if sampling.max_new_tokens is not None:
        body[dialect.most] = sampling.max_new_tokens
    if sampling.top_p != 1:
        body["top_p"] = sampling.top_p
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.repetition_penalty != 1:
        body[dialect.penalty] = sampling.repetition_penalty
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stops:
        body["stop"] = list(sampling.stops)
    return body


def _content(message: Message, dialect: Dialect) -> str | list[dict[str, Any]]:
    if not message.pictures:
        return message.text
    offsets: Sequence[int] = message.picture_offsets or (0,) * len(message.pictures)
    parts: list[dict[str, Any]] = []
    done = 0
    for picture, offset in zip(message.pictures, offsets, strict=True):
        parts += _words(message.text[done:offset])
        parts.append({"type": "image_url", "image_url": {"url": _data_url(picture, dialect)}})
        done = offset
    return [*parts, *_words(message.text[done:])]


def _words(text: str) -> Iterable[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _data_url(picture: Picture, dialect: Dialect) -> str:
    """The original bytes, where the server sees in them what we see; else what we see, as PNG."""
    data, kind = picture.data, picture.media_type
    if kind not in dialect.reads or not (dialect.as_it_is or _is_plain(picture)):
        file = io.BytesIO()
        picture.image.save(file, "PNG", compress_level=1)
        data, kind = file.getvalue(), "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _is_plain(picture: Picture) -> bool:
    """Whether any decoder makes the same of it: upright as stored, no alpha, no palette, no CMYK, one frame."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture.data)) as image:
            return (
                image.mode in ("RGB", "L")
                and image.getexif().get(_ORIENTATION) in _UPRIGHT
                and "transparency" not in image.info
                and getattr(image, "n_frames", 1) == 1
            )
    except Exception:  # whatever Pillow has against it: it was opened with more care before
        return False
