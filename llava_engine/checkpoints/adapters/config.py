"""`adapter_config.json` of a LoRA adapter (PEFT's file of every version) -> what folding it needs, or a refusal.

Our own adapters say here too which base they were trained on, under the key `llava`. Knows no tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llava_engine.errors import ModelError
from llava_engine.files.json import read_json

FILE = "adapter_config.json"

_T = TypeVar("_T")
_OWN = "Take the adapter's own file."
MERGE = "Fold it into its base with the library that trained it, and open the result."

# Settings under which a base's weights become something else than W + scale · B·A, or that we have no use for.
_UNSUPPORTED = {
    "fan_in_fan_out": "it is for layers that store their weights transposed, which no LLaVA has",
    "layer_replication": "it runs layers twice",
    "use_qalora": "it folds groups of inputs",
    "target_parameters": "it adapts single parameters",
    "lora_bias": "it gives the adapter biases",
    "use_bdlora": "it cuts the matrices into blocks",
    "megatron_config": "its layers are cut over machines",
    "alora_invocation_tokens": "it acts only after certain tokens",
    "arrow_config": "it chooses among several adapters for each token",
}
_PLAIN = "Convert the adapter to a plain LoRA with the library that wrote it."
_FRESH = (True, False, None, "gaussian", "eva", "orthogonal")  # ways to begin that leave the base's weights alone


@dataclass(frozen=True)
class AdapterConfig:
    """A LoRA's settings.

    Attributes:
        rank: of its matrices, for modules that no pattern names.
        alpha: what scales them, likewise.
        ranks: rank by pattern: the end of a module's name, or a regular expression for that.
        alphas: alpha by pattern.
        rank_stabilized: whether the scale is alpha / √rank in place of alpha / rank (Kalajdzievski 2023).
        weight_decomposed: whether each row's length is learned by itself (DoRA: Liu et al. 2024).
        copied: ends of the names of modules that are trained whole, as copies of the base's.
        rows: token ids whose embedding rows are replaced, by module pattern; "" for the embeddings.
        base: name or path of the base model.
        base_sha256: `base_sha256` of the base, where we wrote the adapter.
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rank_stabilized: bool
    weight_decomposed: bool
    copied: tuple[str, ...]
    rows: Mapping[str, tuple[int, ...]]
    base: str | None
    base_sha256: str | None

    def rank_of(self, module: str) -> int:
        """The rank that a module's matrices should have."""
        return _matching(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """What B·A is multiplied by."""
        rank = self.rank_of(module)
        return _matching(self.alphas, module, self.alpha) / (math.sqrt(rank) if self.rank_stabilized else rank)

    def copies(self, module: str) -> bool:
        """Whether a module is trained whole, as a copy: what is tied to the base's own stays as it was."""
        return any(module == end or module.endswith(f".{end}") for end in self.copied)

    def rows_of(self, module: str) -> tuple[int, ...]:
        """Which rows of an embedding are replaced."""
        return _matching(self.rows, module, self.rows.get("", ()))


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Read a folder's adapter_config.json.

    Raises:
        ModelError: it is missing, of another method, or a setting is of the wrong type or not supported.
    """
    raw = read_json(folder / FILE)
    method = raw.get("peft_type", "LORA")
    if method != "LORA":
        raise ModelError(f"{folder}: {FILE} is of an adapter by {method!r}; only LoRA is supported.", _PLAIN)
    for key, reason in _UNSUPPORTED.items():
        if raw.get(key):
            raise ModelError(f"{folder}: {FILE} has {key}, which is not supported: {reason}.", _PLAIN)
    begun = raw.get("init_lora_weights", True)
    if not any(begun is way or (isinstance(way, str) and begun == way) for way in _FRESH):
        raise ModelError(
            f"{folder}: {FILE} has init_lora_weights {begun!r}, which changes the base model before it begins.",
            _PLAIN,
        )
    own = raw.get("llava") or {}
    sha256 = own.get("base_sha256") if isinstance(own, Mapping) else None
    base = raw.get("base_model_name_or_path")
    return AdapterConfig(
        rank=_rank(folder, "r", raw.get("r")),
        alpha=_alpha(folder, "lora_alpha", raw.get("lora_alpha")),
        ranks={pattern: _rank(folder, pattern, value) for pattern, value in _patterns(folder, raw, "rank_pattern")},
        alphas={pattern: _alpha(folder, pattern, value) for pattern, value in _patterns(folder, raw, "alpha_pattern")},
        rank_stabilized=bool(raw.get("use_rslora")),
        weight_decomposed=bool(raw.get("use_dora")),
        copied=_copied(raw),
        rows=_rows(folder, raw.get("trainable_token_indices")),
        base=base if isinstance(base, str) else None,
        base_sha256=sha256 if isinstance(sha256, str) else None,
    )


def _copied(raw: Mapping[str, Any]) -> tuple[str, ...]:
    named = raw.get("modules_to_save")
    if raw.get("ensure_weight_tying") or not isinstance(named, list):  # tied copies stay tied
        return ()
    return tuple(end for end in named if isinstance(end, str) and end)


def _rank(folder: Path, key: str, value: Any) -> int:
    if type(value) is not int or not 0 < value <= 1_000_000:
        raise ModelError(f"{folder}: {FILE}: {key} is {value!r}, not a rank of 1 or more.", _OWN)
    return value


def _alpha(folder: Path, key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e12:
        raise ModelError(f"{folder}: {FILE}: {key} is {value!r}, not a number.", _OWN)
    return float(value)


def _patterns(folder: Path, raw: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    """Patterns and values; what could keep a regular expression busy for hours is refused."""
    table = raw.get(key) or {}
    if not isinstance(table, Mapping):
        raise ModelError(f"{folder}: {FILE}: {key} is {table!r}, not an object.", _OWN)
    for pattern in table:
        repeats, ways = len(re.findall(r"[*+{?]", pattern)), pattern.count("|")
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError):
            repeats = 99
        if len(pattern) > 300 or repeats > 2 or ways > 8 or re.search(r"\)\s*[*+{]", pattern):
            raise ModelError(
                f"{folder}: {FILE}: {key} holds the pattern {pattern[:80]!r}, which is not supported.", _PLAIN
            )
    return list(table.items())


def _matching(table: Mapping[str, _T], module: str, default: _T) -> _T:
    """As PEFT matches: the pattern stands for a whole end of the name, after a dot or from the beginning."""
    return next((value for key, value in table.items() if key and re.match(rf"(.*\.)?({key})$", module)), default)


def _rows(folder: Path, value: Any) -> dict[str, tuple[int, ...]]:
    table = value if isinstance(value, Mapping) else {"": value} if value else {}
    for ids in table.values():
        if not isinstance(ids, list) or not all(type(row) is int and row >= 0 for row in ids):
            raise ModelError(
                f"{folder}: {FILE}: trainable_token_indices is {value!r}, not a list of token ids.",
                _OWN,
            )
    return {re.escape(key): tuple(ids) for key, ids in table.items()}
