"""A folder of another family -> its model and processor, by transformers: offline, safetensors, none of its own code.

What was asked for and can not be held was refused before (asked.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.backends.transformers.recognition import ForeignFolder, check_files
from llava_engine.contract import LoadProgress, never
from llava_engine.errors import DeviceError, LlavaError, LoadCancelledError, ModelError
from llava_engine.opening import Placement
from llava_engine.plan import Plan


@dataclass(frozen=True)
class Loaded:
    """What a folder became.

    Attributes:
        model: transformers', on its device.
        processor: transformers', with a chat template.
        device: where the model is.
        dtype: of its weights.
        plan: what it takes.
        parameters: how many numbers its files hold.
        context: the most tokens of a conversation; None where nothing says it.
        version: of transformers.
    """

    model: Any
    processor: Any
    device: str
    dtype: str
    plan: Plan
    parameters: int
    context: int | None
    version: str


def load(
    found: ForeignFolder,
    placement: Placement,
    *,
    on_progress: Callable[[LoadProgress], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> Loaded:
    """Load a folder that `check_asked` let pass.

    Raises:
        ModelError: transformers has no class for it, or its files are broken, not whole, or can hold code.
        DeviceError: this machine lacks the device, or the model is not that long.
        OutOfMemoryError: it does not fit.
        LoadCancelledError: it was cancelled.
    """

    def tell(stage: str, done: int = 0, total: int = 0) -> None:
        if cancelled():
            raise LoadCancelledError
        if on_progress:
            on_progress(LoadProgress(stage, done, total))

    weights = check_files(found)
    tell("importing transformers")
    with _quietly(found.folder):
        transformers = _import()
        config = _config(found, transformers)
        context = _context(config, placement)
        from llava_engine.backends.transformers import memory
        from llava_engine.model.out_of_memory import clear_out_of_memory, does_not_fit

        plan, parameters = memory.plan(found, weights, placement, context)
        if not plan.fits:
            raise does_not_fit(plan)
        from llava_engine.backends.transformers.processor import processor_of

        processor = processor_of(found.folder, found.kind)
        tell("reading weights", 0, plan.total)
        with clear_out_of_memory("loading the model", plan):
            model = _model(found, config, plan, transformers)
    tell("reading weights", plan.total, plan.total)
    return Loaded(
        model, processor, plan.places[0].device, plan.dtype, plan, parameters, context, transformers.__version__
    )


def _import() -> Any:
    import transformers

    transformers.logging.set_verbosity_error()  # it would write into the screen
    transformers.logging.disable_progress_bar()
    return transformers


def _config(found: ForeignFolder, transformers: Any) -> Any:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    from llava_engine.backends.transformers.processor import LOCAL

    if found.kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        own = ", and its own code is not run here" if found.has_code else ""
        raise ModelError(
            f"{found.folder} is a {found.kind}: transformers {transformers.__version__} has no vision-language model "
            f"of that kind{own}.",
            "Take a version in transformers' own layout (often named -hf), or a newer transformers.",
        )
    config = transformers.AutoConfig.from_pretrained(found.folder, **LOCAL)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{found.folder} is a {found.kind}, which holds no conversation.", "Take another model.")
    return config


def _context(config: Any, placement: Placement) -> int | None:
    longest = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    longest = longest if isinstance(longest, int) and longest > 0 else None
    if placement.context is not None and longest is not None and placement.context > longest:
        raise DeviceError(
            f"A context of {placement.context:,} tokens is not possible.", f"This model has 1 to {longest:,}."
        )
    return placement.context or longest


def _model(found: ForeignFolder, config: Any, plan: Plan, transformers: Any) -> Any:
    import torch

    from llava_engine.backends.transformers.processor import LOCAL

    asked = {
        "config": config,
        "dtype": getattr(torch, plan.dtype),
        "use_safetensors": True,
        "output_loading_info": True,
        **LOCAL,
    }
    try:
        # Said, for a config may name an implementation that is fetched.
        model, told = transformers.AutoModelForImageTextToText.from_pretrained(
            found.folder, attn_implementation="sdpa", **asked
        )
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error) and "sdpa" not in str(error).lower():
            raise
        model, told = transformers.AutoModelForImageTextToText.from_pretrained(
            found.folder, attn_implementation="eager", **asked
        )
    lacking = sorted({*told["missing_keys"], *(str(one[0]) for one in told["mismatched_keys"])})
    if lacking:
        raise ModelError(
            f"{found.folder}: {len(lacking)} weights are missing or of another shape than config.json says, as "
            f"{lacking[0]}.",
            "Download or copy the folder again.",
        )
    return model.to(plan.places[0].device).eval().requires_grad_(False)


@contextmanager
def _quietly(folder: Path) -> Iterator[None]:
    """Let nothing be written to the screen, and say in one line whatever transformers has against a folder."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (LlavaError, KeyboardInterrupt):
        raise
    except Exception as error:  # of a stranger's files and a library that reads them: of every kind
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"transformers can not open {folder}: {why[0]}", "Take the model's folder complete."
        ) from error
