"""Whatever answers -> an engine: a folder, ours or another family's, a hub id, or the address of a server.

The only part that knows the backends, each imported when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llava_engine.contract import EngineLike, LoadProgress, never
from llava_engine.opening import AUTO, EngineSource, Placement, Source, refuse_with_engine
from llava_engine.plan import Plan
from llava_engine.terminal_safe import SafeText

if TYPE_CHECKING:
    from llava_engine.backends.transformers.recognition import ForeignFolder


@dataclass(frozen=True)
class ModelAt:
    """A model that a server has: its name, and where the server says so, its tokens and whether it takes pictures."""

    name: SafeText
    context_length: int | None
    sees: bool | None


def open_engine(
    source: Source,
    placement: Placement = AUTO,
    *,
    on_progress: Callable[[LoadProgress], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> EngineLike:
    """Open what answers.

    Args:
        source: which model; an `EngineSource` may name a server.
        placement: where it goes and in what form; of a server only how many are asked of it at once.
        on_progress: told what is going on.
        cancelled: asked often; once it says yes, everything is let go.

    Raises:
        LlavaError: what `llava_engine.open_model` raises, `RemoteEngine.open` or `TransformersEngine.open`.
    """
    check(source, placement)
    if isinstance(source, EngineSource) and source.engine is not None:
        from llava_engine.backends.remote.engine import RemoteEngine

        def unwanted() -> bool:
            if on_progress:
                on_progress(LoadProgress("asking the server", 0, 0))  # raises where nobody waits for it any more
            return cancelled()

        return RemoteEngine.open(
            source.engine,
            source.model,
            key_file=source.engine_key_file,
            slots=placement.slots,
            cancelled=unwanted,
        )
    found = foreign(source)
    if found is not None:
        # Importing it imports torch and transformers, which takes seconds: so it is said before.
        if on_progress:
            on_progress(LoadProgress("importing transformers", 0, 0))
        from llava_engine.backends.transformers.engine import TransformersEngine

        return TransformersEngine.open(found, source, placement, on_progress=on_progress, cancelled=cancelled)
    import llava_engine

    return llava_engine.open_model(source, placement, on_progress=on_progress, cancelled=cancelled)


def models_at(url: str, key_file: str | None = None) -> tuple[str, list[ModelAt]]:
    """Where an address leads, and the models there.

    Raises:
        UsageError: the address is none, or there is no key where one was named.
        EngineAwayError: the server can not be reached, refuses, or is no engine.
    """
    from contextlib import closing

    from llava_engine.backends.remote.address import Address
    from llava_engine.backends.remote.discovery import models_of
    from llava_engine.backends.remote.key import find_key
    from llava_engine.backends.remote.server import Server

    address = Address.parse(url)
    with closing(Server(address, find_key(address, key_file, os.environ))) as server:
        found = models_of(server)[1]
    return address.where, [ModelAt(one.shown, one.context_length, one.sees) for one in found]


def check(source: Source, placement: Placement = AUTO) -> None:
    """Say at once what can be said before anything is opened: a name leads nowhere, an address or a key is none.

    Raises:
        ModelError: a model is not on this machine.
        UsageError: what is said does not go together, or is not what it should be.
    """
    if isinstance(source, EngineSource) and source.engine is not None:
        from llava_engine.backends.remote.address import Address
        from llava_engine.backends.remote.key import find_key

        refuse_with_engine([flag for flag in placement.changed() if flag != "--slots"])
        find_key(Address.parse(source.engine), source.engine_key_file, os.environ)
        return
    from llava_engine.checkpoints.catalog import find

    for name in (source.model, source.base, source.tower):
        if name is not None:
            find(name)
    found = foreign(source)
    if found is not None:
        from llava_engine.backends.transformers.asked import check_asked
        from llava_engine.backends.transformers.recognition import check_files

        check_asked(found, source, placement)
        check_files(found)


def describe_foreign(found: ForeignFolder, source: Source, placement: Placement) -> tuple[dict[str, Any], Plan]:
    """What can be said of a model that transformers is to run, as JSON data, and what it takes.

    Raises:
        LlavaError: what `check` raises; its files are broken.
    """
    from llava_engine.backends.transformers.describing import describe

    check(source, placement)
    return describe(found, placement)


def foreign(source: Source) -> ForeignFolder | None:
    """What a model is, where transformers is to run it: one of another family, or one for which it is asked for.

    Raises:
        ModelError: there is no such model, or it is asked for one that is not whole.
    """
    if isinstance(source, EngineSource) and source.engine is not None:
        return None
    from llava_engine.backends.transformers.recognition import as_foreign, foreign_folder
    from llava_engine.checkpoints.catalog import find

    folder = find(source.model)
    if isinstance(source, EngineSource) and source.backend == "transformers":
        return as_foreign(folder)
    return None if source.model is None else foreign_folder(folder)
