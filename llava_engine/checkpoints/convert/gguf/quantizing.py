"""llama.cpp's own quantization of a language model's file, through llama-cpp-python where somebody installed it.

It is compiled from source on most machines, so it is looked for and never asked for.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from llava_engine.errors import ModelError
from llava_engine.files.atomic import replaced_file

GgufType = Literal["f16", "f32", "q8_0", "q4_k_m"]

SHARE = {"q8_0": 8.5 / 16, "q4_k_m": 5.0 / 16}
"""What a file becomes of one in float16: bits a weight, the second from llama.cpp's figures for 7B and 13B."""


def llama_cpp_installed() -> bool:
    """Whether llama-cpp-python is here."""
    return find_spec("llama_cpp") is not None


@cache
def llama_cpp() -> Any:
    """llama-cpp-python, which is there (`llama_cpp_installed`), without what it says about all that it does."""
    library = importlib.import_module("llama_cpp")
    library.llama_log_set(silent(), None)
    return library


@cache
def silent() -> Any:
    """A callback for llama.cpp's words that passes them over; it has to live as long as they may come."""
    return importlib.import_module("llama_cpp").llama_log_callback(lambda level, text, data: None)


def quantize(source: Path, target: Path, kind: str) -> None:
    """Write a quantized copy of a language model's file.

    Args:
        source: in float16 or float32.
        target: the copy.
        kind: "q8_0" or "q4_k_m".

    Raises:
        ModelError: llama.cpp refuses.
        StorageError: the disk is full, or may not be written to.
    """
    library = llama_cpp()
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
    with replaced_file(target) as part:
        if library.llama_model_quantize(str(source).encode(), str(part).encode(), parameters):
            raise ModelError(
                f"llama.cpp did not quantize {source.name} to {kind}.", "Write it with --type f16 in its place."
            )


def quantize_command(source: Path, kind: str) -> str:
    """What does the same on a command line."""
    target = source.with_name(f"{source.stem}-{kind}.gguf")
    return f"llama-quantize {source} {target} {kind.upper()}"
