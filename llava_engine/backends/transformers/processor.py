"""A folder's processor: what turns text and pictures into a model's inputs, put together from its parts.

`AutoProcessor` wants torchvision for families that also watch videos, whose video half is never used here. So the same
processor class is given the tokenizer and the Pillow image processor, and nothing where something else stands. Nothing
is fetched, and no code of the folder runs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto import processing_auto

from llava_engine.backends.transformers.recognition import OURS
from llava_engine.errors import ModelError
from llava_engine.files.json import MAX_BYTES, read_json

_CLASS_NAMED_IN = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
LOCAL = {"local_files_only": True, "trust_remote_code": False}


def processor_of(folder: Path, kind: str) -> Any:
    """The processor of a folder.

    Args:
        folder: a model's.
        kind: its `model_type`.

    Returns:
        A `transformers.ProcessorMixin` with a chat template.

    Raises:
        ModelError: it names no processor that transformers has, or no chat template.
    """
    base = _class_of(folder, kind)
    # Its arguments are checked against classes, of which the one for videos needs torchvision.
    made: Any = type(base.__name__, (base,), {"check_argument_for_proper_class": _any_class})
    parts: list[Any] = []
    for name in base.get_attributes():
        if name == "tokenizer":
            parts.append(transformers.AutoTokenizer.from_pretrained(folder, **LOCAL))
        elif name == "image_processor":
            parts.append(transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **LOCAL))
        else:  # videos, sounds
            parts.append(_Absent())
    settings, _ = base.get_processor_dict(folder, local_files_only=True)
    module: Any = sys.modules[base.__module__]
    if getattr(module, "num2words", _no_words) is None:  # SmolVLM's will not be made without it, and writes durations
        module.num2words = _no_words
    processor = made.from_args_and_dict(parts, settings)
    processor.chat_template = _template(processor)
    if not processor.chat_template:
        raise ModelError(
            f"{folder} has no chat template: nothing says how a conversation is written for this model.",
            "llava convert --to hf writes one for a LLaVA of ours."
            if kind in OURS
            else "Take a version tuned for conversations, with chat_template.jinja or chat_template.json.",
        )
    return processor


def _class_of(folder: Path, kind: str) -> Any:
    named = [
        read_json(folder / file, MAX_BYTES).get("processor_class")
        for file in _CLASS_NAMED_IN
        if (folder / file).is_file()
    ]
    for name in (*named, _named_by_kind().get(kind)):
        found = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
        if isinstance(found, type) and issubclass(found, transformers.ProcessorMixin):
            return found
    raise ModelError(
        f"{folder} names no processor that transformers {transformers.__version__} has.",
        "Take the model's folder complete, with processor_config.json or preprocessor_config.json.",
    )


def _named_by_kind() -> Mapping[str, str | None]:
    auto: Any = processing_auto
    return dict(auto.PROCESSOR_MAPPING_NAMES)


class _Absent(dict[str, object]):
    """In the place of a part that is never used: it has no settings (a processor writes them down as JSON)."""

    num_frames = fps = None  # SmolVLM's asks, whatever it is shown


def _no_words(number: object) -> str:
    """In the place of num2words, a package that only videos need."""
    raise ModelError("Videos are not seen here.")


def _any_class(self: object, argument_name: str, argument: object) -> type:
    return type(argument)


def _template(processor: Any) -> str | None:
    """The folder's chat template; of several the one that is called default, else the first."""
    template = processor.chat_template or processor.tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    return template if isinstance(template, str) else None
