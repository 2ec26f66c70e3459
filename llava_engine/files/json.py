"""A small file of a model folder as a JSON object, or one clear error: nothing in such a file is trusted.

Whatever is wrong with it (missing, huge, a pipe, not text, nested without end, not an object) is a `ModelError`. Knows
no keys, and imports no torch: the tokenizer's and the pictures' files are read by it too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.files.foreign import foreign_weights
from llava_engine.files.safety import check_own_file

MAX_CONFIG_BYTES = 4 * 2**20
"""A config or an index has some hundred kilobytes at most; a small file can take six seconds for every 32 MB."""

MAX_BYTES = 32 * 2**20
"""The largest tokenizer.json of a published model has half of that; parsed, JSON takes up to twenty times its size."""

_AGAIN = "Download or copy the file again."


def read_json(file: Path, most: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint that has no more than so many bytes.

    Raises:
        ModelError: it is missing, not readable, too large, not JSON, not an object, or not the folder's own.
    """
    return parse_json(file, read_bytes(file, most))


def read_bytes(file: Path, most: int = MAX_BYTES) -> bytes:
    """The content of a small file of a checkpoint. Raises `ModelError`, `read_json`'s reasons."""
    check_own_file(file.parent, file)
    try:
        size = file.stat().st_size
        content = b""
        if size <= most:
            with file.open("rb") as opened:
                content = opened.read(most)
    except FileNotFoundError:
        if file.name == "config.json" and (foreign := foreign_weights(file.parent)):
            raise foreign from None
        remedy = "Is this a model folder? It needs a config.json."
        if (inside := file.parent / "model").is_dir():  # the folder of a run of `llava train`
            remedy = f"Give the model inside of it: {inside}."
        if file.name != "config.json":
            remedy = "Take the model's folder complete."
        raise ModelError(f"{file.parent} has no {file.name}.", remedy) from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise ModelError(f"{file} can not be read: {why}.", "Check its permissions.") from None
    if size > most:
        raise ModelError(f"{file} is larger than {most // 2**20} MB, which no model's is.", _AGAIN)
    return content


def parse_json(file: Path, content: bytes) -> dict[str, Any]:
    """A JSON object from a file's content; `file` is for the error. Raises `ModelError`."""
    try:
        value = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ModelError(f"{file} is nested too deeply.", _AGAIN) from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise ModelError(f"{file} is not valid JSON: {error}.", _AGAIN) from None
    if rb"\ud" in content.lower() and not _writable(value):
        raise ModelError(f"{file} holds half a character (a lone surrogate).", _AGAIN)
    if not isinstance(value, dict):
        raise ModelError(f"{file} holds {type(value).__name__}, not an object.", _AGAIN)
    return value


def _writable(value: Any) -> bool:
    """Whether all texts in it can be written to a file, a terminal or a file's name again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
