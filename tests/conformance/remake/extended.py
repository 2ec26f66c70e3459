"""Vocabularies that someone extended: a tokenizer's folder in, another with more pieces out.

Appended pieces have scores of their own, below, among and above the first ones; some are words whose letters are no
pieces, or whose halves are none; some are user-defined, and so found before anything is cut.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path

from tests.conformance.remake.files import write_json
from tests.conformance.remake.vocabulary import field, kinds, scored

_NORMAL, _USER_DEFINED = 1, 4
_WORDS = (
    "ŧŧ",
    "▁ŧŧŧ",
    "東京",
    "▁東京",
    "😀",
    "▁kettle▁is",
    "zqxj",
    "▁ab▁cd",
    "th😀",
    "ASSISTANT:",
    "▁the▁",
    "....",
    "ar\u0303",
)
_MARKS = ("<|box|>", "::", "<|im_end|>", "▁▁▁", "0x")
TEXTS = (
    "ŧŧŧŧŧ ŧŧŧ ŧ",
    "東京 東京東京 東",
    "<|box|> a<|box|>b <|box|><|box|>",
    "a::b :: ::c:::d",
    "zqxjzqxj the kettle is warm, ab cd ab cd",
    "th😀th 😀.......",
    "   0x0x 00x",
    "ASSISTANT: ASSISTANT:ASSISTANT:",
)


def write(like: Path, folder: Path, seed: int) -> None:
    """A folder with only a tokenizer in it, like another's; its added tokens stand behind the new pieces."""
    source = random.Random(seed)
    model = (like / "tokenizer.model").read_bytes()
    pieces = scored(model)
    known = {text for text, _ in pieces}
    scores = [score for (_, score), kind in zip(pieces, kinds(model), strict=True) if kind == _NORMAL]
    new = [(text, _NORMAL) for text in _WORDS if text not in known]
    new += [(text, _USER_DEFINED) for text in _MARKS if text not in known]
    source.shuffle(new)
    for text, kind in new:
        score = source.choice([0.0, 5.0 + source.random(), source.choice(scores) - 0.5, min(scores) - source.random()])
        piece = field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        model += field(1, piece)
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(model)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(like / name, folder / name)
    own = like / "added_tokens.json"
    if own.exists():
        tokens = json.loads(own.read_text("utf-8"))
        write_json(folder / own.name, {token: each + len(new) for token, each in tokens.items()})
