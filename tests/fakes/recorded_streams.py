"""What servers of each kind send, byte for byte, for one answer: their own fields, order, line ends and oddities.

Written after their sources and recorded answers: vLLM and SGLang (pydantic's JSON), llama-server (nlohmann's, timings
at the end), llama-cpp-python (sse_starlette: CRLF and pings, escaped JSON, no usage), Ollama (a role with every chunk),
OpenAI (obfuscation, `usage: null`), llama of our own `llava serve` (`: waiting` while it reads).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llava_engine.contract import FinishReason

PIECES = ("A", " red", " círculo", " 日本", " 🦙", ".")
TEXT = "".join(PIECES)
PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS = 583, 512, 7


@dataclass(frozen=True)
class Recorded:
    """One kind of server.

    Attributes:
        kind: what discovery should make of it.
        models: its answer to /v1/models.
        parts: its stream: bytes, and the text that they say.
        places: its answers at places of its own, by path.
        usage: whether its stream tells tokens.
        finish_reason: how the answer ends.
        context_length: what it says that its model can hold.
    """

    kind: str
    models: Mapping[str, Any]
    parts: tuple[tuple[bytes, str], ...]
    places: Mapping[str, Any] = field(default_factory=dict)
    usage: bool = True
    finish_reason: FinishReason = "stop"
    context_length: int | None = None

    @property
    def stream(self) -> bytes:
        return b"".join(data for data, _ in self.parts)

    @property
    def model(self) -> str:
        name = self.models["data"][0]["id"]
        assert isinstance(name, str)
        return name

    def said_by(self, size: int) -> str:
        """The text of all events whose JSON is whole among the first `size` bytes."""
        said, end = "", 0
        for data, text in self.parts:
            if end + len(data.rstrip(b"\r\n")) <= size:
                said += text
            end += len(data)
        return said

    def complete_at(self, size: int) -> bool:
        """Whether the first `size` bytes tell how the answer ended."""
        end = 0
        for data, _ in self.parts:
            if b'"finish_reason"' in data and b'"finish_reason":null' not in data.replace(b": null", b":null"):
                return end + len(data.rstrip(b"\r\n")) <= size
            end += len(data)
        raise AssertionError("a recorded stream ends")


DONE = (b"data: [DONE]\n\n", "")


def _chunk(pattern: Mapping[str, Any], choice: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {**pattern, "choices": [] if choice is None else [choice], **more}


def _compact(data: Any) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _llava() -> Recorded:
    head = {"id": "chatcmpl-7f1", "object": "chat.completion.chunk", "created": 1795852800, "model": "llava-1.5-7b"}
    parts = [(b": waiting\n\n", "")]
    parts += [(_compact(_chunk(head, {"index": 0, "delta": {"role": "assistant"}, "finish_reason": None})), "")]
    parts += [(_compact(_chunk(head, {"index": 0, "delta": {"content": t}, "finish_reason": None})), t) for t in PIECES]
    parts += [(_compact(_chunk(head, {"index": 0, "delta": {}, "finish_reason": "stop"})), "")]
    usage = {"prompt_tokens": 583, "completion_tokens": 7, "total_tokens": 590}
    usage["prompt_tokens_details"] = {"cached_tokens": 512}  # type: ignore[assignment]
    parts += [(_compact(_chunk(head, None, usage=usage)), ""), DONE]
    row = {"id": "llava-1.5-7b", "object": "model", "created": 1795852800, "owned_by": "llava", "max_model_len": 4096}
    return Recorded(
        "llava",
        {"object": "list", "data": [row]},
        tuple(parts),
        {"/v1/chat/completions/input_tokens": {"input_tokens": 583}},
        context_length=4096,
    )


def _vllm() -> Recorded:
    head = {"id": "chatcmpl-9c0e", "object": "chat.completion.chunk", "created": 1795852800, "model": "llava"}
    nothing = {"logprobs": None, "finish_reason": None}
    first = {"index": 0, "delta": {"role": "assistant", "content": ""}, **nothing}
    parts = [(_compact(_chunk(head, first, prompt_token_ids=None)), "")]
    for text in PIECES:
        choice = {"index": 0, "delta": {"content": text}, **nothing, "token_ids": None}
        parts.append((_compact(_chunk(head, choice)), text))
    last = {"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    parts.append((_compact(_chunk(head, last)), ""))
    usage = {"prompt_tokens": 583, "total_tokens": 590, "completion_tokens": 7}
    usage["prompt_tokens_details"] = {"cached_tokens": 512}  # type: ignore[assignment]
    parts += [(_compact(_chunk(head, None, usage=usage)), ""), DONE]
    row = {
        "id": "llava",
        "object": "model",
        "created": 1795852800,
        "owned_by": "vllm",
        "root": "/models/llava-1.5-13b-hf",
        "parent": None,
        "max_model_len": 4096,
        "permission": [{"id": "modelperm-1", "object": "model_permission", "allow_sampling": True}],
    }
    return Recorded("vllm", {"object": "list", "data": [row]}, tuple(parts), context_length=4096)


def _sglang() -> Recorded:
    head = {"id": "5a3c", "object": "chat.completion.chunk", "created": 1795852800, "model": "default"}
    nothing = {"logprobs": None, "finish_reason": None, "matched_stop": None}
    delta = {"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}
    parts = [(_compact(_chunk(head, {"index": 0, "delta": delta, **nothing}, usage=None)), "")]
    for text in PIECES:
        delta = {"role": None, "content": text, "reasoning_content": None, "tool_calls": None}
        parts.append((_compact(_chunk(head, {"index": 0, "delta": delta, **nothing}, usage=None)), text))
    delta = {"role": None, "content": None, "reasoning_content": None, "tool_calls": None}
    last = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop", "matched_stop": 2}
    parts.append((_compact(_chunk(head, last, usage=None)), ""))
    usage = {"prompt_tokens": 583, "total_tokens": 590, "completion_tokens": 7}
    usage["prompt_tokens_details"] = {"cached_tokens": 512}  # type: ignore[assignment]
    parts += [(_compact(_chunk(head, None, usage=usage)), ""), DONE]
    row = {"id": "default", "object": "model", "created": 1795852800, "owned_by": "sglang", "root": "default"}
    row |= {"parent": None, "max_model_len": 8192}
    told = {"model_path": "/models/x", "is_generation": True, "has_image_understanding": True}
    return Recorded(
        "sglang", {"object": "list", "data": [row]}, tuple(parts), {"/model_info": told}, context_length=8192
    )


def _llamacpp() -> Recorded:
    head = {"created": 1795852800, "id": "chatcmpl-Xq", "model": "llava.gguf", "system_fingerprint": "b7200-0a1b2c3d"}
    head["object"] = "chat.completion.chunk"
    first = {"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}
    parts = [(_compact({"choices": [first], **head}), "")]
    for text in PIECES:
        choice = {"finish_reason": None, "index": 0, "delta": {"content": text}}
        parts.append((_compact({"choices": [choice], **head}), text))
    parts.append((_compact({"choices": [{"finish_reason": "stop", "index": 0, "delta": {}}], **head}), ""))
    usage = {"completion_tokens": 7, "prompt_tokens": 583, "total_tokens": 590}
    usage["prompt_tokens_details"] = {"cached_tokens": 512}  # type: ignore[assignment]
    timings = {"cache_n": 512, "prompt_n": 71, "prompt_ms": 84.5, "predicted_n": 7, "predicted_per_second": 31.2}
    parts += [(_compact({"choices": [], **head, "usage": usage, "timings": timings}), ""), DONE]
    meta = {"vocab_type": 1, "n_vocab": 32064, "n_ctx_train": 4096, "n_embd": 4096, "n_params": 6738415616}
    row = {"id": "llava.gguf", "object": "model", "created": 1795852800, "owned_by": "llamacpp", "meta": meta}
    props = {
        "default_generation_settings": {"id": 0, "n_ctx": 2048, "params": {"temperature": 0.8}},
        "total_slots": 4,
        "model_path": "llava.gguf",
        "modalities": {"vision": True, "audio": False},
    }
    places = {"/props": props, "/v1/chat/completions/input_tokens": {"input_tokens": 583}}
    models = {"models": [{"name": "llava.gguf", "capabilities": ["completion"]}], "object": "list", "data": [row]}
    return Recorded("llamacpp", models, tuple(parts), places, context_length=2048)


def _llama_cpp_python() -> Recorded:
    def event(choice: Mapping[str, Any]) -> bytes:
        head = {"id": "chatcmpl-e0", "model": "llava", "created": 1795852800, "object": "chat.completion.chunk"}
        return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\r\n\r\n"

    parts = [(event({"index": 0, "delta": {"role": "assistant"}, "logprobs": None, "finish_reason": None}), "")]
    for number, text in enumerate(PIECES):
        if number == 3:
            parts.append((b": ping - 2026-11-28 09:00:00.000000+00:00\r\n\r\n", ""))
        choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
        parts.append((event(choice), text))
    parts.append((event({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}), ""))
    parts.append((b"data: [DONE]\r\n\r\n", ""))
    row = {"id": "llava", "object": "model", "owned_by": "me", "permissions": []}
    models = {"object": "list", "data": [row]}
    return Recorded("", models, tuple(parts), usage=False, finish_reason="length")


def _ollama() -> Recorded:
    head = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1795852800, "model": "llava:7b"}
    head["system_fingerprint"] = "fp_ollama"
    parts = []
    for text in PIECES:
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        parts.append((_compact(_chunk(head, choice)), text))
    last = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
    parts.append((_compact(_chunk(head, last)), ""))
    usage = {"prompt_tokens": 583, "completion_tokens": 7, "total_tokens": 590}
    parts += [(_compact(_chunk(head, None, usage=usage)), ""), DONE]
    row = {"id": "llava:7b", "object": "model", "created": 1795852800, "owned_by": "library"}
    shown = {
        "details": {"family": "llama", "families": ["llama", "clip"]},
        "model_info": {"general.architecture": "llama", "llama.context_length": 4096},
        "capabilities": ["completion", "vision"],
    }
    return Recorded("ollama", {"object": "list", "data": [row]}, tuple(parts), {"/api/show": shown})


def _openai() -> Recorded:
    head = {"id": "chatcmpl-Cg", "object": "chat.completion.chunk", "created": 1795852800, "model": "gpt-4o-mini"}
    head |= {"service_tier": "default", "system_fingerprint": "fp_51db84afab"}
    delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    nothing = {"logprobs": None, "finish_reason": None}
    first = {"index": 0, "delta": delta, **nothing}
    parts = [(_compact(_chunk(head, first, usage=None, obfuscation="yIPUFFgcw")), "")]
    for text in PIECES:
        choice = {"index": 0, "delta": {"content": text}, **nothing}
        parts.append((_compact(_chunk(head, choice, usage=None, obfuscation="3vnAk")), text))
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    parts.append((_compact(_chunk(head, last, usage=None, obfuscation="")), ""))
    usage = {"prompt_tokens": 583, "completion_tokens": 7, "total_tokens": 590}
    usage["prompt_tokens_details"] = {"cached_tokens": 512, "audio_tokens": 0}  # type: ignore[assignment]
    parts += [(_compact(_chunk(head, None, usage=usage, obfuscation="c2s")), ""), DONE]
    row = {"id": "gpt-4o-mini", "object": "model", "created": 1721172741, "owned_by": "system"}
    return Recorded("", {"object": "list", "data": [row]}, tuple(parts))


RECORDED = {
    "llava": _llava(),
    "vllm": _vllm(),
    "sglang": _sglang(),
    "llama-server": _llamacpp(),
    "llama-cpp-python": _llama_cpp_python(),
    "ollama": _ollama(),
    "openai": _openai(),
}
