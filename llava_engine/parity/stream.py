"""June's model worker: the pieces in which it streamed an answer to the web page.

In default, `Engine.stream` yields text as soon as it can not change any more. Here each chunk is all text so far, sent
every few tokens and at the end, and cut at the stop string only when it is looked at. Nothing
of the product calls it: docs/parity.md offers it to whoever compares with the original's web page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llava_engine.files.json import read_json
from llava_engine.parity.generation import greedy
from llava_engine.parity.original import Original
from llava_engine.pictures.opening import Picture

_CONTEXT = 2048  # where config.json names no max_sequence_length
_MOST = 1024  # new tokens, whatever is asked for


def chunks(original: Original, request: Mapping[str, Any], pictures: Sequence[Picture], interval: int) -> Iterator[str]:
    """What the worker answers a request at temperature 0, each chunk without the prompt that it begins with.

    Args:
        original: a checkpoint of June's.
        request: `prompt` (with <image> tags), `stop`, `max_new_tokens`.
        pictures: of the prompt, in order.
        interval: tokens between chunks; the first comes after the first token.

    Raises:
        ValueError: pictures and tags do not agree, or the prompt's cut went through a picture.
    """
    prompt, stop = request["prompt"], request["stop"]
    if pictures and len(pictures) != prompt.count("<image>"):
        raise ValueError(f"{prompt.count('<image>')} places for {len(pictures)} pictures")
    tokenizer = original.tokenizer
    most = min(int(request.get("max_new_tokens", 256)), _MOST)
    stop_ids = tokenizer.ids(stop)
    ends = {original.checkpoint.tokenizer.eos_id, stop_ids[0] if len(stop_ids) == 1 else None}
    # Too long a prompt loses its beginning; 8 is the worker's own room beside the answer.
    context = int(read_json(original.checkpoint.folder / "config.json").get("max_sequence_length", _CONTEXT))
    ids = (original.ids(prompt) if pictures else tokenizer.ids(prompt))[-(context - most - 8) :]
    new: list[int] = []
    for token in greedy(original.model, original.embeddings(ids, pictures)):
        new.append(token)
        over = token in ends
        if (len(new) - 1) % interval == 0 or len(new) == most or over:
            text = tokenizer.text(new, skip_special=True)
            cut = text.rfind(stop)
            over = over or cut != -1
            yield text if cut == -1 else text[:cut]
        if over or len(new) == most:
            return
