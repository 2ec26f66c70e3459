"""The original's way to an answer: greedy tokens until its own stop, and what its script then makes of the text.

In default, `AnswerText` ends an answer at the first stop, however it is cut into tokens. Knows no prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from llava_engine.contract import GREEDY
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.sampling import sample
from llava_engine.decoding.steps import decode, prefill
from llava_engine.model.llava import LlavaModel
from llava_engine.parity.original import Original
from llava_engine.parity.tokens import OriginalTokenizer


def greedy(model: LlavaModel, embeddings: Tensor) -> Iterator[int]:
    """The likeliest token after (1, T, hidden_size), again and again, without an end."""
    cache = KeyValueCache(model.config.language, device=embeddings.device, dtype=torch.float32)
    logits = prefill(model, embeddings, cache)
    while True:
        token = sample(logits, GREEDY, (), None)
        yield token
        logits = decode(model, [token], [cache])[0]


def new_tokens(original: Original, embeddings: Tensor, stop: str, max_new_tokens: int) -> Iterator[int]:
    """What the original says after a prompt, its end included.

    June stops at the end token and at its keyword; the newest command line knows the end token only.

    Args:
        original: the checkpoint.
        embeddings: (1, T, hidden_size) of the prompt.
        stop: the template's stop string.
        max_new_tokens: the answer ends here at the latest.
    """
    keyword = Keyword(stop, original.tokenizer)
    new: list[int] = []
    for token in greedy(original.model, embeddings):
        new.append(token)
        yield token
        at_keyword = original.commit == "b4be90b" and keyword.ends(new)
        if len(new) == max_new_tokens or token == original.eos_id or at_keyword:
            return


def generated(original: Original, embeddings: Tensor, stop: str, max_new_tokens: int) -> list[int]:
    """`new_tokens` as the call returns them: newest with <s> in front, which it invents for a prompt of embeddings."""
    new = list(new_tokens(original, embeddings, stop, max_new_tokens))
    return new if original.commit == "b4be90b" else [original.model.config.language.bos_token_id, *new]


class Keyword:
    """June's stopping by a keyword.

    It looks for an id where the keyword is one (never, with a begin token before it), and for its letters in the text
    without special tokens, so that a special token that is more than one id to it is never seen. The call after the
    first new token only finds out where the answer begins.
    """

    def __init__(self, keyword: str, tokenizer: OriginalTokenizer) -> None:
        ids = tokenizer.ids(keyword)
        self.id = ids[0] if len(ids) == 1 else None
        self._keyword, self._tokenizer = keyword, tokenizer

    def ends(self, new: Sequence[int]) -> bool:
        """Whether the answer is over; asked after each new token."""
        if len(new) < 2:
            return False
        return new[-1] == self.id or self._keyword in self._tokenizer.text(new, skip_special=True)


def script_text(original: Original, ids: Sequence[int], stop: str) -> str:
    """What the command line prints of `generated`: no special tokens, no space around; at June no stop string."""
    text = original.tokenizer.text(ids, skip_special=True).strip()
    if original.commit == "b4be90b" and text.endswith(stop):
        text = text[: -len(stop)].strip()
    return text
