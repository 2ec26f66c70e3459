"""Whatever answers -> an engine: a folder, a hub id, or the address of a server.

The only part that knows the backends, each imported when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from llava_engine.contract import EngineLike, LoadProgress, never
from llava_engine.opening import AUTO, EngineSource, Placement, Source, refuse_with_engine


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
        placement: where it goes and in what form; not for a server.
        on_progress: told what is going on.
        cancelled: asked often; once it says yes, everything is let go.

    Raises:
        LlavaError: what `llava_engine.open_model` raises, or `RemoteEngine.open`.
    """
    check(source, placement)
    if isinstance(source, EngineSource) and source.engine is not None:
        from llava_engine.backends.remote.engine import RemoteEngine

        if on_progress:
            on_progress(LoadProgress("asking the server", 0, 0))
        return RemoteEngine.open(source.engine, source.model, key_file=source.engine_key_file, cancelled=cancelled)
    import llava_engine

    return llava_engine.open_model(source, placement, on_progress=on_progress, cancelled=cancelled)


def check(source: Source, placement: Placement = AUTO) -> None:
    """Say at once what can be said before anything is opened: a name leads nowhere, an address or a key is none.

    Raises:
        ModelError: a model is not on this machine.
        UsageError: what is said does not go together, or is not what it should be.
    """
    if isinstance(source, EngineSource) and source.engine is not None:
        from llava_engine.backends.remote.address import Address
        from llava_engine.backends.remote.key import find_key

        refuse_with_engine(placement.changed())
        find_key(Address.parse(source.engine), source.engine_key_file, os.environ)
        return
    from llava_engine.checkpoints.catalog import find

    for name in (source.model, source.base, source.tower):
        if name is not None:
            find(name)
