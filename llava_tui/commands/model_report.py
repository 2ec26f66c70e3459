"""What `llava models show` says of a checkpoint: what it turned out to be, and what it takes in memory.

In: an opened checkpoint, and where it is to go. Out: plain JSON data, and lines for a person. Decides nothing:
`open_checkpoint` found it, `plan` counted it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava_engine.byte_text import gibibytes, gigabytes
from llava_engine.opening import QUANTIZATIONS, Placement
from llava_engine.plan import Plan
from llava_tui.commands.plan_lines import plan_lines

if TYPE_CHECKING:
    import torch

    from llava_engine.checkpoints.checkpoint import Checkpoint

WEIGHT_FORMS = (".safetensors", ".bin")


def files_in(folder: Path) -> dict[str, Any]:
    """What of a folder (or a file alone) is weights, without opening any: their form, number and bytes."""
    files = folder.iterdir() if folder.is_dir() else [folder]
    weights = [file for file in files if file.suffix in WEIGHT_FORMS and file.is_file()]
    return {
        "forms": sorted({file.suffix for file in weights}),
        "count": len(weights),
        "bytes": sum(file.stat().st_size for file in weights),
    }


def plans(checkpoint: Checkpoint, placement: Placement) -> list[Plan]:
    """What a checkpoint takes with each quantization.

    Args:
        placement: where to; its own quantization is one of them.

    Raises:
        DeviceError: there is no such device, or not so long a context.
    """
    from llava_engine.model.placement import plan

    stored = _stored_dtype(checkpoint)
    return [plan(checkpoint.config, stored, replace(placement, quantize=quantize)) for quantize in QUANTIZATIONS]


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that is known of a checkpoint, as JSON data."""
    from llava_engine.checkpoints.checkpoint import left_out
    from llava_engine.model.config import MptConfig

    config, found = checkpoint.config, checkpoint.found
    vision, language = config.vision, config.language
    unused = left_out(checkpoint)
    used = {name: tensor for name, tensor in checkpoint.tensors.tensors.items() if name not in unused}
    return {
        "generation": found.generation,
        "layout": found.layout,
        "form": found.form,
        "base": None if found.base is None else str(found.base),
        "template": {"name": config.template, "why": found.template_why},
        "tower": {
            "where": found.tower,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "selected_layer": config.vision_feature_layer,
        },
        "pictures": {
            "mode": checkpoint.preprocessing.mode,
            "tokens": config.picture_tokens,
            "tiles": None if config.tiles is None else [list(size) for size in config.tiles.pinpoints],
        },
        "projector": config.projector,
        "language_model": {
            "kind": "MPT" if isinstance(language, MptConfig) else "Llama",
            "layers": language.num_hidden_layers,
            "width": language.hidden_size,
            "heads": language.num_attention_heads,
            "key_value_heads": language.num_key_value_heads,
            "vocabulary": language.vocab_size,
        },
        "context": language.max_position_embeddings,
        "dtype": str(_stored_dtype(checkpoint)).removeprefix("torch."),
        "parameters": sum(math.prod(tensor.shape) for tensor in used.values()),
        "notes": list(found.notes),
    }


