"""Checkpoints of other sizes with new random weights, each in the form of one of the first set's.

From the first set come the form (config keys, tensor names, tokenizer, prompts and their ids); from here sizes, weights
and pictures; what they compute is asked of reference.py. In heads, bytes and added tokens have no say, so that no
letter is half; and the end has that of some other token, so that answers end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tests.conformance.remake import seen, vocabulary
from tests.conformance.remake.answers import Asked, answered
from tests.conformance.remake.cases import further
from tests.conformance.remake.files import (
    Tensors,
    read_json,
    read_tensors,
    read_weights,
    write_json,
    write_tensors,
    write_weights,
)
from tests.conformance.remake.kinds import goldens, kind_of
from tests.conformance.remake.moved import Moved, minus, sums
from tests.conformance.remake.plan import BASES, SPECS, TOWERS, Spec
from tests.conformance.remake.reference import Reference, folded
from tests.conformance.remake.sizes import layered, pair, random_tensor, random_tower, shape
from tests.conformance.remake.streams import streams
from tests.conformance.remake.vocabulary import Vocabulary

_HEADS = ("lm_head.weight", "transformer.wte.weight")
_IN_TOWER = "vision_model."


@dataclass(frozen=True)
class Tower:
    """A vision tower that was made: its path in the set, settings and tensors."""

    path: str
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Base:
    """A language model alone: its path in the set, config, tensors, and tokenizer."""

    path: str
    config: Mapping[str, Any]
    tensors: Tensors
    words: Vocabulary


class Remade:
    """Makes them beside what `Moved` has put into the same folder."""

    def __init__(self, moved: Moved, seed: int, shown: Sequence[str]) -> None:
        """`shown` are names of pictures that are there."""
        self._moved, self._first, self._out = moved, moved.first, moved.out
        self._numbers = torch.Generator().manual_seed(seed)
        self._seed, self._shown = seed, list(shown)
        self._goldens = {kind_of(self._first, golden): golden for golden in goldens(self._first)}
        self._towers: dict[str, Tower] = {}
        self._bases: dict[str, Base] = {}
        self._streams: list[dict[str, Any]] = []

    def all(self) -> None:
        """Every tower, base and checkpoint of the plan."""
        for base in BASES:
            self.base(base)
        for spec in SPECS:
            if spec.kind in self._goldens:
                self.checkpoint(spec)
        name = f"worker_stream_{self._moved.names.word()}.json"
        write_json(self._out / "goldens" / name, {"commit": "b4be90b", "entries": self._streams})

    def settings_of_towers(self) -> dict[str, Mapping[str, Any]]:
        """Each tower's preprocessor_config.json, by its path."""
        return {tower.path: tower.preprocessing for tower in self._towers.values()}

    def tower(self, name: str) -> Tower:
        """Made when first asked for."""
        if name not in self._towers:
            spec = TOWERS[name]
            like = next(path for path in sorted((self._first / "vision").iterdir()) if read_weights(path))
            config = read_json(like / "config.json") | dict(spec.config)
            preprocessing = read_json(like / "preprocessor_config.json") | dict(spec.preprocessing)
            path = f"vision/{self._moved.names.word()}"
            tensors = random_tower(config, self._numbers)
            write_json(self._out / path / "config.json", config)
            write_json(self._out / path / "preprocessor_config.json", preprocessing)
            write_weights(self._out / path, tensors, spec.form, self._seed)
            self._towers[name] = Tower(path, config, preprocessing, tensors)
        return self._towers[name]

    def base(self, name: str) -> Base:
        """Made when first asked for."""
        if name not in self._bases:
            spec = BASES[name]
            like = self._goldens["june-lora" if spec.june else "lora"]["base"]
            words = self._words(like, spec.more)
            config = _sized(read_json(self._first / like / "config.json"), spec.sizes, words)
            tensors = self._random(read_weights(self._first / like), config, None, words)
            tensors = {key: tensor.half() for key, tensor in tensors.items()}
            path = f"checkpoints/{self._moved.names.word()}"
            self._settings(like, path, config, words)
            write_weights(self._out / path, tensors, spec.form, self._seed)
            self._bases[name] = Base(path, config, tensors, words)
        return self._bases[name]

    def checkpoint(self, spec: Spec) -> None:
        """One, with its goldens."""
        golden = self._goldens[spec.kind]
        like = golden["checkpoint"]
        tower = self.tower(spec.tower)
        base = self.base(spec.base) if spec.base else None
        words = base.words if base else self._words(like, spec.more)
        words = replace(words, more=words.more + len(spec.added))
        raw = read_json(self._first / like / "config.json")
        sizes: dict[str, Any] = {}
        if base:
            sizes = {key: value for key, value in base.config.items() if key in raw and type(value) in (int, float)}
            sizes.pop("vocab_size")
        config = _sized(raw, sizes | dict(spec.sizes), words)
        config |= {"mm_vision_tower": tower.path, "mm_hidden_size": tower.config["hidden_size"]}
        path = f"checkpoints/{self._moved.names.word()}"
        if base and spec.form in ("adapter", "projector"):
            config["_name_or_path"] = base.path
        self._settings(like, path, config, words, spec.added)

        if base and spec.form == "adapter":
            tensors = self._adapter(spec, like, path, config, tower, base, words)
        elif base and spec.form == "projector":
            own = self._random(read_tensors(self._first / like / "mm_projector.bin"), config, tower, words)
            write_tensors(self._out / path / "mm_projector.bin", own)
            tensors = {**base.tensors, **own}
        else:
            tensors = self._whole(spec, like, path, config, tower, base, words)
        asked = self._asked(spec, golden, config, tensors, tower, words, path)
        made, arrays = answered(asked)
        if base and "base" in golden:
            made["base"] = base.path if golden["base"] else None
        if asked.june and not base:
            self._streams += streams(asked, made)
        name = path.partition("/")[2]
        write_json(self._out / "goldens" / f"forward_{name}.json", made)
        write_tensors(self._out / "goldens" / f"forward_{name}.safetensors", arrays)

    def _whole(
        self,
        spec: Spec,
        like: str,
        path: str,
        config: Mapping[str, Any],
        tower: Tower,
        base: Base | None,
        words: Vocabulary,
    ) -> Tensors:
        """Its own file of tensors; where it has a base, near to it, and with a delta."""
        tensors = self._random(read_weights(self._first / like), config, tower, words)
        if base:
            tensors = {name: _tuned(tensor, base.tensors.get(name)) for name, tensor in tensors.items()}
        dtype = getattr(torch, spec.stored)
        tensors = {name: tensor if "inv_freq" in name else tensor.to(dtype) for name, tensor in tensors.items()}
        asked = self._asked(spec, self._goldens[spec.kind], config, tensors, tower, words, path)
        head = next(name for name in tensors if name.endswith(_HEADS))
        often = asked.often()
        tensors[head][asked.end] = tensors[head][often] * 1.06
        if spec.near:
            twin = next(token for token in sorted(words.spoken) if token not in (often, asked.end))
            tensors[head][twin] = tensors[head][asked.end]
            tensors[head][twin, :3] *= 1.001  # a step or two of float16
        if base:
            delta = minus(tensors, base.tensors)
            tensors = _plus(delta, base.tensors)
            self._delta(delta, tensors, like, path, config, base, words, spec)
        write_weights(self._out / path, tensors, spec.form, self._seed)
        return tensors

    def _delta(
        self,
        delta: Tensors,
        target: Tensors,
        like: str,
        path: str,
        config: Mapping[str, Any],
        base: Base,
        words: Vocabulary,
        spec: Spec,
    ) -> None:
        there = f"checkpoints/{self._moved.names.word()}"
        self._settings(like, there, config, words, spec.added)
        write_weights(self._out / there, delta, "bin*2", self._seed)
        golden = next(read_json(file) for file in sorted((self._first / "goldens").glob("delta*.json")))
        golden |= {
            "base": base.path,
            "delta": there,
            "expected_target": path,
            "apply_expected": sums(target),
            "make_delta_from_expected_target": sums(minus(target, base.tensors)),
        }
        write_json(self._out / "goldens" / f"delta_{there.partition('/')[2]}.json", golden)

    def _adapter(
        self,
        spec: Spec,
        like: str,
        path: str,
        config: Mapping[str, Any],
        tower: Tower,
        base: Base,
        words: Vocabulary,
    ) -> Tensors:
        """Its pairs and other tensors; and the base with them folded in."""
        folder = self._first / like
        seen, layers = tower.config["hidden_size"], config["num_hidden_layers"]
        names = layered(read_tensors(folder / "adapter_model.bin"), layers)
        sizes = {name: pair(name, config, seen, spec.rank) for name in names}
        pairs = {name: random_tensor(name, size, self._numbers, 1.0) for name, size in sizes.items()}
        others = self._random(read_tensors(folder / "non_lora_trainables.bin"), config, tower, words)
        before = "base_model.model."
        others = {key: _tuned(value, base.tensors.get(key.removeprefix(before))) for key, value in others.items()}
        settings = read_json(folder / "adapter_config.json")
        settings |= {"r": spec.rank, "lora_alpha": 3 * spec.rank, "base_model_name_or_path": base.path}
        write_json(self._out / path / "adapter_config.json", settings)
        write_tensors(self._out / path / "adapter_model.bin", pairs)
        write_tensors(self._out / path / "non_lora_trainables.bin", others)
        return folded(base.tensors, pairs, others, 3.0)

    def _asked(
        self,
        spec: Spec,
        golden: Mapping[str, Any],
        config: Mapping[str, Any],
        tensors: Tensors,
        tower: Tower,
        words: Vocabulary,
        path: str,
    ) -> Asked:
        own = {name: tensor for name, tensor in tensors.items() if _IN_TOWER in name}
        uses = own if config.get("unfreeze_mm_vision_tower") else tower.tensors
        reference = Reference(config, tensors, tower.config, uses)
        patches = (tower.config["image_size"] // tower.config["patch_size"]) ** 2
        mode = config.get("image_aspect_ratio", "square")
        folder = self._out / path
        if not any((folder / name).exists() for name in ("tokenizer.model", "tokenizer.json")):
            folder = self._out / self._bases[spec.base or ""].path
        longest = config.get("tokenizer_model_max_length")
        more = further(golden, self._out, folder, longest, patches, SPECS.index(spec))
        return Asked(
            golden=golden,
            path=path,
            out=self._out,
            config=config,
            preprocessing=tower.preprocessing,
            patches=patches,
            reference=reference,
            words=words,
            shown=[name for name in self._shown if seen.is_read(self._out / "images" / name, mode)],
            case_id=self._moved.names.id,
            seed=self._seed,
            further=list(more),
            record=spec.record,
        )

    def _random(
        self, like: Mapping[str, Tensor], config: Mapping[str, Any], tower: Tower | None, words: Vocabulary
    ) -> Tensors:
        """A file's tensors at new sizes; those of a tower in it are a tower's, but not the folder's."""
        seen = tower.config["hidden_size"] if tower else 0
        layers = config.get("num_hidden_layers", config.get("n_layers"))
        theta = config.get("rope_theta", 10000.0)
        made = {}
        for name in layered(like, layers):
            if _IN_TOWER not in name:
                made[name] = random_tensor(name, shape(name, config, seen), self._numbers, theta)
        for name in [name for name in made if name.endswith(_HEADS)]:
            made[name][_silent(words, len(made[name]))] *= 0.01
        inside = next((name for name in like if _IN_TOWER in name), None)
        if inside and tower:
            before = inside[: inside.index(_IN_TOWER)]
            has_places = any(name.endswith("position_ids") for name in like)
            for name, tensor in random_tower(tower.config, self._numbers).items():
                if has_places or not name.endswith("position_ids"):
                    made[before + name] = tensor
        return made

    def _words(self, like: str, more: int) -> Vocabulary:
        return vocabulary.of_folder(self._first / like, self._seed + more, more)[1]

    def _settings(
        self, like: str, path: str, config: Mapping[str, Any], words: Vocabulary, added: Sequence[str] = ()
    ) -> None:
        """The small files."""
        self._moved.settings(self._first / like, self._out / path, words)
        write_json(self._out / path / "config.json", config)
        file = self._out / path / "added_tokens.json"
        if file.exists():
            tokens = read_json(file)
            first = min(tokens.values()) - len(added)
            write_json(file, tokens | {token: first + place for place, token in enumerate(added)})


def _sized(raw: Mapping[str, Any], sizes: Mapping[str, Any], words: Vocabulary) -> dict[str, Any]:
    return {**raw, **sizes, "vocab_size": raw["vocab_size"] + words.more}


def _silent(words: Vocabulary, rows: int) -> list[int]:
    """Ids that no answer should have: special ones, bytes, half letters, pieces that no text has, added tokens."""
    return [token for token in range(rows) if token not in words.spoken]


def _tuned(tensor: Tensor, base: Tensor | None) -> Tensor:
    """As if trained from the base: near to it where it has values."""
    if base is None:
        return tensor
    made = tensor.clone()
    place = tuple(slice(size) for size in base.shape)
    near = base.float() if tensor.ndim == 1 else base.float() + 0.05 * tensor[place]
    made[place] = near
    return made


def _plus(delta: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Tensors:
    """What the original's script makes of a delta."""
    made = {}
    for name, tensor in delta.items():
        new = tensor.clone()
        if name in base:
            new[tuple(slice(size) for size in base[name].shape)] += base[name].to(new.dtype)
        made[name] = new
    return made
