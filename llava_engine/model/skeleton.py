"""The model without memory: every module and shape of a config on the meta device, for counting and for filling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from llava_engine.errors import ModelError
from llava_engine.model.config import LlavaConfig
from llava_engine.model.llava import LlavaModel


def skeleton(config: LlavaConfig) -> LlavaModel:
    """Shapes only. Raises `ModelError` when the config describes no model that can be built."""
    try:
        with torch.device("meta"), _NothingDrawn():
            return LlavaModel(config)
    except (RuntimeError, ValueError, ZeroDivisionError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(
            f"config.json describes a model that can not be built: {first}", "Take the model's own config.json."
        ) from None


class _NothingDrawn(TorchFunctionMode):
    """torch.nn.init does nothing: all weights will be read, and `normal_` on meta imports torch's compiler (1 s)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)
