"""A base's tensors with an adapter or a projector in them: replaced, folded or grown, each made when it is read.

Every tensor of the adapter finds its place, or the adapter is refused with the reason. Knows no folders' layouts; what
folding computes is folding.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.adapters.base_check import by
from llava_engine.checkpoints.adapters.config import FILE, MERGE, AdapterConfig
from llava_engine.checkpoints.adapters.folding import LowRank, grown, with_rows
from llava_engine.checkpoints.adapters.peft_names import LowRankName, is_base_copy, low_rank_name, plain_name
from llava_engine.checkpoints.tensor_names import EMBEDDINGS, HEAD, embeddings_in
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import StoredTensor, TensorSource

_PROJECTOR = "multi_modal_projector."
_ROWS = "trainable_tokens_delta"
_NEW_ROWS = 4  # [PAD], <im_patch>, <im_start>, <im_end>: the most that the original added to a vocabulary
# What an adapter may bring that its base, a bare language model, does not have.
_ADDITIONS = (_PROJECTOR, "vision_tower.", "image_newline", HEAD)
_LONGEST_NAME = 300  # letters; PEFT's longest over a LLaVA has some 120


class Adapted:
    """A base's tensors, some of them replaced or folded; each is made when it is read."""

    def __init__(self, path: Path, base: Path, stored: TensorSource, *, tied: bool = False) -> None:
        """Begin with the base as it is.

        Args:
            path: the adapter, for errors.
            base: the base's folder, for errors.
            stored: the base's tensors by canonical names.
            tied: whether the base's head is its embeddings again, whatever it stores.
        """
        self.folder = path
        self.tensors: dict[str, StoredTensor] = dict(stored.tensors)
        self.own_head = False  # whether a tied head was trained apart from the embeddings
        self._base, self._stored, self._tied = base, stored, tied
        self._made: dict[str, Callable[[], Tensor]] = {name: partial(stored.read, name) for name in stored.tensors}
        self._brought: dict[str, Callable[[], Tensor]] = {}
        self._folded: set[str] = set()
        self._embeddings = embeddings_in(stored)
        if not self._embeddings:
            raise ModelError(f"{base} is no language model: it has no embeddings.", "Give the base: --base FOLDER.")

    def changes(self, prefix: str) -> bool:
        """Whether any tensor whose name begins so is another than the base's."""
        return any(name.startswith(prefix) for name in self._brought.keys() | self._folded)

    def brought_embeddings(self) -> Tensor | None:
        """Embeddings of all the base's tokens that came along, before anything is folded into them."""
        brought = self._brought[self._embeddings]() if self._embeddings in self._brought else None
        whole = brought is not None and len(brought) >= self._stored.tensors[self._embeddings].shape[0]
        return brought if whole else None

    def read(self, name: str) -> Tensor:
        """One tensor, as stored or as made."""
        return self._made[name]()

    def replace(self, files: TensorSource) -> None:
        """Take tensors that were trained whole."""
        for name in files.tensors:
            self._check_length(name)
            if not is_base_copy(name):
                self._take(files, name, tensor_names.canonical(plain_name(name)))

    def fold(self, files: TensorSource, settings: AdapterConfig) -> None:
        """Take low-rank pairs, and what goes with them: layers' own weights first, then what is folded into them."""
        modules: dict[str, dict[str, str]] = {}
        whole = {}
        for name in files.tensors:
            self._check_length(name)
            found = low_rank_name(name)
            if found is not None:
                self._collect(modules, name, found)
            elif not is_base_copy(name):
                whole[name] = tensor_names.canonical(plain_name(name))
        for name, target in whole.items():
            self._take(files, name, target)
            if self._tied and target == EMBEDDINGS[0] and settings.copies(plain_name(name).removesuffix(".weight")):
                self._untie()
        for module, parts in modules.items():
            self._fold(module, parts, files, settings)
        if self.own_head and any(part.endswith(_ROWS) for parts in modules.values() for part in parts):
            raise self._no_lora("it changes single rows of the embeddings, and the head that is tied to them")

    def drop_second_layer(self) -> None:
        """Leave out what the base's own projector has more than a linear one that takes its place."""
        for name in [name for name in self.tensors if name.startswith(f"{_PROJECTOR}linear_2.")]:
            del self.tensors[name], self._made[name]

    def settle_rows(self, vocabulary: object, *, alone: bool) -> None:
        """Make embeddings and head equally long, and as long as the config of a projector alone says.

        A projector of June 2023 brings embeddings with rows for its new tokens (all rows, or the new ones alone), and
        no head. The original begins the head's new rows as the mean of the others, and trains them later or never.
        """
        name, base = self._embeddings, self._stored.tensors[self._embeddings].shape[0]
        said = vocabulary if type(vocabulary) is int else 0
        if name not in self._brought:
            if alone and base < said <= base + _NEW_ROWS:
                for each in {name, HEAD} & self.tensors.keys():
                    self._make(each, (said, *self.tensors[each].shape[1:]), grown(self._stored, each, said))
            return
        brought = self.tensors[name].shape[0]
        if brought < min(base, _NEW_ROWS + 1):
            # The marks around a picture alone; the token for a patch stands before them, untrained.
            total = max(base + 1 + brought, said)
            if total > base + brought + _NEW_ROWS:
                raise self._refusal(f"config.json says {total:,} tokens, and base and adapter have {base + brought:,}")
            self._make(name, (total, *self.tensors[name].shape[1:]), grown(self._stored, name, total, self._made[name]))
        elif brought < base:
            raise self._refusal(f"it has embeddings of {brought:,} tokens, and the base has {base:,}")
        rows = self.tensors[name].shape[0]
        if HEAD in self._stored.tensors and HEAD not in self._brought and self.tensors[HEAD].shape[0] < rows:
            self._make(HEAD, (rows, *self.tensors[HEAD].shape[1:]), grown(self._stored, HEAD, rows))

    def _take(self, files: TensorSource, name: str, target: str) -> None:
        """Put a tensor of the adapter in the place of the base's."""
        new, old = files.tensors[name], self._stored.tensors.get(target)
        if target in self._brought:
            # The original writes biases that were trained into both of its files.
            if new.shape != self.tensors[target].shape or not torch.equal(files.read(name), self.read(target)):
                raise self._refusal(f"it has {name} twice")
            return
        if old is None and not target.startswith(_ADDITIONS):
            raise self._refusal(f"it has a tensor {name}, for which the base has no place")
        if old is not None and not target.startswith(_PROJECTOR):
            free_rows = target in (HEAD, self._embeddings)
            if new.shape[free_rows:] != old.shape[free_rows:] or not new.shape:
                raise self._refusal(f"its {name} is {by(new.shape)}, and the base's is {by(old.shape)}")
        self._brought[target] = partial(files.read, name)
        self.own_head |= self._tied and target == HEAD
        self.tensors[target] = new
        self._made[target] = self._brought[target]

    def _fold(self, module: str, parts: Mapping[str, str], files: TensorSource, settings: AdapterConfig) -> None:
        target = tensor_names.canonical(f"{module}.weight")
        if target == EMBEDDINGS[1]:
            raise self._no_lora(f"{module} is the embeddings of an MPT, which are its head too")
        if self._tied and target in (HEAD, EMBEDDINGS[0]) and not any(part.endswith(_ROWS) for part in parts):
            self._untie()
        if target not in self.tensors:
            raise self._refusal(f"it adapts {module}, which the base does not have")
        shape, source = self.tensors[target].shape, self._made[target]
        shapes = {part: files.tensors[name].shape for part, name in parts.items()}
        if len(shape) == 4:
            raise self._no_lora(f"{module} is a convolution, and a LoRA is read over linear layers and embeddings")
        if len(shape) != 2:
            raise self._no_lora(f"{module} is no linear layer and no embedding")
        self._folded.add(target)
        delta = next((part for part in parts if part.endswith(_ROWS)), None)
        if delta is not None:
            rows = settings.rows_of(module)
            if len(parts) > 1 or shapes[delta] != (len(rows), shape[1]) or max(rows, default=0) >= shape[0]:
                raise self._refusal(f"its rows for {module} are {by(shapes[delta])}, and its settings name {len(rows)}")
            self._make(target, shape, with_rows(source, rows, partial(files.read, parts[delta])))
            return
        across = "embedding_" if "lora_embedding_A" in parts else ""
        if across and "lora_magnitude_vector" in parts:
            raise self._no_lora(f"{module} is an embedding with DoRA, which is read over linear layers only")
        down, up = f"lora_{across}A", f"lora_{across}B"
        wanted = {down, up} | ({"lora_magnitude_vector"} if settings.weight_decomposed and not across else set())
        for lacking in sorted(wanted - parts.keys()):
            raise self._not_whole(f"{module} lacks {lacking}")
        for odd in sorted(parts.keys() - wanted):
            raise self._not_whole(f"{module} has {odd}, of which {FILE} does not speak")
        out, into = reversed(shape) if across else shape
        rank = settings.rank_of(module)
        if shapes[down] != (rank, into) or shapes[up] != (out, rank):
            fits = shapes[down][1:] == (into,) and shapes[up][:1] == (out,)
            has = f"{module} has matrices {by(shapes[down])} and {by(shapes[up])}"
            if fits:
                raise self._not_whole(f"{has}, and {FILE} says rank {rank}")
            raise self._refusal(f"{has}, for a layer that is {by(shape)} in the base")
        self._make(
            target,
            shape,
            LowRank(
                source,
                partial(files.read, parts[down]),
                partial(files.read, parts[up]),
                settings.scale_of(module),
                across=bool(across),
                magnitude=partial(files.read, parts["lora_magnitude_vector"]) if len(parts) == 3 else None,
            ),
        )

    def _make(self, name: str, shape: tuple[int, ...], made: Callable[[], Tensor]) -> None:
        """What is computed is float32, whatever it is computed from."""
        self.tensors[name] = StoredTensor(self.tensors[name].file, shape, torch.float32)
        self._made[name] = made

    def _collect(self, modules: dict[str, dict[str, str]], name: str, found: LowRankName) -> None:
        if found.bias:
            raise self._no_lora(f"{found.part} of {found.module} has a bias (lora_bias)")
        if (first := modules.setdefault(found.module, {}).setdefault(found.part, name)) != name:
            raise ModelError(
                f"{self.folder} holds two adapters in one file: {first} and {name}.",
                "Save the one that is wanted by itself, with the library that trained it.",
            )

    def _untie(self) -> None:
        """Give a tied head a tensor of its own: PEFT changes it and embeddings apart, but for single rows."""
        self.own_head = True
        if HEAD not in self._brought:
            self.tensors.setdefault(HEAD, self._stored.tensors[self._embeddings])
            self._made.setdefault(HEAD, partial(self._stored.read, self._embeddings))

    def _check_length(self, name: str) -> None:
        if len(name) > _LONGEST_NAME:
            raise self._refusal(f"it has a tensor with a name of {len(name)} letters")

    def _no_lora(self, cause: str) -> ModelError:
        return ModelError(f"{self.folder} can not be folded into its base: {cause}.", MERGE)

    def _not_whole(self, cause: str) -> ModelError:
        return ModelError(
            f"The files of {self.folder} do not belong together: {cause}.",
            f"Take the adapter's folder complete, with the {FILE} of the same training.",
        )

    def _refusal(self, cause: str) -> ModelError:
        return ModelError(
            f"{self.folder} does not go onto {self._base}: {cause}.",
            "Give the base that it was trained on: --base FOLDER.",
        )
