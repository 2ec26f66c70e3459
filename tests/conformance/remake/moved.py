"""The first set under other names, token ids and file formats: what its code computed stays true of it.

A tokenizer's pieces get other ids, some pieces that no text has are added, and the rows of embeddings and heads move
along; so do ids, labels and the columns of logits in the goldens. Sums are made anew where they are of bytes. Nothing
here computes a model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tests.conformance.remake import vocabulary
from tests.conformance.remake.beside import write_beside
from tests.conformance.remake.files import (
    Tensors,
    read_json,
    read_tensors,
    read_weights,
    write_json,
    write_tensors,
    write_weights,
)
from tests.conformance.remake.names import Names
from tests.conformance.remake.vocabulary import Vocabulary

_FORMS = ("safetensors", "bin*3", "safetensors*4", "bin", "bin*2", "safetensors*2")
_TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")
_IDS = {"input_ids", "slow_tokenizer_input_ids", "labels", "greedy_ids", "generate_ids"}
_ID = {"pad_token_id", "im_patch_token"}
_LENGTHS = {"vocab_len", "length"}
_ADDED = 9  # more special tokens than that no folder adds
_ROWS = ("embed_tokens.weight", "lm_head.weight", "wte.weight")


class Moved:
    """Moves a set into an empty folder, part by part.

    Attributes:
        names: what everything is called now.
        left_out: goldens that can not be moved, and so are not there.
    """

    def __init__(self, first: Path, out: Path, names: Names, seed: int) -> None:
        self.first, self.out, self.names, self._seed = first, out, names, seed
        self._vocabularies: dict[str, Vocabulary] = {}
        # More pieces would have a share in a loss.
        losses = [read_json(file)["losses"] for file in sorted((first / "goldens").glob("batch_loss_*.json"))]
        self._with_losses = {checkpoint for each in losses for checkpoint in each}
        for checkpoint in sorted(self._with_losses):
            self.vocabulary(f"checkpoints/{checkpoint}")
        self.left_out: list[str] = []

    def all(self) -> None:
        """Everything."""
        for old in self.names.paths:
            kind = old.partition("/")[0]
            if kind == "projectors":
                self._projector(old)
            elif kind == "vision":
                self._tower(old)
            else:
                self._checkpoint(old)
        self.pictures()
        self.data()
        self.goldens()

    def pictures(self) -> None:
        """As they are, under other names."""
        (self.out / "images").mkdir(parents=True)
        for old, new in self.names.pictures.items():
            shutil.copyfile(self.first / "images" / old, self.out / "images" / new)
        known = read_json(self.first / "images" / "images.json")
        write_json(self.out / "images" / "images.json", {self.names.pictures[name]: known[name] for name in known})

    def data(self) -> None:
        """Samples with other ids, and pictures by their new names."""
        for file in sorted((self.first / "data").glob("*.json")):
            samples = read_json(file)
            for sample in samples:
                sample["id"] = self.names.id(sample["id"])
                if "image" in sample:
                    sample["image"] = self.names.path(sample["image"])
            write_json(self.out / "data" / file.name, samples)

    def goldens(self) -> None:
        """All but training's, whose sums are of tensors that moved."""
        for file in sorted((self.first / "goldens").iterdir()):
            if file.suffix != ".json":
                continue
            name, content = file.name, read_json(file)
            if name.startswith("train_"):
                self.left_out.append(name)
                continue
            if name.startswith("forward_"):
                name = self._forward(file, content)
                content["cases"] = [case | {"case": self.names.id(case["case"])} for case in content["cases"]]
            elif name == "prompts.json":
                content = self._prompts(content)
            elif name == "labels.json":
                for group in content["groups"]:
                    group["results"] = {self.names.id(old): result for old, result in group["results"].items()}
            elif name.startswith("delta"):
                content = self._delta(content)
            elif name.startswith("pixels_"):
                stored = np.load(file.with_suffix(".npz"))
                arrays = {self.names.path(key): stored[key] for key in stored.files}
                (self.out / "goldens").mkdir(exist_ok=True)
                np.savez_compressed(self.out / "goldens" / file.with_suffix(".npz").name, **arrays)
            write_json(self.out / "goldens" / name, self.carried(content))

    def carried(self, value: Any, words: Vocabulary | None = None) -> Any:
        """A golden with new names and ids; whose ids they are is told by the nearest tokenizer or checkpoint named."""
        if isinstance(value, dict):
            words = self._named(value) or words
            made: dict[str, Any] = {}
            for key, each in value.items():
                new = self.names.path(key)
                beneath = self._of_name(key) or words
                if key in _IDS and beneath is not None and isinstance(each, list):
                    made[new] = beneath.ids(each)
                elif key in _ID and beneath is not None and isinstance(each, int):
                    made[new] = beneath.id(each)
                elif key in _LENGTHS and beneath is not None and isinstance(each, int):
                    made[new] = each + beneath.more
                else:
                    made[new] = self.carried(each, beneath)
            return made
        if isinstance(value, list):
            return [self.carried(each, words) for each in value]
        return self.names.path(value) if isinstance(value, str) else value

    def vocabulary(self, old: str) -> Vocabulary | None:
        """Of a folder by its old path; adapters have their base's; None for what has none."""
        folder = self.first / old
        if not folder.is_dir():
            return None
        if any((folder / name).exists() for name in _TOKENIZER_FILES):
            if (folder / "tokenizer.model").exists():
                content = (folder / "tokenizer.model").read_bytes()
            else:  # without the added tokens in it, which differ from folder to folder
                content = json.dumps(read_json(folder / "tokenizer.json")["model"]).encode()
            key = hashlib.sha256(content).hexdigest()
            if key not in self._vocabularies:
                place = len(self._vocabularies)
                more = 0 if old.partition("/")[2] in self._with_losses else 3 + 2 * place
                _, made = vocabulary.of_folder(folder, self._seed + place, more)
                self._vocabularies[key] = made
            return self._vocabularies[key]
        base = self.base(old)
        return self.vocabulary(base) if base else None

    def vocabularies(self) -> list[Vocabulary]:
        """All that there are."""
        return list(self._vocabularies.values())

    def base(self, old: str) -> str | None:
        """The base's old path, of an adapter or a projector."""
        for file, key in (("adapter_config.json", "base_model_name_or_path"), ("config.json", "_name_or_path")):
            path = self.first / old / file
            named = read_json(path).get(key) if path.exists() else None
            if isinstance(named, str) and named in self.names.paths:
                return named
        return None

    def _named(self, value: Mapping[str, Any]) -> Vocabulary | None:
        for key in ("tokenizer", "checkpoint"):
            if isinstance(value.get(key), str):
                return self._of_name(value[key])
        return None

    def _of_name(self, name: str) -> Vocabulary | None:
        for path in (name, f"checkpoints/{name}"):
            if path in self.names.paths:
                return self.vocabulary(path)
        return None

    def _checkpoint(self, old: str) -> None:
        """Or a base, a delta, an adapter, a tokenizer."""
        folder, new = self.first / old, self.out / self.names.paths[old]
        words = self.vocabulary(old)
        assert words is not None
        self.settings(folder, new, words)
        weights = read_weights(folder)
        if weights:
            was = "safetensors" if list(folder.glob("*.safetensors")) else "bin"
            form = _other_form(was, list(self.names.paths).index(old))
            write_weights(new, rows_moved(weights, words), form, self._seed)
        for file in sorted(folder.glob("*.bin")):
            if file.name.startswith("pytorch_model"):
                continue
            to = new / file.name
            if file.name == "adapter_model.bin" and not (folder / "tokenizer.model").exists() and _is_newest(folder):
                to = to.with_suffix(".safetensors")
            write_tensors(to, rows_moved(read_tensors(file), words))

    def settings(self, folder: Path, new: Path, words: Vocabulary) -> None:
        new.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.json")):
            if file.name.endswith("index.json"):
                continue
            if file.name == "tokenizer.json":
                if not (folder / "tokenizer.model").exists():
                    (new / file.name).write_bytes(_with_added(words, read_json(file)))
                continue
            content = read_json(file)
            if file.name == "added_tokens.json":
                content = {token: words.id(each) for token, each in content.items()}
            elif file.name == "config.json" and "vocab_size" in content:
                content["vocab_size"] += words.more
            write_json(new / file.name, self.carried(content))
        if (folder / "tokenizer.model").exists():
            (new / "tokenizer.model").write_bytes(words.content)
            texts = self._newest_texts(folder.relative_to(self.first).as_posix(), words)
            if texts:
                write_beside(new / "tokenizer.json", vocabulary.scored(words.content), texts)

    def _newest_texts(self, old: str, words: Vocabulary) -> dict[str, list[int]]:
        """What the newest tokenizer, the one that is not `legacy`, makes of some texts, in new ids."""
        entries = [
            entry
            for part in read_json(self.first / "goldens" / "tokenization.json").values()
            for entry in part
            if entry["tokenizer"] == old and entry["legacy"] is False and not entry["use_fast"]
        ]
        return {case["text"]: words.ids(case["input_ids"]) for entry in entries for case in entry["cases"]}

    def _tower(self, old: str) -> None:
        folder, new = self.first / old, self.out / self.names.paths[old]
        for file in sorted(folder.glob("*.json")):
            write_json(new / file.name, read_json(file))
        weights = read_weights(folder)
        if weights:
            write_weights(new, weights, "safetensors" if len(old) % 2 else "bin*2", self._seed)

    def _projector(self, old: str) -> None:
        """Embeddings beside it have as many rows as some checkpoint of June's, who alone put them there, has tokens."""
        tensors = read_tensors(self.first / old)
        rows = {len(tensor) for name, tensor in tensors.items() if name.endswith(_ROWS)}
        for file in sorted((self.first / "goldens").glob("forward_*.json")) if rows else ():
            said = read_json(file)
            words = self._of_name(said["checkpoint"])
            if "im_patch_token" in said and words and all(0 <= count - len(words.order) < _ADDED for count in rows):
                tensors = rows_moved(tensors, words)
                break
        write_tensors(self.out / self.names.paths[old], tensors)

    def _forward(self, file: Path, content: Mapping[str, Any]) -> str:
        words = self._of_name(content["checkpoint"])
        assert words is not None
        made: Tensors = {}
        for name, tensor in read_tensors(file.with_suffix(".safetensors")).items():
            case, _, kind = name.rpartition(".")
            is_logits = kind.startswith("logits")
            made[f"{self.names.id(case)}.{kind}"] = words.rows(tensor.T.contiguous()).T if is_logits else tensor
        new = self.names.path(content["checkpoint"]).partition("/")[2]
        write_tensors(self.out / "goldens" / f"forward_{new}.safetensors", made)
        return f"forward_{new}.json"

    def _prompts(self, content: dict[str, Any]) -> dict[str, Any]:
        content["conversations"] = {self.names.id(old): turns for old, turns in content["conversations"].items()}
        for part in content.values():
            for case in part.get("cases", ()):
                case["conversation"] = self.names.id(case["conversation"])
        return content

    def _delta(self, content: dict[str, Any]) -> dict[str, Any]:
        """Sums of the moved tensors, by plain arithmetic, which must first give the original's own sums."""
        base, target = (read_weights(self.first / content[key]) for key in ("base", "expected_target"))
        assert _bytes(sums(target)) == _bytes(content["apply_expected"])
        assert _bytes(sums(minus(target, base))) == _bytes(content["make_delta_from_expected_target"])
        words = self._of_name(content["base"])
        assert words is not None
        base, target = rows_moved(base, words), rows_moved(target, words)
        made = {"apply_expected": sums(target), "make_delta_from_expected_target": sums(minus(target, base))}
        return content | made


