"""The model of a session: none, one that is being loaded, or one that answers. One at a time, on one thread.

Knows nothing of chats.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from llava_engine.contract import EngineLike, LoadProgress
from llava_engine.errors import LoadCancelledError
from llava_tui.session.engine_thread import EngineThread
from llava_tui.session.events import Loading, ModelReady
from llava_tui.session.outbox import Outbox

LoadModel = Callable[[Callable[[LoadProgress], None]], EngineLike]
"""Loads a model, telling its progress (which raises LoadCancelledError when nobody wants the model any more); raises
LlavaError. Runs on the engine's thread."""


class ModelLoader:
    """Where the model sits.

    Args:
        outbox: is told of progress, of the model, of what went wrong.
        ready: called on the session's thread when a model has come.

    Attributes:
        engine: the model; None while there is none.
        loading: one is on its way.
        progress: how far it is; None while nothing was heard of it.
    """

    def __init__(self, outbox: Outbox, ready: Callable[[], None]) -> None:
        self._outbox = outbox
        self._ready = ready
        self._cancel = threading.Event()
        self._thread = EngineThread(lambda error: outbox.later(lambda: outbox.tell(error)))
        self.engine: EngineLike | None = None
        self.loading = False
        self.progress: LoadProgress | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job on the engine's thread, after those before it."""
        self._thread.submit(job)

    def load(self, loader: LoadModel) -> None:
        """Load a model in the background. The old one goes first: its memory is needed. So does a load under way."""
        self._cancel.set()
        self._cancel = cancel = threading.Event()
        leaving, self.engine = self.engine, None
        if leaving is not None:
            self._thread.submit(leaving.close)
        del leaving
        self.loading = True
        self.progress = None

        def job() -> None:
            def note(progress: LoadProgress) -> None:
                if cancel.is_set():
                    raise LoadCancelledError
                self._outbox.later(lambda: None if cancel.is_set() else self._note(progress))

            try:
                engine = loader(note)
            except LoadCancelledError:
                return
            except BaseException as error:
                failure = error  # `error` is gone when it is read
                self._outbox.later(lambda: None if cancel.is_set() else self._failed(failure))
            else:
                if cancel.is_set():
                    engine.close()
                else:
                    self._outbox.later(lambda: self._unwanted(engine) if cancel.is_set() else self._loaded(engine))

        self._thread.submit(job)

    def close(self, timeout_s: float) -> None:
        """End the thread after its job, and the model with it; a load under way is cancelled."""
        self._cancel.set()
        if self.engine is not None:
            self._thread.submit(self.engine.close)
        self._thread.close(timeout_s)

    def _note(self, progress: LoadProgress) -> None:
        self.progress = progress
        self._outbox.add(Loading(progress))

    def _loaded(self, engine: EngineLike) -> None:
        self.engine, self.loading, self.progress = engine, False, None
        self._outbox.add(ModelReady(engine.card))
        self._ready()

    def _unwanted(self, engine: EngineLike) -> None:
        """It came when somebody had asked for another already."""
        self._thread.submit(engine.close)

    def _failed(self, error: BaseException) -> None:
        self.loading, self.progress = False, None
        self._outbox.tell(error)
