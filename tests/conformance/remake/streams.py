"""What June's worker would stream of a remade checkpoint's answers, from the README's account of it.

In: a checkpoint's cases with their greedy tokens. Out: entries of a worker_stream golden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.conformance.remake.answers import Asked, ends_of, text_of


def streams(asked: Asked, golden: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every case with an open answer, in chunks of two sizes; the last of them cut short."""
    for place, case in enumerate(golden["cases"]):
        if case["turns"][-1][1] is not None:
            continue
        name = asked.path.partition("/")[2]
        interval, most = 2 + place % 2, len(case["greedy_ids"]) - 2 if place < len(golden["cases"]) - 1 else 9
        request = {
            "model": name,
            "prompt": with_tags(asked, case["prompt"]),
            "temperature": 0.0,
            "max_new_tokens": most,
            "stop": case["stop"],
            "images": case["images"],
        }
        sent = list(chunks(asked, case, interval, most))
        yield {
            "checkpoint": name,
            "stream_interval": interval,
            "request": request,
            "chunks": [{"text": text, "error_code": 0} for text in sent],
            "prompt_prefix_removed_from_chunk_text": True,
        }


def with_tags(asked: Asked, prompt: str) -> str:
    """June's prompt as it was before its patches were written out."""
    patches = "<im_patch>" * asked.patches
    return prompt.replace(f"<im_start>{patches}<im_end>", "<image>").replace(patches, "<image>")


def chunks(asked: Asked, case: Mapping[str, Any], interval: int, most: int) -> Iterator[str]:
    """All text so far after every few tokens, at an end token and at the end, and never the stop string."""
    ends = ends_of(asked, case["stop"])
    for place, token in enumerate(case["greedy_ids"][:most]):
        over = token in ends or place == most - 1
        if place % interval and not over:
            continue
        text = text_of(asked, case["greedy_ids"][: place + 1])
        said, stop, _ = text.rpartition(case["stop"])
        yield said if stop else text
        if over or stop:
            return
