"""What can be said of another family's folder without transformers: for whoever looks at a model before opening it."""

from __future__ import annotations

from typing import Any

from llava_engine.backends.transformers import memory
from llava_engine.backends.transformers.asked import HELD, NOT_HELD, transformers_version
from llava_engine.backends.transformers.recognition import ForeignFolder, check_files
from llava_engine.opening import Placement, flag_name
from llava_engine.plan import Plan


def describe(found: ForeignFolder, placement: Placement) -> tuple[dict[str, Any], Plan]:
    """All that is known of it, as JSON data, and what it takes. Raises what `check_files` and `plan` raise."""
    context = placement.context or found.context
    plan, parameters = memory.plan(found, check_files(found), placement, context)
    return {
        "family": found.kind,
        "class": found.architecture or None,
        "backend": {"library": "transformers", "version": transformers_version()},
        "quantized": found.quantized or None,
        "holds": list(HELD),
        "lacks": [flag_name(name) for name in NOT_HELD],
        "context": context,
        "dtype": plan.dtype,
        "parameters": parameters,
    }, plan
