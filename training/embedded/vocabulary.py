"""A small tokenizer of Llama's kind, learned from text: BPE with "▁" for spaces and bytes for whatever is unknown.

In: texts, and words that must be one piece each. Out: tokenizer.json and tokenizer_config.json, as Hugging Face LLaVA
folders have them. Knows no world and no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llava_engine.files.atomic import storage_errors, write_text

UNKNOWN, BEGIN, END, PAD, IMAGE = "<unk>", "<s>", "</s>", "<pad>", "<image>"
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_WEIGHT = 1000  # how often a whole word is repeated, so that all its merges come early


def learn_tokenizer(texts: Iterable[str], *, pieces: int, whole: Sequence[str] = ()) -> Tokenizer:
    """Learn a tokenizer.

    Args:
        texts: what it shall write shortly.
        pieces: how many ids there are, the 256 bytes and the five special tokens included.
        whole: words that become one piece each with the space before them ("▁red").
    """
    learned = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN, fuse_unk=True))
    learned.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # While it learns, text is cut before each space and between letters, digits and marks; the cuts are then dropped,
    # as in Llama's own file, and the merges keep to them by themselves.
    learned.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁?[A-Za-z']+:?|▁?[0-9]|▁?[^A-Za-z0-9▁]|▁"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=pieces - len(_BYTES) - 2,
        special_tokens=[UNKNOWN, BEGIN, END],
        initial_alphabet=["▁", "\n", *map(chr, range(33, 127))],
        show_progress=False,
    )
    boosted = [f"x {word}" for word in whole] * _WEIGHT
    learned.train_from_iterator([*texts, *boosted], trainer)
    return _with_bytes(learned)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, *, context: int) -> None:
    """Write both files into a model folder."""
    settings = {
        "tokenizer_class": "LlamaTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "pad_token": PAD,
        "extra_special_tokens": {"image_token": IMAGE},
        "image_token": IMAGE,
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": True,
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
        "model_max_length": context,
    }
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("tokenizer.json", tokenizer.to_str(pretty=True)),
            ("tokenizer_config.json", json.dumps(settings, indent=2) + "\n"),
        ):
            write_text(folder / name, text)


def _with_bytes(learned: Tokenizer) -> Tokenizer:
    """The learned merges in Llama's order of ids: unknown, begin, end, the 256 bytes, pieces; then pad and image."""
    spec = json.loads(learned.to_str())
    specials = (UNKNOWN, BEGIN, END)
    pieces = [piece for piece, _ in sorted(spec["model"]["vocab"].items(), key=lambda pair: pair[1])]
    order = [*specials, *_BYTES, *(piece for piece in pieces if piece not in specials)]
    spec["model"]["vocab"] = {piece: number for number, piece in enumerate(order)}
    spec["pre_tokenizer"] = None
    spec["added_tokens"] = []
    whole = Tokenizer.from_str(json.dumps(spec))
    whole.add_special_tokens([AddedToken(text, normalized=False) for text in (*specials, PAD, IMAGE)])
    whole.post_processor = processors.TemplateProcessing(  # for readers that let the file itself add the begin token
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, whole.token_to_id(BEGIN))]
    )
    whole.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return whole
