"""A tokenizer.json beside a tokenizer.model, as Hugging Face's folders have both.

The newest original asks for the slow tokenizer, so it never looks at it; and the two agree, but for texts that begin
with a space. Built with the tokenizers library from the pieces and their scores. Knows no checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

_SPACE = "▁"


def write_beside(file: Path, pieces: Sequence[tuple[str, float]], texts: Mapping[str, Sequence[int]]) -> None:
    """Write it, after it has given some texts the ids that they should have."""
    ids = {text: place for place, (text, _) in enumerate(pieces)}
    merges = [
        (-score, ids[text], text[:cut], text[cut:])
        for text, score in pieces
        for cut in range(1, len(text))
        if text[:cut] in ids and text[cut:] in ids
    ]
    pairs = [(left, right) for _, _, left, right in sorted(merges)]
    made = Tokenizer(models.BPE(vocab=ids, merges=pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in ("<unk>", "<s>", "</s>")])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    agreed = {text: list(expected) for text, expected in texts.items() if text[:1] != " "}
    assert agreed and all(made.encode(text).ids == expected for text, expected in agreed.items())
    made.save(str(file))
