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

from llava_engine.contract import EngineLike, LoadProgress, ModelCard, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import (
    BusyError,
    ContextOverflowError,
    ConversationError,
    DataError,
    DeviceError,
    EngineAwayError,
    LlavaError,
    LoadCancelledError,
    ModelError,
    OutOfMemoryError,
    PictureError,
    StorageError,
    UsageError,
)
from llava_engine.opening import AUTO, Placement, Source

if TYPE_CHECKING:
    from llava_engine.backends.opening import open_engine
    from llava_engine.chat import Chat
    from llava_engine.engine import Engine
    from llava_engine.pictures.opening import Picture, open_picture

__all__ = [
    "BusyError",
    "Chat",
    "ContextOverflowError",
    "Conversation",
    "ConversationError",
    "DataError",
    "DeviceError",
    "Engine",
    "EngineAwayError",
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
    "Placement",
    "Progress",
    "Reply",
    "Sampling",
    "Source",
    "StorageError",
    "TokenCount",
    "UsageError",
    "load",
    "open_engine",
    "open_model",
    "open_picture",
]

_LAZY = {
    "open_engine": "llava_engine.backends.opening",
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
    slots: int | None = None,
    on_progress: Callable[[LoadProgress], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> Engine:
    """Load a model: `open_model` for scripts, which may give paths.

    Args:
        model, base, tower, template, force: which one: the fields of `Source`.
        device, dtype, quantize, max_memory, devices, context: where to and in what form: the fields of `Placement`.
        slots: how many conversations at once; None for as many as there is memory for, up to 16.
        on_progress, cancelled: as for `open_model`, which also says what is raised.
    """
    return open_model(
        Source(_name(model), _name(base), _name(tower), template, force),
        Placement(device, dtype, quantize, max_memory, devices, context, slots),
        on_progress=on_progress,
        cancelled=cancelled,
    )


def open_model(
    source: Source,
    placement: Placement = AUTO,
    *,
    on_progress: Callable[[LoadProgress], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> Engine:
    """Load a model.

    Args:
        source: which one.
        placement: where it goes, and in what form.
        on_progress: told what is being loaded and how far it is.
        cancelled: asked often while loading; once it says yes, everything is freed.

    Raises:
        ModelError: the folder is missing, broken or of another kind.
        DeviceError: this machine lacks the device or dtype.
        OutOfMemoryError: the model does not fit; the error says what would.
        LoadCancelledError: it was cancelled.
    """
    from llava_engine.checkpoints.catalog import find

    find(source.model)  # what is not there is said at once, before torch is imported
    if on_progress:
        on_progress(LoadProgress("importing torch", 0, 0))
    from llava_engine.engine import Engine

    return Engine.load(source, placement, on_progress=on_progress, cancelled=cancelled)


def _name(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def __getattr__(name: str) -> Any:
    """Import the heavier parts of the public face when they are first asked for."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
