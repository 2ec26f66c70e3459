"""A plan of a model's memory as lines for a person: what each device needs and has, and what takes it.

In: a `Plan`. Out: lines of up to 60 characters, for standard error, a notice or a page. Must not compute anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from llava_engine.byte_text import gibibytes
from llava_engine.plan import Part, Plan


def plan_lines(plan: Plan) -> Iterator[str]:
    """What goes where, device by device, and what would fit when it does not."""
    form = "not quantized" if plan.quantize == "none" else f"layers in {plan.quantize}"
    at_once = f" for each of {plan.slots} at once" if plan.slots > 1 else ""
    yield f"{plan.dtype}, {form}, {plan.context:,} tokens of context{at_once}"
    for at, place in enumerate(plan.places):
        free = "" if place.free is None else f"; {gibibytes(place.free)} may be used"
        yield f"{place.device}: needs {gibibytes(plan.needed(at))}{free}"
        rows = [(_label(part, plan), part.bytes) for part in plan.parts if part.place == at and part.bytes]
        width = max((len(name) for name, _ in rows), default=0)
        yield from (f"  {name.ljust(width)}  {gibibytes(size):>9}" for name, size in rows)
    if not plan.fits and plan.remedies:
        yield "What would fit:"
        yield from (f"  {one.options}  ({gibibytes(one.bytes)})" for one in plan.remedies)


def _label(part: Part, plan: Plan) -> str:
    if part.layers is None or len(plan.places) == 1:
        return part.name
    span = f"layers {part.layers[0] + 1} to {part.layers[1]}"
    return span if part.name == "layers" else f"{part.name}, {span}"
