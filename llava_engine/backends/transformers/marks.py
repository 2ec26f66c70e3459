"""Text of a conversation that looks like a mark of the template, kept from becoming one.

A chat template and a processor write one string, in which the tokenizer looks for its special tokens: a user who types
`<|im_start|>` would open a turn, `<image>` would ask for a picture. So each such text is replaced, before the template
sees it, by a stand-in that is a token of its own and means nothing; when all is tokens, the tokens of the text's plain
letters are put in the stand-in's place.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Any

from llava_engine.errors import ConversationError

# Letters without a meaning (Unicode's private use areas): stand-ins are made of them, and transformers marks with them.
_PRIVATE = "\ue000-\uf8ff\U000f0000-\U0010fffd"
_BEGIN, _END = "\ue0f0", "\ue0f1"


class Marks:
    """The marks of one tokenizer, and stand-ins for them.

    Args:
        tokenizer: transformers'. Stand-ins are added to it as tokens, when they are first needed.
        template: the chat template; an ordinary token that it writes is a mark, too.
        more: other texts that a processor looks for.
    """

    def __init__(self, tokenizer: Any, template: str, more: Iterable[str] = ()) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        special = {one.content for one in added if one.special} | set(more)
        written = {one.content for one in added if one.content in template}
        self._special = _matching(special)
        self._all = _matching(special | written)
        self._mark_ids = {tokenizer.convert_tokens_to_ids(one) for one in special | written}
        self._stand_ins: dict[str, str] = {}
        self._plain: dict[int, list[int]] = {}

    def hidden(self, text: str, *, said_by_model: bool = False) -> str:
        """Text with a stand-in for each mark.

        What the model said may hold tokens that are not special, as `</think>`, which a template looks for: they stay.
        """
        return (self._special if said_by_model else self._all).sub(lambda found: self._stand_in(found[0]), text)

    def shown(self, text: str) -> str:
        """Text with stand-ins, as it was."""
        for mark, stand_in in self._stand_ins.items():
            text = text.replace(stand_in, mark)
        return text

    @property
    def stand_ins(self) -> Container[int]:
        """The tokens of all stand-ins until now; where a model has more rows than tokens it may say one."""
        return self._plain.keys()

    def plain(self, token: int) -> Sequence[int] | None:
        """For a stand-in's token the tokens of what it stands for; None for any other."""
        return self._plain.get(token)

    def _stand_in(self, mark: str) -> str:
        if mark not in self._stand_ins:
            from transformers import AddedToken

            name = f"{_BEGIN}{len(self._stand_ins)}{_END}"
            self._tokenizer.add_tokens([AddedToken(name, normalized=False)])
            token = self._tokenizer.convert_tokens_to_ids(name)
            self._plain[token] = self._letters(name, token, mark)
            self._stand_ins[mark] = name
        return self._stand_ins[mark]

    def _letters(self, before: str, token: int, text: str) -> list[int]:
        """The tokens of a text's letters, as they are after another token."""
        ids: list[int] = self._tokenizer.encode(before + text, add_special_tokens=False, split_special_tokens=True)
        ids = ids[ids.index(token) + 1 :]
        if not self._mark_ids.intersection(ids):
            return ids
        if len(text) == 1:
            raise ConversationError(f"{text!r} is a mark of this model's template and can not be said to it.")
        return self._letters(before, token, text[:1]) + self._letters(before, token, text[1:])


def _matching(marks: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted((mark for mark in marks if mark.strip()), key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), f"[{_PRIVATE}]"]))
