"""A folder of another family -> its model and processor, by transformers: offline, safetensors, none of its own code.

What is asked for and can not be held is refused by its flag's name, before anything heavy is imported.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib import util
from pathlib import Path
from typing import Any

from llava_engine.backends.transformers.recognition import ForeignFolder, check_files
from llava_engine.contract import LoadProgress, never
from llava_engine.errors import DeviceError, LlavaError, LoadCancelledError, ModelError, UsageError
from llava_engine.opening import Placement, Source, flag_name
from llava_engine.plan import Part, Place, Plan, Remedy

_NOT_HELD = ("quantize", "max_memory", "devices")
_ONLY_OURS = ("base", "tower", "template", "force")
_LEAST_VERSION = (5, 23)


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


def check_asked(found: ForeignFolder, source: Source, placement: Placement) -> None:
    """Refuse what can not be held for another family, and a machine without transformers.

    Raises:
        UsageError: an option that only ours has.
        ModelError: the extra is not installed.
    """
    said: list[tuple[object, Sequence[str]]] = [(placement, _NOT_HELD), (source, _ONLY_OURS)]
    for values, names in said:
        for one in fields(values):  # type: ignore[arg-type]
            if one.name in names and getattr(values, one.name) != one.default:
                raise UsageError(
                    f"{flag_name(one.name)} does not hold for {found.folder.name}: it is a {found.kind}, which "
                    "transformers runs.",
                    "Leave it away; --device, --dtype and --context hold.",
                )
    if util.find_spec("transformers") is None:
        raise ModelError(
            f"{found.folder} is a {found.kind}, which needs transformers, and that is not installed.",
            "pip install 'llava[hf]'",
        )


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
        plan, parameters = _plan(found, weights, placement, context)

        from llava_engine.model.out_of_memory import clear_out_of_memory, does_not_fit

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

    said = transformers.__version__.split(".")[:2]
    if tuple(int(part) for part in said if part.isdecimal()) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise ModelError(
            f"transformers {transformers.__version__} is too old: {least} is needed.", "pip install -U 'llava[hf]'"
        )
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


def _plan(found: ForeignFolder, weights: Sequence[Path], placement: Placement, context: int | None) -> tuple[Plan, int]:
    """What the weights take where, and how many numbers they are. Keys and values come on top, as they are needed."""
    import torch

    from llava_engine.files.tensor_files import TensorFiles
    from llava_engine.model.free_memory import limit_for
    from llava_engine.model.placement import choose_dtype, first_device

    tensors = TensorFiles(found.folder, weights).tensors.values()
    device = torch.device(first_device(placement.device))
    sizes = [(math.prod(one.shape), one.dtype) for one in tensors]
    parameters = sum(count for count, _ in sizes)
    by_dtype: dict[torch.dtype, int] = {}
    for count, kind in sizes:
        by_dtype[kind] = by_dtype.get(kind, 0) + count
    stored = max((kind for kind in by_dtype if kind.is_floating_point), key=by_dtype.__getitem__, default=torch.float32)
    place = Place(str(device), limit_for(device, {}))

    def planned(dtype: torch.dtype) -> Plan:
        keeps = bool(found.quantized)  # then the files' own form stays
        size = sum(
            count * (dtype if kind.is_floating_point and not keeps else kind).itemsize
            for kind, count in by_dtype.items()
        )
        name = str(dtype).removeprefix("torch.")
        return Plan((place,), (Part("layers", 0, size),), name, found.quantized or "none", context or 0)

    plan = planned(choose_dtype(placement.dtype, [device], stored, parameters))
    half = planned(torch.bfloat16)
    if not plan.fits and half.fits:
        plan = replace(plan, remedies=(Remedy("--dtype bfloat16", half.total),))
    return plan, parameters


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
