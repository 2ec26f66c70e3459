"""A checkpoint of any kind -> a folder in another layout: Hugging Face's, the original's, or the projector alone.

From files to files, tensor by tensor: no model is built, and memory holds one tensor. The folder appears under its
name when it is whole; what was cut off goes on. Knows nothing of who asks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.layouts.folder_plan import FolderPlan, OutTensor
from llava_engine.checkpoints.layouts.hf.writing import hf_folder
from llava_engine.checkpoints.layouts.original.writing import original_folder
from llava_engine.checkpoints.layouts.projector import projector_folder
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError, StorageError
from llava_engine.files.drafts import check_space, check_target, draft_folder, stamps, unfinished
from llava_engine.files.safety import copy_own_file
from llava_engine.files.shards import SHARD_BYTES, ShardWriter, divide
from llava_engine.model.placement import TORCH_DTYPES

Target = Literal["hf", "original", "projector", "merged"]


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        folder: where.
        layout: "hf", "original" or "projector".
        tensors: how many.
        bytes: of all weights.
        notes: what a person should know, a sentence each.
    """

    folder: Path
    layout: str
    tensors: int
    bytes: int
    notes: tuple[str, ...]


def convert(
    folder: Path,
    to: Target,
    out: Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    base: Path | None = None,
    towers: Mapping[str, Path] | None = None,
    template: str | None = None,
    force: bool = False,
    resume: bool = False,
    on_progress: Callable[[LoadProgress], None] | None = None,
) -> Converted:
    """Convert a checkpoint.

    Args:
        folder: any LLaVA that `open_checkpoint` opens.
        to: "hf" or "original" layout; "projector": it alone, to be opened over a base; "merged": an adapter or a
            projector folded into its base, in the layout that it has.
        out: the folder to come.
        dtype: "float32", "bfloat16" or "float16" for all weights; None keeps what each has. What an adapter changed
            is float32 then.
        shard_bytes: how large a file may be.
        base, towers, template, force: see `open_checkpoint`.
        resume: go on after a run that was cut off.
        on_progress: called with bytes written and bytes in all.

    Raises:
        ModelError: the folder can not be opened, or the layout has no place for it; nothing is written.
        StorageError: the place is taken, the disk too small or read-only.
    """
    if out.resolve() == folder.resolve():
        raise StorageError(f"{out} would be read and written at once.", "Choose another folder for the result.")
    check_target(out)
    checkpoint = open_checkpoint(folder, base=base, towers=towers, template=template, force=force)
    kind, plan = _plan(checkpoint, to, None if dtype is None else TORCH_DTYPES[dtype])
    if dtype is not None:
        plan = replace(plan, tensors=tuple(_as(tensor, TORCH_DTYPES[dtype]) for tensor in plan.tensors))
    if kind == "projector":
        shard_bytes = sys.maxsize  # one file, as everybody looks for it
    shards = divide((tensor.planned for tensor in plan.tensors), shard_bytes, stem=plan.stem)
    begun = unfinished(out)
    check_space(out, sum(shard.bytes for shard in shards if not (begun / shard.file).exists()))
    files = {stored.file for stored in checkpoint.tensors.tensors.values()}
    made_from: dict[str, object] = {
        "convert": [to, dtype, shard_bytes, template, {str(file): stamps([file]) for file in sorted(files)}]
    }
    total = sum(tensor.planned.bytes for tensor in plan.tensors)
    with draft_folder(out, made_from, resume=resume) as draft:
        with ShardWriter(draft, shards) as writer:
            missing = set(writer.missing)
            done = sum(tensor.planned.bytes for tensor in plan.tensors if tensor.planned.name not in missing)
            for tensor in plan.tensors:
                if tensor.planned.name in missing:
                    writer.write(tensor.planned.name, tensor.read())
                    done += tensor.planned.bytes
                    if on_progress:
                        on_progress(LoadProgress("writing", done, total))
            writer.finish()
        _write_files(plan, draft)
    notes = [*checkpoint.found.notes, *plan.notes]
    if dtype is None and checkpoint.found.form == "adapter" and kind != "projector":
        notes.append("What the adapter changed is float32 now; --dtype float16 halves it.")
    return Converted(out, kind, len(plan.tensors), total, tuple(notes))


def _plan(checkpoint: Checkpoint, to: Target, dtype: torch.dtype | None) -> tuple[str, FolderPlan]:
    if to == "projector":
        return "projector", projector_folder(checkpoint, dtype)
    if to == "merged":
        if checkpoint.found.form == "whole":
            raise ModelError(
                f"{checkpoint.folder} is a whole model; there is nothing to merge.",
                "Change its layout with --to hf or --to original.",
            )
        to = checkpoint.found.layout
    return to, (hf_folder if to == "hf" else original_folder)(checkpoint, dtype)


def _as(tensor: OutTensor, dtype: torch.dtype) -> OutTensor:
    """A tensor of floats in another dtype; tables of rotary angles stay as they are."""
    name, stored = tensor.planned.name, tensor.planned.dtype
    if not stored.is_floating_point or stored == dtype or name.endswith("inv_freq"):
        return tensor

    def read() -> Tensor:
        before = tensor.read()
        after = before.to(dtype)
        if dtype == torch.float16 and not torch.isfinite(after).all() and torch.isfinite(before).all():
            raise ModelError(f"{name} has numbers too large for float16.", "Use --dtype bfloat16.")
        return after

    return OutTensor(replace(tensor.planned, dtype=dtype), read)


def _write_files(plan: FolderPlan, folder: Path) -> None:
    for name, content in plan.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            copy_own_file(content, folder / name)
        else:
            (folder / name).write_text(content, encoding="utf-8")
