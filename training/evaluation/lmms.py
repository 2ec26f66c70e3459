"""A bridge to lmms-eval: our engines, near and far, answer what its tasks ask.

    python -m lmms_eval --model llava_terminal --model_args pretrained=FOLDER,quantize=int8 --tasks pope --batch_size 8

It finds `manifest` by the entry point "lmms_eval.models". lmms-eval is never a dependency: it is imported when it
calls, and `LlavaTerminal` is made then, for it must be a subclass of its `lmms`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from llava_engine.backends.opening import open_engine
from llava_engine.contract import EngineLike, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import LlavaError, UsageError
from llava_engine.many import answer_all
from llava_engine.opening import MOST_SLOTS, EngineSource, Placement
from llava_engine.questions import Open, Question

NAME = "llava_terminal"
MOST_NEW_TOKENS = 1024
"""Of an answer, where a task does not say."""

_log = logging.getLogger(__name__)


def manifest() -> Any:
    """What lmms-eval's registry wants to know."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(NAME, simple_class_path=f"{__name__}.LlavaTerminal")


def __getattr__(name: str) -> Any:
    if name == "LlavaTerminal":
        return _model_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _model_class() -> type:
    from lmms_eval.api.model import lmms

    return type("LlavaTerminal", (_Answering, lmms), {"__doc__": _Answering.__doc__, "__module__": __name__})


class _Answering:
    """A model of lmms-eval that any engine of ours answers for.

    Args:
        pretrained: a folder or hub id; the tiny model where None.
        engine: the address of a server, in place of a model of this machine.
        base, tower, template, device, dtype, quantize, backend: as `llava ask` takes them.
        batch_size: how many questions are asked at once.
        max_batch_size: not used.
    """

    is_simple = True
    task_dict: Mapping[str, Any]
    cache_hook: Any

    def __init__(
        self,
        pretrained: str | None = None,
        engine: str | None = None,
        base: str | None = None,
        tower: str | None = None,
        template: str | None = None,
        device: str | None = "auto",
        dtype: str = "auto",
        quantize: str = "none",
        backend: str = "auto",
        batch_size: int | str | None = 1,
        max_batch_size: int | str | None = None,
    ) -> None:
        super().__init__()
        asked = str(batch_size)
        slots = min(int(asked), MOST_SLOTS) if asked.isdecimal() else None
        source = EngineSource(pretrained, base, tower, template, engine=engine, backend=backend)
        self._engine: EngineLike = open_engine(source, Placement(device or "auto", dtype, quantize, slots=slots))

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The answers, in order; "" for what can not be answered, which is logged."""
        answers = [""] * len(requests)
        questions = (self._question(place, request.args) for place, request in enumerate(requests))
        for answered in answer_all(self._engine, questions):
            if isinstance(answered.outcome, LlavaError):
                _log.warning("request %d is not answered: %s", answered.key, answered.outcome)
            elif isinstance(answered.outcome, Exception):
                raise answered.outcome
            else:
                answers[answered.key] = answered.outcome.text
                context, chosen, *_ = requests[answered.key].args
                self.cache_hook.add_partial("generate_until", (context, chosen), answered.outcome.text)
        return answers

    def _question(self, place: int, args: tuple[Any, ...]) -> Question[int]:
        context, chosen, doc_to_visual, doc_id, task, split = args
        text = context.replace("<image>", "").strip()

        def conversation(opening: Open) -> Conversation:
            shown = doc_to_visual(self.task_dict[task][split][doc_id]) or []
            return Conversation((Message.user(text, [opening(source) for source in shown]),))

        return Question(place, conversation, sampling=sampling(chosen), place=(f"{task}/{split}/{doc_id}", len(text)))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refused: no engine of ours tells probabilities."""
        raise UsageError("llava gives answers, no likelihoods.", "Choose a task that generates.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refused."""
        raise UsageError("llava answers lmms-eval's tasks of one round only.", "Choose a task of one round.")


def sampling(chosen: Mapping[str, Any]) -> Sampling:
    """A task's generation settings; greedy unless it samples. Beams are not known here, and one is used."""
    until = chosen.get("until") or ()
    temperature = float(chosen.get("temperature") or 0.0) if chosen.get("do_sample", True) else 0.0
    return Sampling(
        temperature=temperature,
        top_p=float(chosen.get("top_p") or 1.0),
        max_new_tokens=int(chosen.get("max_new_tokens") or MOST_NEW_TOKENS),
        stops=tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop),
    )
