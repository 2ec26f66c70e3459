"""The model in words: what a person types after /model -> how it is opened; what it is called -> what is shown.

In: the words, and what the chat was started with, which stays where nothing else is said. Knows no model.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from llava_engine.contract import ModelCard
from llava_engine.errors import UsageError
from llava_engine.flags import flags, parse
from llava_engine.opening import AUTO, EngineSource, Placement, is_address
from llava_engine.terminal_safe import SafeText, one_line


def title_of(card: ModelCard) -> SafeText:
    """A model as people tell it from others: its name, and where it answers, if that is not here."""
    return one_line(f"{card.name} at {card.where}" if card.where else card.name)


def read_words(words: str, source: EngineSource, placement: Placement) -> tuple[EngineSource, Placement]:
    """Which model to open now, and where to.

    Args:
        words: "~/llava-7b --quantize int8", "--device cpu", "~/adapter --base ~/vicuna-7b", "http://gpu1:8000".
        source: what was asked for before; with another model nothing of it stays.
        placement: likewise; with another model only the context goes, since it was the old one's. A server's model
            is placed already.

    Raises:
        UsageError: an unknown option, one without its value or with a wrong one, two models, an open quote.
    """
    try:
        named, said = parse(shlex.split(words), (EngineSource, Placement))
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{words} can not be read: {error}.") from None
    if named and is_address(named[0]):
        said["engine"] = named.pop(0)
    if "model" in said:
        named.append(said.pop("model"))
    if len(named) > 1:
        raise UsageError(f"There are two models: {' and '.join(named)}.", "Put a name with spaces in quotes.")
    if "engine" in said:
        source, placement = EngineSource(named[0] if named else None, engine=said.pop("engine")), AUTO
    elif named:
        source, placement = EngineSource(named[0]), replace(placement, context=None)
    if said.get("device", "auto") != "auto":
        said = {"devices": None} | said
    if said.get("devices") is not None:
        said = {"device": "auto"} | said
    of_source = {one.name for one in flags(EngineSource)}
    return (
        replace(source, **{name: value for name, value in said.items() if name in of_source}),
        replace(placement, **{name: value for name, value in said.items() if name not in of_source}),
    )
