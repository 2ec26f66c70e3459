"""LLaVA in Python: load a model, chat about pictures. Importing this imports no torch and no Pillow.

import llava_engine

engine = llava_engine.load()
chat = engine.chat()
for piece in chat.send("What is in this picture?", pictures=["cat.jpg"]):
    print(piece, end="")
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llava_engine.contract import EngineLike, LoadProgress, ModelCard, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import (
    ContextOverflowError,
    ConversationError,
    DataError,
    DeviceError,
    LlavaError,
    LoadCancelledError,
    ModelError,
    OutOfMemoryError,
    PictureError,
    StorageError,
)

if TYPE_CHECKING:
    from llava_engine.chat import Chat
    from llava_engine.engine import Engine
    from llava_engine.pictures.opening import Picture, open_picture

__all__ = [
    "Chat",
    "ContextOverflowError",
    "Conversation",
    "ConversationError",
    "DataError",
    "DeviceError",
    "Engine",
    "EngineLike",
    "LlavaError",
    "LoadCancelledError",
    "LoadProgress",
    "Message",
    "ModelCard",
    "ModelError",
    "OutOfMemoryError",
    "Picture",
    "PictureError",
    "Reply",
    "Sampling",
    "StorageError",
    "TokenCount",
    "load",
    "open_picture",
]

_LAZY = {
    "Chat": "llava_engine.chat",
    "Engine": "llava_engine.engine",
    "Picture": "llava_engine.pictures.opening",
    "open_picture": "llava_engine.pictures.opening",
}


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    base: str | os.PathLike[str] | None = None,
    tower: str | os.PathLike[str] | None = None,
    template: str | None = None,
    force: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
    max_memory: str | None = None,
    devices: str | None = None,
    context: int | None = None,
    on_progress: Callable[[LoadProgress], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> Engine:
    """Load a model.

    Args:
        model: a folder with any LLaVA in it, or a hub id that was fetched before; None is the tiny model that comes
            with the package.
        base: for an adapter or a projector, the folder or hub id of the model that it goes onto.
        tower: the folder or hub id of its vision tower, where the model neither holds nor finds it.
        template: the conversation template, in place of the one that its content speaks for.
        force: take an adapter for another base all the same.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16".
        quantize: "none", "int8", "int4" or "nf4": the language model's layers; all else stays in float.
        max_memory: "6GiB", or "cuda:0=20GiB,cpu=8GiB": what may be used, in place of what is free.
        devices: spread the layers: "auto" for as many GPUs as it takes, "0,1" for these.
        context: the most tokens that a conversation may have; the model's own length where None.
        on_progress: told what is being loaded and how far it is.
        cancelled: asked often while loading; once it says yes, everything is freed.

    Raises:
        ModelError: the folder is missing, broken or of another kind.
        DeviceError: this machine lacks the device or dtype.
        OutOfMemoryError: the model does not fit; the error says what would.
        LoadCancelledError: it was cancelled.
    """
    from llava_engine.checkpoints.catalog import find

    folder = find(model)
    if on_progress:
        on_progress(LoadProgress("importing torch", 0, 0))
    from llava_engine.engine import Engine

    return Engine.load(
        folder,
        base=None if base is None else find(base),
        towers=None if tower is None else {"": find(tower)},
        template=template,
        force=force,
        device=device,
        dtype=dtype,
        quantize=quantize,
        max_memory=max_memory,
        devices=devices,
        context=context,
        on_progress=on_progress,
        cancelled=cancelled,
    )


def __getattr__(name: str) -> Any:
    """Import the heavier parts of the public face when they are first asked for."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
