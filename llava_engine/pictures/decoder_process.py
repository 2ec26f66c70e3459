"""Decoding in a process of its own: it may take so much memory and so much time, and then it ends.

One at a time, for the memory of two would be twice as much. It begins with each picture and ends with it: 0.1 s, for
pictures that are slow anyway. Its standard error goes nowhere, so libtiff's warnings never reach a terminal.

In: a line of JSON (name, kind, draft_to, max_pixels) and the file. Out: a line of JSON (the sizes, or an error), and
RGB bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

from llava_engine.errors import PictureError
from llava_engine.limited_process import limit_this_process
from llava_engine.pictures import kinds
from llava_engine.pictures.decoding import (
    BUDGET_BYTES,
    Decoded,
    decode_whatever_it_takes,
    too_much_memory,
    too_much_time,
)
from llava_engine.pictures.kinds import Kind

_CPU_S = 8  # of work
_WALL_S = 12.0  # in all, on a machine that has more to do
_KINDS = {kind.pillow: kind for kind in (kinds.PNG, kinds.JPEG, kinds.WEBP, kinds.GIF, kinds.BMP, kinds.TIFF)}
_KINDS |= {kind.pillow: kind for kind in (kinds.AVIF, kinds.HEIC)}
_ONE = threading.Lock()
_START = "import sys; sys.path[:] = sys.argv[1:]; from llava_engine.pictures.decoder_process import main; main()"


def decode_apart(data: bytes, kind: Kind, name: str, draft_to: int, max_pixels: int) -> Decoded:
    """As `decode`, in another process.

    Raises:
        PictureError: what went wrong there, or that it took too much.
    """
    from PIL import Image

    asked = {"name": name, "kind": kind.pillow, "draft_to": draft_to, "max_pixels": max_pixels}
    request = json.dumps(asked).encode() + b"\n"
    # -P and our own path: nothing is imported from the folder that somebody happens to work in.
    command = [sys.executable, "-P", "-c", _START, *(place for place in sys.path if place)]
    # One thread each: a library that keeps room for many would count towards the limit.
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with _ONE:
        try:
            done = subprocess.run(
                command, input=request + data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_WALL_S,
                env=env, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise too_much_time(name) from error
        except OSError as error:
            raise PictureError(
                f"{name} can not be decoded: {error.strerror}.", "Close other programs, then try again."
            ) from error
    end = done.stdout.find(b"\n") + 1
    try:
        answer = json.loads(done.stdout[:end])
    except ValueError as error:  # it did not come so far
        raise (too_much_time(name) if done.returncode < 0 else too_much_memory(name)) from error
    if "cause" in answer:
        raise PictureError(answer["cause"], answer["remedy"])
    width, height = answer["image"]
    try:
        image = Image.frombytes("RGB", (width, height), memoryview(done.stdout)[end:])
    except (ValueError, MemoryError) as error:
        raise too_much_memory(name) from error
    return Decoded(image, (answer["size"][0], answer["size"][1]))


def main() -> None:
    """The other process."""
    import PIL.Image  # noqa: F401 - before the limit, for it is no part of the picture

    limit_this_process(_CPU_S, BUDGET_BYTES)
    try:
        request = json.loads(sys.stdin.buffer.readline())
        data = sys.stdin.buffer.read()
        kind, name = _KINDS[request["kind"]], request["name"]
        decoded = decode_whatever_it_takes(data, kind, name, request["draft_to"], request["max_pixels"])
    except PictureError as error:
        _say({"cause": error.cause, "remedy": error.remedy})
        return
    _say({"image": decoded.image.size, "size": decoded.size})
    sys.stdout.buffer.write(decoded.image.tobytes())


def _say(answer: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
