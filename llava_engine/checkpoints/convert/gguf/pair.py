"""A checkpoint of any kind -> the pair of files that llama.cpp runs, and a Modelfile: `llava convert --to gguf`.

From files to files, tensor by tensor. The folder appears under its name when it is whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from llava_engine.checkpoints.catalog import name_of
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert.folder import Converted
from llava_engine.checkpoints.convert.gguf.chat_template import gguf_chat_template
from llava_engine.checkpoints.convert.gguf.gguf_file import FILE_TYPES, GgufFile, Value, write
from llava_engine.checkpoints.convert.gguf.language import architecture, language_keys, language_tensors
from llava_engine.checkpoints.convert.gguf.mmproj import mmproj_keys, mmproj_tensors
from llava_engine.checkpoints.convert.gguf.modelfile import modelfile
from llava_engine.checkpoints.convert.gguf.quantizing import (
    SHARE,
    GgufType,
    llama_cpp_installed,
    quantize,
    quantize_command,
)
from llava_engine.checkpoints.convert.gguf.vocabulary import tokenizer_files, vocabulary_keys, vocabulary_notes
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError, StorageError
from llava_engine.files.drafts import check_space, check_target, draft_folder, stamps, unfinished

PICTURES_WRONG = (
    "Language is exact in llama.cpp. Pictures are not: since May 2025 it reads every CLIP tower wrongly "
    "(ggml-org/llama.cpp#25814), and so does all that is built on it, until a release has the fix. "
    "llava serve reads them rightly."
)


def to_gguf(
    folder: Path,
    out: Path,
    *,
    kind: GgufType = "f16",
    base: Path | None = None,
    towers: Mapping[str, Path] | None = None,
    template: str | None = None,
    force: bool = False,
    resume: bool = False,
    on_progress: Callable[[LoadProgress], None] | None = None,
) -> Converted:
    """Write NAME.gguf, mmproj-NAME.gguf and Modelfile, NAME as the model is called.

    Args:
        folder: any LLaVA that `open_checkpoint` opens.
        out: the folder to come.
        kind: what the language model's matrices are in. The quantized ones are llama.cpp's doing: where it is not
            installed the file is float16, and a note has the command. The tower is float32 or float16.
        base, towers, template: see `open_checkpoint`.
        force: also write what llama.cpp does not compute as the model was trained.
        resume: go on after a run that was cut off.
        on_progress: called with bytes written and bytes in all.

    Raises:
        ModelError: the folder can not be opened, or llama.cpp has no place for the model; nothing is written.
        StorageError: the place is taken, the disk too small or read-only.
    """
    if out.resolve() == folder.resolve():
        raise StorageError(f"{out} would be read and written at once.", "Choose another folder for the result.")
    check_target(out)
    checkpoint = open_checkpoint(folder, base=base, towers=towers, template=template, force=force)
    if not force:
        _refuse(checkpoint)
    stem, dtype = file_stem(folder), torch.float32 if kind == "f32" else torch.float16
    quantized = kind in SHARE and llama_cpp_installed()
    language, mmproj = language_file(checkpoint, stem, dtype), mmproj_file(checkpoint, stem, dtype)
    plain = f"{stem}.{kind}.unquantized" if quantized else f"{stem}.gguf"
    files = {plain: language, f"mmproj-{stem}.gguf": mmproj}
    begun = unfinished(out)
    room = int(language.bytes * SHARE[kind]) if quantized else 0
    check_space(out, sum(file.bytes for name, file in files.items() if not (begun / name).exists()) + room)
    sources = {stored.file for stored in checkpoint.tensors.tensors.values()}
    made_from: dict[str, object] = {
        "convert": ["gguf", kind, template, {str(file): stamps([file]) for file in sorted(sources)}]
    }
    total, done = sum(file.bytes for file in files.values()), 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        if on_progress:
            on_progress(LoadProgress("writing", done, total))

    with draft_folder(out, made_from, resume=resume) as draft:
        for name, file in files.items():
            if (draft / name).exists():
                told(file.bytes)
            else:
                write(file, draft / name, told)
        if quantized:
            quantize(draft / plain, draft / f"{stem}.gguf", kind)
            (draft / plain).unlink()
        context = checkpoint.config.language.max_position_embeddings
        text = modelfile(checkpoint.template, f"{stem}.gguf", f"mmproj-{stem}.gguf", context)
        (draft / "Modelfile").write_text(text, encoding="utf-8")
    count = len(language.tensors) + len(mmproj.tensors)
    written = sum((out / name).stat().st_size for name in (f"{stem}.gguf", f"mmproj-{stem}.gguf"))
    notes = [*checkpoint.found.notes, *_notes(checkpoint)]
    if kind in SHARE and not quantized:
        notes.append(f"Without llama-cpp-python it is float16. To quantize: {quantize_command(out / plain, kind)}")
    return Converted(out, "gguf", count, written, tuple(notes))


def file_stem(folder: Path) -> str:
    """What the files are called after: the model's name, as a file may be called anywhere."""
    name = name_of(folder).rpartition("/")[2]
    name = name.removesuffix(folder.suffix) if folder.is_file() else name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "llava"


def language_file(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> GgufFile:
    """The language model with its tokenizer and its chat template.

    Raises:
        ModelError: llama.cpp has no name for how the tokenizer cuts text.
    """
    files = tokenizer_files(checkpoint)
    text = gguf_chat_template(checkpoint.template, checkpoint.tokenizer, checkpoint.config.image_token_id)
    keys: dict[str, Value] = {
        **_general("model", name, dtype),
        **language_keys(checkpoint.config.language),
        **vocabulary_keys(checkpoint, files),
        "tokenizer.chat_template": text,
    }
    return GgufFile(architecture(checkpoint.config.language), keys, language_tensors(checkpoint, dtype))


def mmproj_file(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> GgufFile:
    """The vision tower and the projector."""
    keys = _general("mmproj", name, dtype) | mmproj_keys(checkpoint)
    return GgufFile("clip", keys, mmproj_tensors(checkpoint, dtype))


def _general(kind: str, name: str, dtype: torch.dtype) -> dict[str, Value]:
    return {
        "general.type": kind,
        "general.name": name,
        "general.file_type": FILE_TYPES[dtype],
        "general.quantization_version": 2,  # ggml's GGML_QNT_VERSION
    }


def _refuse(checkpoint: Checkpoint) -> None:
    """Refuse what llama.cpp does not compute as it was trained. Raises `ModelError`."""
    why = ""
    if checkpoint.config.tiles is not None:
        why = (
            "it sees a picture in tiles, whose rows end in image_newline and lose their padding; llama.cpp strings "
            "the tiles together without either, which is not what the model learned"
        )
    elif checkpoint.config.keep_class_token:
        why = "it projects the tower's class token too, and llama.cpp leaves that out"
    if why:
        raise ModelError(
            f"{checkpoint.folder}: {why}.", "Serve it with llava serve, or write it all the same with --force."
        )


def _notes(checkpoint: Checkpoint) -> list[str]:
    notes = list(vocabulary_notes(checkpoint, tokenizer_files(checkpoint)))
    template = checkpoint.template
    if template.answer_end.strip() not in checkpoint.tokenizer.special_ids:
        stop = next((stop for stop in template.stops if "\n" not in stop), template.stops[0])
        notes.append(f"Its answers end in {stop!r}, which is no token: give llama.cpp's programs that as a stop text.")
    if checkpoint.config.projector != "mlp2x_gelu":
        notes.append("Its linear projector is written as two layers that compute the same through GELU.")
    notes.append(PICTURES_WRONG)
    return notes
