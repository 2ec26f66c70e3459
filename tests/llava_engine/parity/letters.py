"""A tokenizer that can be counted by hand: one token a letter."""

from __future__ import annotations

from collections.abc import Sequence

_BEGIN = 1
_FIRST = 3


class Letters:
    """Each letter is a token; <s> stands before every text, </s> is one token."""

    bos_id = _BEGIN
    legacy = True

    def __init__(self) -> None:
        self.special_ids = {"<s>": _BEGIN, "</s>": 2}

    def ids(self, text: str) -> list[int]:
        """The ids of a text."""
        ids = [_BEGIN]
        for count, piece in enumerate(text.split("</s>")):
            ids += [2] if count else []
            ids += [ord(letter) + _FIRST for letter in piece]
        return ids

    def text(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of ids."""
        return self.read(ids)

    @staticmethod
    def read(ids: Sequence[int]) -> str:
        """The letters alone."""
        return "".join(chr(token - _FIRST) for token in ids if token >= _FIRST)
