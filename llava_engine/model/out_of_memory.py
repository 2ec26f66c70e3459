"""Memory that runs out, in any of the ways in which torch and Python say so -> one `OutOfMemoryError` with the plan."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from llava_engine.byte_text import gibibytes
from llava_engine.errors import OutOfMemoryError
from llava_engine.plan import Plan


@contextmanager
def clear_out_of_memory(doing: str, plan: Plan) -> Iterator[None]:
    """Turn "no memory" inside the block into one clear error, and free what the block's calls held.

    Args:
        doing: "loading the model", "answering": for the error's text.
        plan: what the model takes; goes with the error.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        # The error would hold all frames, and they the tensors, for as long as somebody looks at it.
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        for place in plan.places:
            if place.device.startswith("cuda"):
                torch.cuda.empty_cache()
        raise ran_out(doing, plan) from None


def ran_out(doing: str, plan: Plan) -> OutOfMemoryError:
    """Memory ran out though the plan said that it fits."""
    device = " and ".join(dict.fromkeys(place.device for place in plan.places))
    return OutOfMemoryError(f"Memory of {device} ran out while {doing}.", _remedy(plan), plan)


def does_not_fit(plan: Plan) -> OutOfMemoryError:
    """The plan says that it does not fit."""
    lacking = [
        f"{gibibytes(plan.needed(at))} on {place.device}, where {gibibytes(place.free)} may be used"
        for at, place in enumerate(plan.places)
        if place.free is not None and plan.needed(at) > place.free
    ]
    return OutOfMemoryError(f"The model needs {' and '.join(lacking)}.", _remedy(plan), plan)


def _remedy(plan: Plan) -> str:
    if plan.remedies:
        return "Try " + ", or ".join(f"{one.options} ({gibibytes(one.bytes)})" for one in plan.remedies[:3]) + "."
    if not plan.fits:
        return "Nothing that we know of would make it fit: take a smaller model, or free some memory."
    if plan.quantize == "none":
        return "Try --quantize int8 or int4, a smaller --context, or close other programs."
    return "Try a smaller --context, a smaller model, or close other programs."


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text or "can't allocate memory" in text or "out of memory" in text.lower()
