"""Clients as people have them: OpenAI's own, llm, litellm, LangChain, curl. Each is skipped where it is not installed.

pip install -c constraints.txt '.[clients]' && pytest -m slow tests/llava_engine/server/test_clients.py
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llava_engine.contract import EngineLike
from llava_engine.server.settings import Settings
from tests.fakes.fake_picture import png_bytes
from tests.llava_engine.server.api import HELLO, fake, user
from tests.llava_engine.server.live import Live, live, until

pytestmark = pytest.mark.slow

KEY = "a-key"
SAID = ["A red ", "circle, ", "é \U0001f600", "."]
TEXT = "".join(SAID)
PICTURE = png_bytes()


@pytest.fixture
def engine() -> EngineLike:
    return fake(SAID)


@pytest.fixture
def server(engine: EngineLike, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Live]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the internet for prices
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    with live(engine, Settings(key=KEY, queue=0)) as made:
        yield made


def asked(engine: Any) -> Any:
    """What the engine was asked last."""
    return engine.conversations[-1]


def openai_client(server: Live, **more: Any) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, **more)


def test_openai_whole_and_models(server: Live, engine: EngineLike) -> None:
    client = openai_client(server)
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").owned_by == "llava"
    answer = client.chat.completions.create(
        model="fake", messages=[user("What?", PICTURE)], max_completion_tokens=9, seed=1
    )
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == len(SAID)
    assert asked(engine).pictures[0].data == PICTURE


def test_openai_streams(server: Live) -> None:
    client = openai_client(server)
    stream = client.chat.completions.create(
        model="fake", messages=HELLO["messages"], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage.completion_tokens == len(SAID)
    with client.chat.completions.stream(model="fake", messages=HELLO["messages"]) as helper:
        kinds = {event.type for event in helper}
        assert helper.get_final_completion().choices[0].message.content == TEXT
    assert {"chunk", "content.delta", "content.done"} <= kinds


def test_openai_errors(server: Live) -> None:
    openai = pytest.importorskip("openai")
    client = openai_client(server)
    with pytest.raises(openai.AuthenticationError):
        openai_client(server).with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-5", messages=HELLO["messages"])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "word " * 5000}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="fake", messages=HELLO["messages"], n=2)
    assert refused.value.param == "n"


def test_openai_comes_back_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    gate = threading.Event()
    with live(fake([gate, "One"], ["Two"]), Settings(key=KEY, queue=0)) as server, ThreadPoolExecutor(2) as pool:
        client = openai_client(server)
        first = pool.submit(client.chat.completions.create, model="fake", messages=HELLO["messages"])
        until(lambda: any("chat" in line for line in server.lines) or server_is_busy(server))
        second = pool.submit(
            client.with_options(max_retries=5).chat.completions.create, model="fake", messages=HELLO["messages"]
        )
        until(lambda: any(" 429 " in line for line in server.lines))
        gate.set()
        assert [one.result().choices[0].message.content for one in (first, second)] == ["One", "Two"]


def server_is_busy(server: Live) -> bool:
    with server.client() as client:
        text = client.get("/metrics", headers={"authorization": f"Bearer {KEY}"}).text
    return "llava_running 1" in text


def test_llm(server: Live, engine: EngineLike) -> None:
    llm = pytest.importorskip("llm")
    models = pytest.importorskip("llm.default_plugins.openai_models")
    model = models.Chat("llava", model_name="fake", api_base=f"{server.url}/v1", vision=True)
    model.key = KEY
    for stream in (True, False):
        attachment = llm.Attachment(type="image/png", content=PICTURE)
        response = model.prompt(
            "What?", attachments=[attachment], system="Be short.", stream=stream, max_tokens=9, seed=2
        )
        assert response.text() == TEXT
        assert response.usage().output == len(SAID)
        assert (asked(engine).system, asked(engine).messages[0].text) == ("Be short.", "What?")
        assert asked(engine).messages[0].picture_offsets is None  # llm writes text first, and means nothing by it
        assert asked(engine).pictures[0].data == PICTURE


def test_litellm(server: Live, engine: EngineLike) -> None:
    litellm = pytest.importorskip("litellm")
    about = {
        "model": "openai/fake",
        "api_base": f"{server.url}/v1",
        "api_key": KEY,
        "messages": [user("What?", PICTURE)],
    }
    assert litellm.completion(**about).choices[0].message.content == TEXT
    pieces = litellm.completion(**about, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == TEXT
    assert asked(engine).pictures[0].data == PICTURE
    with pytest.raises(litellm.exceptions.ContextWindowExceededError):
        litellm.completion(**about | {"messages": [{"role": "user", "content": "word " * 5000}]})


def test_langchain(server: Live, engine: EngineLike) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    model = langchain_openai.ChatOpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, model="fake", max_tokens=9, temperature=0, max_retries=0
    )
    messages = [("system", "Be short."), {"role": "user", "content": user("What?", PICTURE)["content"]}]
    answer = model.invoke(messages)
    assert answer.content == TEXT
    assert answer.usage_metadata["output_tokens"] == len(SAID)
    assert "".join(piece.content for piece in model.stream(messages)) == TEXT
    assert asked(engine).system == "Be short."
    assert asked(engine).pictures[0].data == PICTURE


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl(server: Live, tmp_path: Path) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    (tmp_path / "body").write_text(json.dumps({"messages": [{"role": "user", "content": content}], "stream": True}))
    words = ["curl", "-sSN", f"{server.url}/v1/chat/completions", "-H", "Content-Type: application/json"]
    words += ["-H", f"Authorization: Bearer {KEY}", "-d", f"@{tmp_path / 'body'}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.stdout.rstrip().endswith("data: [DONE]")
    assert done.stdout.count("data: ") == len(SAID) + 3
