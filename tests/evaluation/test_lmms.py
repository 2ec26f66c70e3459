"""The bridge to lmms-eval, against a stand-in of its interface: its registry's manifest, its `lmms`, its requests."""

from __future__ import annotations

import abc
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from llava_engine.contract import Progress, Reply, Sampling, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import PictureError, UsageError
from tests.fakes.fake_engine import FakeEngine
from tests.source import ROOT
from training.evaluation import lmms as bridge


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None


class CacheHook:
    def __init__(self) -> None:
        self.kept: list[tuple[Any, ...]] = []

    def add_partial(self, *row: Any) -> None:
        self.kept.append(row)


class lmms(abc.ABC):
    is_simple = True

    def __init__(self) -> None:
        self.task_dict: dict[str, Any] = {}
        self.cache_hook = CacheHook()

    @abc.abstractmethod
    def loglikelihood(self, requests: list[Any]) -> Any: ...

    @abc.abstractmethod
    def generate_until(self, requests: list[Any]) -> Any: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: list[Any]) -> Any: ...


@dataclass
class Instance:
    args: tuple[Any, ...] = field(default_factory=tuple)


class Echo(FakeEngine):
    """Answers with what it was asked."""

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        [last] = conversation.messages
        self._answers = ((f"{last.text}|{[picture.size for picture in last.pictures]}",),)
        yield from super().stream(conversation, sampling, begun=begun, cancelled=cancelled)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What was opened, while lmms-eval seems to be installed."""
    modules = {"lmms_eval": {}, "lmms_eval.api": {}, "lmms_eval.api.model": {"lmms": lmms}, "lmms_eval.models": {},
               "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest}}  # fmt: skip
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    seen: list[Any] = []

    def open_engine(source: Any, placement: Any) -> Echo:
        seen.extend((source, placement))
        return Echo()

    monkeypatch.setattr(bridge, "open_engine", open_engine)
    bridge._model_class.cache_clear()
    yield seen
    bridge._model_class.cache_clear()


def test_the_registry_finds_a_class_of_its_own_kind(opened: list[Any]) -> None:
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["lmms_eval.models"]
    module, _, name = entry["llava_terminal"].partition(":")
    manifest = getattr(sys.modules[module], name)()
    assert manifest.model_id == "llava_terminal"
    module, _, name = manifest.simple_class_path.rpartition(".")
    model = getattr(sys.modules[module], name)
    assert issubclass(model, lmms) and model.is_simple
    model(pretrained="folder", quantize="int8", batch_size="8", device=None)
    source, placement = opened
    assert (source.model, placement.quantize, placement.slots, placement.device) == ("folder", "int8", 8, "auto")


def test_answers_come_back_in_order_and_what_fails_is_empty(opened: list[Any], caplog: Any) -> None:
    model = bridge.LlavaTerminal()
    docs = [{"picture": Image.new("RGB", (10 + number, 8))} for number in range(4)]
    model.task_dict = {"pope": {"test": docs}}

    def visual(doc: Any) -> list[Any]:
        if doc is docs[2]:
            raise PictureError("It is broken.")
        return [] if doc is docs[3] else [doc["picture"]]

    settings = {"until": ["\n\n"], "max_new_tokens": 7, "temperature": 0, "num_beams": 1}
    requests = [Instance((f"<image>\nWhat is {n}?", settings, visual, n, "pope", "test")) for n in range(4)]
    found = model.generate_until(requests)
    assert found == ["What is 0?|[(10, 8)]", "What is 1?|[(11, 8)]", "", "What is 3?|[]"]
    assert "request 2 is not answered" in caplog.text
    assert sorted(row[2] for row in model.cache_hook.kept) == sorted(text for text in found if text)
    assert {one.max_new_tokens for one in model._engine.samplings} == {7}
    for refused in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(UsageError):
            refused(requests)


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({}, Sampling(max_new_tokens=1024)),
        ({"until": "###", "max_new_tokens": 16}, Sampling(max_new_tokens=16, stops=("###",))),
        ({"temperature": 0.7, "top_p": 0.9, "until": ["a", ""]},
         Sampling(temperature=0.7, top_p=0.9, max_new_tokens=1024, stops=("a",))),
        ({"temperature": 0.7, "do_sample": False, "top_p": None}, Sampling(max_new_tokens=1024)),
    ],
)  # fmt: skip
def test_a_tasks_settings_are_ours(chosen: dict[str, Any], wanted: Sampling) -> None:
    assert bridge.sampling(chosen) == wanted
