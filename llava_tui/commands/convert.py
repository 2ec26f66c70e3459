"""`llava convert`: a checkpoint in another layout, or as llama.cpp's files.

In: a folder and what it is to become. Out: the folder that was made on standard output; what a person should know, and
a bar of bytes on a terminal, on standard error. Must not know layouts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llava_engine.byte_text import gigabytes
from llava_engine.errors import UsageError
from llava_engine.opening import Dtype, Source
from llava_engine.terminal_safe import strip_control
from llava_tui.commands import options
from llava_tui.commands.byte_progress import byte_progress
from llava_tui.commands.say import say

if TYPE_CHECKING:
    from llava_engine.checkpoints.convert import Converted
    from llava_engine.checkpoints.convert.gguf.quantizing import GgufType

app = typer.Typer(rich_markup_mode=None)

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def _size(text: str | None) -> str | None:
    if text is not None and _bytes(text) < 1:
        raise typer.BadParameter("must be a size, as 2GB or 500MB")
    return text


def _bytes(text: str) -> int:
    """How many bytes "2GB", "1.5GiB" or "500000000" are; 0 for what is no size."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmg]i?)?b?", text.strip().lower())
    return int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0


@app.command(
    epilog="""\b
Examples:
  llava convert llava-v1.5-7b --to hf --out llava-1.5-7b-hf
  llava convert llava-1.5-7b-hf --to original --out llava-v1.5-7b
  llava convert my-lora --base vicuna-7b-v1.5 --to merged --out my-llava --dtype float16
  llava convert my-llava --to projector --out my-projector
  llava chat --model my-projector --base vicuna-7b-v1.5
  llava convert llava-v1.5-7b --to gguf --out llava-v1.5-7b-gguf --type q4_k_m
"""
)
@options.opening
def convert(
    model: Annotated[str, typer.Argument(metavar="FOLDER|ID", help="Any LLaVA: a folder, or a hub id in the cache.")],
    to: Annotated[
        Literal["hf", "original", "projector", "merged", "gguf"],
        typer.Option("--to", help="What it becomes.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to write.", show_default=False)],
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="What weights are stored in; else what they are in."),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option("--shard-size", metavar="SIZE", callback=_size, help="No file is larger than this; else 2GB."),
    ] = None,
    type: Annotated[
        Literal["f16", "f32", "q8_0", "q4_k_m"] | None,
        typer.Option("--type", help="With gguf: what the language model is stored in; else f16."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="With gguf: compute a little in llama.cpp and here, and compare.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a run that was cut off.")] = False,
    *,
    source: Source,
) -> None:
    """Write a model in another layout; it computes the same.

    \b
    hf         as transformers' LlavaForConditionalGeneration and LlavaNext… open it
    original   as the code of LLaVA itself opens it, the vision tower inside
    projector  the projector alone, to go onto a language model with --base
    merged     an adapter or a projector folded into its base
    gguf       as llama.cpp and Ollama take it: two files and a Modelfile

    Nothing is rounded unless --dtype or --type says so; what an adapter changed is float32 then. Needs little memory.
    llama.cpp reads pictures wrongly since May 2025, whoever made the file (its issue 25814): --verify says whether
    yours does. 1.6 it can not read as it was trained; --force writes it all the same. docs/serving.md has more.
    """
    _check_options(to, {"--dtype": dtype, "--shard-size": shard_size}, {"--type": type, "--verify": verify})
    from llava_engine.checkpoints.catalog import find
    from llava_engine.checkpoints.convert import convert as converted

    folder = find(source.model)
    opened: dict[str, Any] = {
        "base": None if source.base is None else find(source.base),
        "towers": None if source.tower is None else {"": find(source.tower)},
        "template": source.template,
        "force": source.force,
    }
    try:
        with byte_progress() as tell:
            if to == "gguf":
                written = _gguf(folder, out, type or "f16", verify, opened | {"resume": resume, "on_progress": tell})
            else:
                written = converted(
                    folder,
                    to,
                    out,
                    dtype=dtype,
                    shard_bytes=_bytes(shard_size or "2GB"),
                    resume=resume,
                    on_progress=tell,
                    **opened,
                )
    except KeyboardInterrupt:
        _say("", "Stopped. Go on with the same command and --resume.")
        raise typer.Exit(130) from None
    _report(written)
    if verify:
        _verify(folder, out, type or "f16", opened)


def _check_options(to: str, layouts: dict[str, object], gguf: dict[str, object]) -> None:
    """Refuse options of the other kind of conversion, rather than pass them over."""
    given = [name for name, value in (layouts if to == "gguf" else gguf).items() if value]
    if given:
        remedy = "--type says what its weights are stored in." if to == "gguf" else "It goes with --to gguf."
        raise UsageError(f"{given[0]} does not go with --to {to}.", remedy)


def _gguf(folder: Path, out: Path, kind: GgufType, verify: bool, options: dict[str, Any]) -> Converted:
    from llava_engine.checkpoints.convert.gguf.pair import to_gguf

    if verify:
        from llava_engine.checkpoints.convert.gguf.verify import refuse_without_llama_cpp

        refuse_without_llama_cpp()
    return to_gguf(folder, out, kind=kind, **options)


def _verify(folder: Path, out: Path, kind: GgufType, opened: dict[str, Any]) -> None:
    from llava_engine.checkpoints.convert.gguf.verify import verify

    verdict = verify(folder, out, kind=kind, **opened)
    _say(*verdict.lines)
    if not verdict.right:
        raise typer.Exit(1)


def _report(written: Converted) -> None:
    size = gigabytes(written.bytes)
    _say(*written.notes, f"{written.tensors} tensors, {size}, in:")
    say(strip_control(str(written.folder)))


def _say(*lines: str) -> None:
    for line in lines:
        say(strip_control(line), err=True)
