"""Our own `llava serve`, in a process of its own: what the far engine answers is what the engine here answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import llava_engine
from llava_engine.backends.opening import open_engine
from llava_engine.contract import EngineLike, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ContextOverflowError, EngineAwayError
from llava_engine.opening import EngineSource, Placement
from tests.fakes.fake_picture import fake_picture
from tests.fakes.far_server import patiently

pytestmark = pytest.mark.slow
pytest.importorskip("starlette", reason="the server's extra is not installed")

KEY = "a-key-of-the-test"
RED, BLUE = fake_picture("a.png", "red", (64, 64)), fake_picture("b.png", "blue", (64, 64))
ABOUT = Conversation((Message.user("What colour is it?", [RED]),))
CONVERSATIONS = [
    ABOUT,
    Conversation((Message.user("Hello."),)),
    Conversation((*ABOUT.messages, Message.assistant("Red."), Message.user("And this?", [BLUE]))),
    Conversation((Message("user", "Is this a circle, or this?", (RED, BLUE), (7, 20)),)),
    Conversation(ABOUT.messages, "Answer in one word."),
    Conversation(ABOUT.messages, ""),
]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    main = "from llava_tui.cli import main; main()"
    command = [sys.executable, "-c", main, "serve", "--port", "0", "--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "LLAVA_SERVE_KEY": KEY, "PYTHONPATH": str(Path(llava_engine.__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said: list[str] = []
        assert process.stdout is not None

        def read(lines: Iterator[bytes]) -> None:
            said.extend(line.decode("utf-8", "replace") for line in lines)

        threading.Thread(target=read, args=(iter(process.stdout.readline, b""),), daemon=True).start()

        def address() -> str:
            found = re.search(r"http://127\.0\.0\.1:\d+", "".join(said))
            return found[0] if found else ""

        try:
            assert patiently(lambda: bool(address())), "".join(said)
            yield address()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def far(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLike]:
    file = tmp_path_factory.mktemp("keys") / "key"
    file.write_text(KEY)
    source = EngineSource(engine=served, engine_key_file=str(file))
    found: list[EngineLike] = []

    def loaded() -> bool:
        try:
            found.append(open_engine(source))
        except EngineAwayError as error:
            assert "busy" in error.cause or "503" in error.cause, error  # it is still loading its model
            return False
        return True

    assert patiently(loaded)
    yield found[0]
    found[0].close()


@pytest.fixture(scope="module")
def here() -> Iterator[EngineLike]:
    engine = open_engine(EngineSource(), Placement(dtype="float32", device="cpu"))
    yield engine
    engine.close()


def reply_of(engine: EngineLike, conversation: Conversation, sampling: Sampling, **more: str) -> Reply:
    *before, reply = engine.stream(conversation, sampling, **more)  # type: ignore[arg-type]
    assert isinstance(reply, Reply)
    assert "".join(item for item in before if isinstance(item, str)) == reply.text
    return reply


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize(
    "sampling",
    [Sampling(max_new_tokens=24), Sampling(1.0, 0.9, 20, 1.1, 7, 24), Sampling(max_new_tokens=24, stops=("e",))],
    ids=["greedy", "drawn", "stopped"],
)
def test_far_and_here_answer_alike(
    far: EngineLike, here: EngineLike, conversation: Conversation, sampling: Sampling
) -> None:
    there, ours = reply_of(far, conversation, sampling), reply_of(here, conversation, sampling)
    assert (there.text, there.finish_reason) == (ours.text, ours.finish_reason)
    assert (there.prompt_tokens, there.completion_tokens) == (ours.prompt_tokens, ours.completion_tokens)


def test_a_begun_answer_goes_on_alike(far: EngineLike, here: EngineLike) -> None:
    sampling = Sampling(max_new_tokens=12)
    assert reply_of(far, ABOUT, sampling, begun="It is").text == reply_of(here, ABOUT, sampling, begun="It is").text


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_far_and_here_count_alike(far: EngineLike, here: EngineLike, conversation: Conversation) -> None:
    there, ours = far.count(conversation), here.count(conversation)
    assert there is not None and ours is not None
    assert there.total == ours.total


def test_the_card_tells_what_the_model_is(far: EngineLike, here: EngineLike) -> None:
    there, ours = far.card, here.card
    assert (there.name, there.context_length, there.picture_tokens, there.template) == (
        ours.name,
        ours.context_length,
        ours.picture_tokens,
        ours.template,
    )


def test_too_long_is_the_same_error(far: EngineLike) -> None:
    with pytest.raises(ContextOverflowError):
        reply_of(far, Conversation((Message.user("word " * 5000),)), Sampling())


def test_without_the_key_it_says_how_to_give_one(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAVA_ENGINE_KEY", raising=False)
    with pytest.raises(EngineAwayError, match="wants a key") as raised:
        open_engine(EngineSource(engine=served))
    assert "LLAVA_ENGINE_KEY" in raised.value.remedy
    monkeypatch.setenv("LLAVA_ENGINE_KEY", "another")
    with pytest.raises(EngineAwayError, match="does not take the key"):
        open_engine(EngineSource(engine=served))
