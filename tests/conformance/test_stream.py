"""What June's model worker streamed, chunk for chunk; and our own stream of the same answer."""

from __future__ import annotations

from typing import Any

import pytest

from llava_engine.parity.stream import chunks
from tests.conformance.fixtures import FIXTURES, error_of, golden, needs_fixtures
from tests.conformance.originals import opened, pictures

pytestmark = needs_fixtures

STREAMS = sorted(path.name for path in (FIXTURES / "goldens").glob("worker_stream_*.json"))
ENTRIES = [(name, place) for name in STREAMS for place in range(len(golden(name)["entries"]))]


@pytest.mark.parametrize(("name", "place"), ENTRIES)
def test_the_worker_sends_what_the_originals_did(name: str, place: int) -> None:
    entry: Any = golden(name)["entries"][place]
    assert entry["prompt_prefix_removed_from_chunk_text"]
    original = opened(f"checkpoints/{entry['checkpoint']}")
    request = entry["request"]
    assert request["temperature"] == 0
    if any(chunk["error_code"] for chunk in entry["chunks"]):  # the worker says so in a chunk; ours raises
        assert error_of(lambda: list(chunks(original, request, pictures(request["images"]), 2))) is not None
        return
    sent = list(chunks(original, request, pictures(request["images"]), entry["stream_interval"]))
    assert sent == [chunk["text"] for chunk in entry["chunks"]]


def test_the_worker_refuses_pictures_without_a_place() -> None:
    asked: list[Any] = [entry for name in STREAMS for entry in golden(name)["entries"] if entry["request"]["images"]]
    for entry in {entry["checkpoint"]: entry for entry in asked}.values():
        request = entry["request"] | {"prompt": entry["request"]["prompt"].replace("<image>", "", 1)}
        with pytest.raises(ValueError, match="places"):
            list(chunks(opened(f"checkpoints/{entry['checkpoint']}"), request, pictures(request["images"]), 2))
