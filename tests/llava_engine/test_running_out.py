"""An engine outlives memory that runs out in the middle of an answer, and a load that the system has no room for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import llava_engine
from llava_engine import Conversation, Message, OutOfMemoryError, Reply, Sampling, open_picture
from llava_engine.engine import Engine
from tests.llava_engine.large import wide, write_large
from tests.llava_engine.tiny import TINY, complete

SEEN = Conversation((Message.user("what is this", [open_picture(Image.new("RGB", (70, 50), "red"))]),))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return llava_engine.load(complete(TINY, tmp_path / "tiny"), device="cpu")


def reply(engine: Engine, conversation: Conversation) -> tuple[int, ...]:
    *_, last = engine.stream(conversation, Sampling(max_new_tokens=10))
    assert isinstance(last, Reply)
    return last.token_ids


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_the_next_answer_is_as_if_nothing_had_been(engine: Engine, step: int) -> None:
    expected = reply(engine, SEEN)
    layer = engine._model.language_model.layers[1]
    calls = iter(range(10**6))

    def fail(*_: Any) -> None:
        if next(calls) == step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    hook = layer.register_forward_pre_hook(fail)
    other = SEEN.then(Message.assistant("a thing")).then(Message.user("what else"))
    with pytest.raises(OutOfMemoryError, match="ran out while answering") as caught:
        reply(engine, other)
    hook.remove()
    assert caught.value.plan == engine.card.plan
    assert reply(engine, SEEN) == expected


def test_many_questions_too(engine: Engine) -> None:
    hook = engine._model.language_model.layers[0].register_forward_pre_hook(no_memory)
    with pytest.raises(OutOfMemoryError):
        engine.answer([("one", ()), ("two", ())], max_new_tokens=3)
    hook.remove()
    assert len(engine.answer([("one", ()), ("two", ())], max_new_tokens=3)) == 2


def no_memory(*_: Any) -> None:
    raise MemoryError


_TIGHT = """
import json, resource, sys
from pathlib import Path
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.errors import OutOfMemoryError
from llava_engine.opening import Placement
from tests.llava_engine.tiny import parts
config, tensors = parts(Path(sys.argv[1]))
size = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
resource.setrlimit(resource.RLIMIT_AS, (size * 1024 + int(sys.argv[2]),) * 2)
try:
    load_for_inference(config, tensors, Placement(device="cpu", dtype="float32"))
except OutOfMemoryError as error:
    print(json.dumps({"cause": error.cause, "total": error.plan.total}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the process by RLIMIT_AS and /proc")
@pytest.mark.parametrize("megabytes", [150, 400])
def test_a_system_that_has_no_more(megabytes: int, tmp_path: Path) -> None:
    write_large(wide(layers=1), tmp_path / "model")
    command = [sys.executable, "-c", _TIGHT, str(tmp_path / "model"), str(megabytes * 10**6)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["cause"] == "Memory of cpu ran out while loading the model."
    assert told["total"] > 600 * 10**6
