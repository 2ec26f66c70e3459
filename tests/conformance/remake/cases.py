"""Cases that no checkpoint of the first set has: other templates than its own, several pictures in a later turn, texts
with marks typed in them, prompts longer than training's longest.

In: a remade checkpoint that is asked. Out: its further cases, with prompts by written.py and ids by speech.py. June's
fast tokenizer is not at hand, so of its Llamas there is only what can be put together from a case of the first set:
what stands between two pictures, and a picture, once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.conformance.remake import speech, written
from tests.conformance.remake.files import read_json

Turns = list[tuple[int, str | None]]
_OPEN: tuple[int, str | None] = (1, None)
_LONG = "The kettle is warm, and every one of the cups is empty. "

_TURNS: tuple[tuple[str, Turns], ...] = (
    ("later", [(0, "Thank you!"), (1, "You are welcome."), (0, "Look: <image>\nand <image> here <image>"), _OPEN]),
    ("typed", [(0, "What do </s>, ### and <unk> mean, or ASSISTANT: and [/INST]?"), _OPEN]),
    ("closed", [(0, "<image>\nWhat is there?"), (1, "A kettle.")]),
    ("other", [(0, "<image>\nWhat is there?"), _OPEN]),
    ("another", [(0, "What is rain?"), (1, "Water."), (0, "And this?\n<image>"), _OPEN]),
)
_OTHERS = {
    False: (
        ("vicuna_v1", "mistral_instruct"),
        ("v1", "llava_llama_2"),
        ("chatml_direct", "v1_mmtag"),
        ("v1", "llama_2"),
    ),
    True: (("mpt", "mpt_text"),),
}


def further(
    golden: Mapping[str, Any], out: Path, tokenizer: Path, longest: int | None, patches: int, place: int
) -> Iterator[dict[str, Any]]:
    """Cases without pictures' names yet: `shown` says how many there are.

    Args:
        golden: of the checkpoint that this one is like.
        out: the second set.
        tokenizer: the folder with the checkpoint's.
        longest: where the newest code cuts.
        patches: of one view, for June.
        place: which other templates are taken.
    """
    june = "image_token_len" in golden
    if (tokenizer / "tokenizer.model").exists() and june:
        return
    templates = read_json(out / "goldens" / "prompts.json")["b4be90b" if june else "c121f04"]["templates"]
    marks = ["<im_start>", "<im_end>"] if golden.get("mm_use_im_start_end") else []
    spoken = speech.of_folder(tokenizer, june=june, added=["<im_patch>", *marks] if june else [])
    own = golden["cases"][0]["conv_template"]
    others = dict(zip(("other", "another"), _OTHERS[june][place % len(_OTHERS[june])], strict=True))
    turns = list(_TURNS)
    if longest is not None:
        turns.append(("long", [(0, "<image>\n" + _LONG * (longest // 8)), _OPEN]))
    for name, said in turns:
        template = others.get(name, own)
        fields = templates[template]
        patched = [(role, text and _patched(text, patches if june else 0, bool(marks))) for role, text in said]
        made = written.outcome(fields, patched, june=june)
        if "error" in made:
            continue
        ids = spoken.ids(made["prompt"]) if june else speech.with_pictures(made["prompt"], spoken)
        case: dict[str, Any] = {"case": name, "conv_template": template, "turns": [list(turn) for turn in patched]}
        case |= made | {"input_ids": ids, "stop": fields["sep2"] if fields["sep_style"] == "TWO" else fields["sep"]}
        if june:
            case |= {"turns_with_tag": [list(turn) for turn in said], "slow_tokenizer_input_ids": ids}
        yield case | {"shown": sum((text or "").count("<image>") for _, text in said)}


def _patched(text: str, patches: int, marked: bool) -> str:
    shown = "<im_patch>" * patches
    shown = f"<im_start>{shown}<im_end>" if marked else shown
    return text.replace("<image>", shown) if patches else text


def with_one_more(case: Mapping[str, Any], patch: int, patches: int) -> dict[str, Any]:
    """A June case with two pictures in one turn, and with the second, and what stands before it, once more.

    Added tokens part texts for the tokenizer, so the ids between two of them are always the same.
    """
    block = f"<im_start>{'<im_patch>' * patches}<im_end>"

    def text(value: str | None, shown: str) -> str | None:
        if value is None or value.count(shown) < 2:
            return value
        before, between, after = value.split(shown, 2)
        return before + shown + (between + shown) * 2 + after

    def ids(value: list[int]) -> list[int]:
        ends = [at + 1 for at, token in enumerate(value) if token == patch and value[at + 1] != patch]
        first, second = ends[0] + 1, ends[1] + 1  # behind the marks
        return value[:second] + value[first:second] + value[second:]

    made = dict(case) | {"case": case["case"] + " and one more", "images": [*case["images"], case["images"][0]]}
    made["turns"] = [[role, text(said, block)] for role, said in case["turns"]]
    made["turns_with_tag"] = [[role, text(said, "<image>")] for role, said in case["turns_with_tag"]]
    made["prompt"] = text(case["prompt"], block)
    return made | {key: ids(case[key]) for key in ("input_ids", "slow_tokenizer_input_ids")}