def page(facts: dict[str, Any], plans: Sequence[Plan] = (), quantize: str = "none") -> Iterator[str]:
    """The facts as lines for a person, what the model takes with each quantization, and where all is with one."""
    files, tower, language = facts["files"], facts.get("tower"), facts.get("language_model")
    yield facts["name"]
    yield from _rows(("folder", facts["folder"]), ("files", _files_line(files)))
    if tower is None or language is None:  # it could not be opened, and the error says why
        return
    layout = {"original": "the original's", "hf": "Hugging Face's"}[facts["layout"]]
    over = f", over {facts['base']}" if facts["base"] else ""
    template, pictures = facts["template"], facts["pictures"]
    groups = "" if language["key_value_heads"] == language["heads"] else f" ({language['key_value_heads']} shared)"
    yield ""
    yield "What it is"
    yield from _rows(
        ("generation", facts["generation"]),
        ("layout", f"{layout}, {facts['form']}{over}"),
        ("template", f"{template['name']}: {template['why']}"),
        (
            "tower",
            f"{tower['image_size']} px in patches of {tower['patch_size']}, {tower['layers']} layers of "
            f"{tower['width']}, layer {tower['selected_layer']} is used",
        ),
        ("", tower["where"] if tower["where"].startswith("in ") else f"from {tower['where']}"),
        ("pictures", _pictures_line(pictures)),
        ("projector", facts["projector"]),
        (
            "language",
            f"{language['kind']}, {language['layers']} layers of {language['width']}, {language['heads']} heads"
            f"{groups}, {language['vocabulary']:,} tokens",
        ),
        ("context", f"{facts['context']:,} tokens"),
        ("weights", f"{_millions(facts['parameters'])} parameters in {facts['dtype']}"),
        *(("note", note) for note in facts["notes"]),
    )
    if plans:
        yield ""
        yield f"Memory with a context of {plans[0].context:,} tokens"
        yield f"  {'--quantize':<12}{'weights':>10}{'in all':>10}"
        for plan in plans:
            sizes = f"{gibibytes(plan.weights):>10}{gibibytes(plan.total):>10}"
            yield f"  {plan.quantize:<12}{sizes}  {'fits' if plan.fits else 'does not fit'}"
        yield ""
        yield from plan_lines(next(plan for plan in plans if plan.quantize == quantize))


def foreign_page(facts: dict[str, Any], plans: Sequence[Plan] = (), quantize: str = "none") -> Iterator[str]:
    """The facts of a model that transformers runs as lines for a person, and what its weights take."""
    yield facts["name"]
    yield from _rows(("folder", facts["folder"]), ("files", _files_line(facts["files"])))
    if "family" not in facts:
        return
    yield ""
    yield "What it is"
    yield from _rows(
        ("family", f"{facts['family']}: none of ours"),
        ("class", f"{facts['class'] or 'not named'}, run by transformers {facts['backend']['version']}"),
        ("template", "its own chat template"),
        ("context", f"{facts['context']:,} tokens" if facts["context"] else "not said"),
        ("weights", f"{_millions(facts['parameters'])} parameters, in {facts['dtype']} when loaded"),
        *((("quantized", facts["quantized"]),) if facts["quantized"] else ()),
        ("holds", f"chat, ask, serve, eval; {', '.join(facts['holds'])}; one answer at a time"),
        ("not here", f"train, convert; {', '.join(facts['lacks'])}; no promise that it answers as its original"),
    )
    for plan in plans:
        yield ""
        yield "Memory of the weights; a conversation takes more as it grows"
        yield from (f"  {line}" for line in plan_lines(plan))


def plan_facts(plan: Plan) -> dict[str, Any]:
    """A plan as JSON data."""
    return {
        "quantize": plan.quantize,
        "dtype": plan.dtype,
        "context": plan.context,
        "weights": plan.weights,
        "total": plan.total,
        "fits": plan.fits,
        "places": [
            {"device": place.device, "free": place.free, "needed": plan.needed(at)}
            for at, place in enumerate(plan.places)
        ],
        "parts": [
            {"name": part.name, "device": plan.places[part.place].device, "bytes": part.bytes, "layers": part.layers}
            for part in plan.parts
        ],
        "remedies": [{"options": one.options, "bytes": one.bytes} for one in plan.remedies],
    }


def _rows(*rows: tuple[str, str]) -> Iterator[str]:
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        yield f"  {name.ljust(width)}  {value}"


def _files_line(files: dict[str, Any]) -> str:
    if not files["count"]:
        return "no weights"
    plural = "s" if files["count"] > 1 else ""
    return f"{files['count']} weight file{plural} ({', '.join(files['forms'])}), {gigabytes(files['bytes'])}"


def _pictures_line(pictures: dict[str, Any]) -> str:
    if pictures["tiles"] is None:
        return f"{pictures['mode']}, {pictures['tokens']} tokens each"
    sizes = ", ".join(f"{width}×{height}" for height, width in pictures["tiles"])
    return f"{pictures['mode']}, {pictures['tokens']} tokens and more for tiles of {sizes} px"


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f} billion" if count >= 1e9 else f"{count / 1e6:.2f} million"


def _stored_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """What the weights are kept in, as the loader sees it: the dtype of the embeddings."""
    from llava_engine.checkpoints.tensor_names import embeddings_in

    return checkpoint.tensors.tensors[embeddings_in(checkpoint.tensors)].dtype
