"""What the first set's data does not hold and its form allows: odd conversations, samples, texts, vocabularies.

In: a set whose tokenizers are in their folders already. Out: the same with more in data/ and goldens/, by the
references of written.py and speech.py, which are proven on the first set. June's fast tokenizer is not at hand for new
texts and new vocabularies: those have goldens of the slow ones only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance.remake import extended, speech, written
from tests.conformance.remake.files import read_json, write_json
from tests.conformance.remake.names import Names

_JUNE = "b4be90b"
_VERSIONS = {"v0": "default", "v1": "vicuna_v1_1", "mpt": "mpt"}  # what --version of June's trainer stood for
_LONG = "The kettle is warm, and every one of the cups is empty. "

CONVERSATIONS: tuple[list[list[Any]], ...] = (
    [[1, "Hello, ask me about the picture."], [0, "<image>\nWhat is there?"], [1, None]],
    [[0, "What is this?"], [1, ""], [0, "Well?"], [1, None]],
    [[0, ""], [1, "You said nothing."]],
    [[0, "One."], [0, "Two."], [1, None]],
    [[0, "What do </s>, ###, <im_end>, <unk> and <|im_end|> mean?"], [1, "Marks: </s> ### ASSISTANT: [/INST] ."]],
    [[0, "First <image> then <image>\n<image>?"], [1, "Three."], [0, "And <image>"], [1, None]],
    [[0, {"text": "", "mode": "Pad"}], [1, None]],
    [[0, "One.\n"], [1, "<image> is what you wrote."], [0, {"text": "<image><image>later", "mode": "Crop"}], [1, None]],
    [[0, "s>INST [leading letters of a mark"], [1, None]],
    [[0, _LONG * 90], [1, None]],
)

TEXTS = (
    "</s></s>",
    "\n</s>\n x",
    "ab</s> cd <unk>e",
    "<im_end> <im_start>\n\n<im_patch>",
    "###Human:### \n###",
    "Zürich - 東京, naïve 😀🏽 ﬁ",
    "\u2581lower\u2581one \u2581two",
    "   \n\n   ",
    "tail   ",
    "q" * 60,
    "[INST] a [/INST] b </s><s>[INST]",
    _LONG * 8,
)


def _turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def _samples(picture: str) -> list[dict[str, Any]]:
    """Without their ids."""
    shown = {"image": picture}
    first = {"from": "gpt", "value": "Let us begin."}
    return [
        {"conversations": [first, *_turns("Good, what is rain?", "Water.", "And snow?", "Also water.")]},
        {"conversations": [first]},
        {"conversations": [{"from": "user", "value": "Who am I?"}, {"from": "gpt", "value": "Unknown."}]},
        {"conversations": [*_turns("Hi."), {"from": "assistant", "value": "Yes?"}]},
        {"conversations": [{"from": "system", "value": "Be brief."}, *_turns("Hi.", "Yes?")]},
        {"conversations": [{"from": "Human", "value": "A large letter."}, {"from": "GPT", "value": "Yes."}]},
        {"conversations": _turns("Hi.", "Yes?", "Oh.") + _turns("Still me.")},
        {"conversations": _turns("Is it?", "", "Really?", "Yes.")},
        {"conversations": _turns("Is it?", "")},
        {"conversations": _turns("", "You said nothing.")},
        {"conversations": _turns("What is </s>, and ###?", "Marks: </s> and ### and </s>.", "And?", "No more.")},
        {"conversations": _turns("What is <unk>, <s> or <im_end>?", "A <unk> and an <im_end>.")},
        {"conversations": _turns("Say ASSISTANT: twice.", "USER: no ASSISTANT: no [/INST] no", "Why?", "Because.")},
        {"conversations": _turns("A tag <image> without a picture.", "I see <image> there.")},
        {"conversations": _turns("\n lines \n", " \n spaced  out ", "  ", "\t.")},
        {"conversations": _turns("Zürich, 東京 - 😀?", "ŧŧŧ is ŧ no word ŧŧ.")},
        {"conversations": _turns(_LONG * 60, _LONG * 40, "Again.", _LONG * 90)},
        shown | {"conversations": _turns("<image>\nOne <image> and <image>?", "Three.", "Then\n<image>", "Four.")},
        shown | {"conversations": _turns("No tag at all.", "None.")},
        shown | {"conversations": _turns("<image>", "Just so.")},
        shown | {"conversations": [first, *_turns("<image>\nWhat?", "A kettle.", "Sure?", "Yes.")]},
        shown | {"conversations": _turns("Where?", "Here: <image> is a picture.")},
        shown | {"conversations": _turns("  <image>  spaces  ", "Odd ### one.", "", "Nothing.")},
        shown | {"conversations": _turns("<image>\n" + _LONG * 70, "Long.", _LONG * 50, "Longer.")},
        shown | {"conversations": _turns("<im_start><image><im_end>\nMarked by hand.", "Twice.")},
    ]


class Further:
    """Adds to a set."""

    def __init__(self, out: Path, names: Names, seed: int) -> None:
        self._out, self._names, self._seed = out, names, seed
        self._vocabularies: list[str] = []

    def all(self) -> None:
        """Vocabularies first, so that everything else is said in them too."""
        self.vocabularies()
        self.texts()
        self.prompts()
        self.labels()

    def vocabularies(self) -> None:
        """Every kind of tokenizer folder that there is, its vocabulary extended."""
        known = read_json(self._out / "goldens" / "tokenization.json")
        kinds: dict[tuple[str, ...], str] = {}
        for entry in (entry for part in known.values() for entry in part):
            folder = self._out / entry["tokenizer"]
            if (folder / "tokenizer.model").exists():
                settings = read_json(folder / "tokenizer_config.json")
                has_own = str((folder / "added_tokens.json").exists())
                kinds.setdefault((str(settings.get("legacy")), has_own), entry["tokenizer"])
        for place, like in enumerate(kinds.values()):
            path = f"tokenizers/{self._names.word()}"
            extended.write(self._out / like, self._out / path, self._seed + place)
            self._vocabularies.append(path)

    def texts(self) -> None:
        """More texts for every entry but June's fast ones, and entries for the new vocabularies."""
        file = self._out / "goldens" / "tokenization.json"
        known = read_json(file)
        for commit, entries in known.items():
            june = commit == _JUNE
            for path in self._vocabularies:
                says_legacy = "legacy" in read_json(self._out / path / "tokenizer_config.json")
                if not (june and says_legacy):
                    spoken = speech.of_folder(self._out / path, june=june)
                    entries.append(
                        {"tokenizer": path, "use_fast": False, "legacy": None if june else spoken.legacy}
                        | {"length": spoken.length, "cases": [self._text(text, spoken) for text in entries[0]["cases"]]}
                    )
            for entry in entries:
                folder = self._out / entry["tokenizer"]
                if not entry["use_fast"]:
                    spoken = speech.of_folder(folder, june=june)
                    entry["cases"] += [self._text({"text": text}, spoken) for text in (*TEXTS, *extended.TEXTS)]
        write_json(file, known)
        file = self._out / "goldens" / "tokenizer_image_token.json"
        around = read_json(file)
        texts = sorted({case["prompt"] for case in around} | {"<image><image>", "a </s><image>\n<image> ŧŧ <image>"})
        for path in self._vocabularies:
            spoken = speech.of_folder(self._out / path, june=False)
            around += [
                {"tokenizer": path, "use_fast": False, "prompt": text, "input_ids": speech.with_pictures(text, spoken)}
                for text in texts
            ]
        write_json(file, around)

    @staticmethod
    def _text(case: Mapping[str, Any], spoken: speech.Slow | speech.ByteLevel) -> dict[str, Any]:
        assert isinstance(spoken, speech.Slow)
        ids = spoken.ids(case["text"])
        return {
            "text": case["text"],
            "input_ids": ids,
            "decoded": spoken.text(ids),
            "decoded_skip_special": spoken.text(ids, skip_special=True),
        }

    def prompts(self) -> None:
        """Every template with every new conversation."""
        file = self._out / "goldens" / "prompts.json"
        known = read_json(file)
        new = {self._names.word(): turns for turns in CONVERSATIONS}
        known["conversations"] |= new
        for commit in (key for key in known if "templates" in known[key]):
            part, stops = known[commit], {}
            for case in part["cases"]:
                stops[case["template"]] = {key: case[key] for key in ("stop", "stop_ui") if key in case}
            for name, fields in part["templates"].items():
                for conversation, turns in new.items():
                    made = written.outcome(fields, turns, june=commit == _JUNE)
                    part["cases"].append({"template": name, "conversation": conversation} | made | stops[name])
        write_json(file, known)

    def labels(self) -> None:
        """More samples in every group, and groups with the new vocabularies and with a limit that cuts most of them."""
        file = self._out / "goldens" / "labels.json"
        known = read_json(file)
        templates = read_json(self._out / "goldens" / "prompts.json")
        data = read_json(self._out / known["samples"])
        picture = next(sample["image"] for sample in data if "image" in sample)
        new = [sample | {"id": self._names.word()} for sample in _samples(picture)]
        write_json(self._out / known["samples"], [*data, *new])
        for group in [*known["groups"], *self._groups(known["groups"])]:
            if group not in known["groups"]:
                known["groups"].append(group)
            of = self.group(group, templates)
            group["results"] |= {sample["id"]: written.labelled(sample, of) for sample in [*data, *new]
                                 if sample["id"] not in group["results"]}  # fmt: skip
        write_json(file, known)

    def _groups(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for path in self._vocabularies:
            config = read_json(self._out / path / "tokenizer_config.json")
            if (self._out / path / "added_tokens.json").exists():
                continue  # a trainer starts from a base
            for group in groups:
                june, template = group["commit"] == _JUNE, group.get("template")
                is_llama = (self._out / group["tokenizer"] / "tokenizer.model").exists()
                fits = "legacy" not in config if june else bool(config.get("legacy", True)) == group["tokenizer_legacy"]
                if is_llama and fits and template in (None, "v1", "plain", "llava_llama_2"):
                    length = speech.of_folder(self._out / path, june=june).length
                    new = group | {"tokenizer": path, "results": {}}
                    if june:
                        old = read_json(self._out / group["tokenizer"] / "config.json")["vocab_size"]
                        new["vocab_len"] = group["vocab_len"] - old + length
                        if group["pad_token_id"]:
                            new["pad_token_id"] = length
                    made.append(new)
        made += [
            group | {"model_max_length": 23 + 10 * place, "results": {}} for place, group in enumerate(groups[::6])
        ]
        return made

    def group(self, group: Mapping[str, Any], templates: Mapping[str, Any]) -> written.Group:
        """A group's settings with its template and tokenizer."""
        june = group["commit"] == _JUNE
        marks = ["<im_start>", "<im_end>"] if group["mm_use_im_start_end"] else []
        added = [group["pad_token"], "<im_patch>"] if june else group["extra_added_tokens"]
        spoken = speech.of_folder(
            self._out / group["tokenizer"], june=june, added=[*added, *marks], renewed=group.get("version") == "v0"
        )
        name = _VERSIONS[group["version"]] if june else group["template"]
        return written.Group(june, templates[group["commit"]]["templates"][name], spoken, group)