def rows_moved(tensors: Mapping[str, Tensor], words: Vocabulary) -> Tensors:
    """Rows of embeddings and heads where their tokens are now."""
    return {name: words.rows(tensor) if name.endswith(_ROWS) else tensor for name, tensor in tensors.items()}


def minus(target: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Tensors:
    """The delta: what the base has taken from the top left of each tensor of the target, in the target's numbers."""
    made = {}
    for name, tensor in target.items():
        new = tensor.clone()
        if name in base:
            old = base[name]
            new[tuple(slice(size) for size in old.shape)] -= old.to(new.dtype)
        made[name] = new
    return made


def sums(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What delta goldens say of tensors."""
    made = {}
    for name, tensor in sorted(tensors.items()):
        values = tensor.double()
        made[name] = {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "sum": values.sum().item(),
            "abs_sum": values.abs().sum().item(),
            "sha256": hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest(),
        }
    return made


def _bytes(said: Mapping[str, Any]) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in said.items()}


def _with_added(words: Vocabulary, old: Mapping[str, Any]) -> bytes:
    """The renumbered file, with this folder's added tokens."""
    spec = json.loads(words.content)
    spec["added_tokens"] = [token | {"id": words.id(token["id"])} for token in old["added_tokens"]]
    return json.dumps(spec, ensure_ascii=False).encode()


def _other_form(was: str, place: int) -> str:
    forms = [form for form in _FORMS if not form.startswith(was)]
    return forms[place % len(forms)]


def _is_newest(folder: Path) -> bool:
    return "mm_projector_type" in read_json(folder / "config.json")
