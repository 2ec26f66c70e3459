"""A model's config and tensors -> a `LlavaModel`, strictly: what is missing, unexpected or misshapen is named.

`load_for_inference` plans first, and then builds each linear layer in its final kernel on its device as its weight is
read, so that memory peaks at the final size plus one layer; `load_trainable` gives plain float32 parameters. Knows no
tokenizer and no pictures.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llava_engine.checkpoints import tensor_names
from llava_engine.contract import LoadProgress, never
from llava_engine.errors import LoadCancelledError, ModelError
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig
from llava_engine.model.free_memory import give_back_holes
from llava_engine.model.linear import KernelChoice, choose_kernel, make_linear
from llava_engine.model.llava import LlavaModel
from llava_engine.model.out_of_memory import clear_out_of_memory, does_not_fit
from llava_engine.model.placement import TORCH_DTYPES, move_between_places, plan, side_dtype
from llava_engine.model.skeleton import skeleton
from llava_engine.opening import AUTO, Placement
from llava_engine.plan import Plan

OnProgress = Callable[[LoadProgress], None]

LAYERS = "language_model.layers."


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, and what it became.

    Attributes:
        model: in eval mode, without gradients.
        plan: what is where.
        device: where its inputs go: the first place of the plan.
        dtype: of the linear layers' weights.
        kernel: of the language model's layers (those of the first place).
        parameters: how many numbers it has.
        memory_bytes: what they take.
    """

    model: LlavaModel
    plan: Plan
    device: torch.device
    dtype: torch.dtype
    kernel: KernelChoice
    parameters: int
    memory_bytes: int


def load_for_inference(
    config: LlavaConfig,
    tensors: TensorSource,
    placement: Placement = AUTO,
    *,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = never,
) -> LoadedModel:
    """Load a model to chat with.

    Args:
        config: the model's shape.
        tensors: its weights by canonical names: both as an opened checkpoint has them.
        placement: where to, and in what form.
        on_progress: called with bytes read and bytes in all.
        cancelled: asked before each tensor.

    Raises:
        ModelError: the folder's files are broken or do not hold this model.
        DeviceError: this machine lacks the device or dtype.
        OutOfMemoryError: it does not fit, by the plan before anything is read, or in fact.
        LoadCancelledError: it was cancelled; nothing is left in memory.
    """
    stored = match(skeleton(config), config, tensors)
    kept_as = tensors.tensors[stored["language_model.embed_tokens.weight"][0]].dtype
    planned = plan(config, kept_as, placement)
    if not planned.fits:
        raise does_not_fit(planned)
    return load_planned(config, tensors, planned, on_progress=on_progress, cancelled=cancelled)


def load_planned(
    config: LlavaConfig,
    tensors: TensorSource,
    planned: Plan,
    *,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = never,
) -> LoadedModel:
    """`load_for_inference` by a plan that was made before."""
    empty = skeleton(config)
    reader = _Reader(tensors, match(empty, config, tensors), on_progress, cancelled)
    devices = [torch.device(place.device) for place in planned.places]
    dtype = TORCH_DTYPES[planned.dtype]
    parameters = sum(parameter.numel() for parameter in empty.parameters())
    kinds = {device.type: device for device in devices}
    kernels = {kind: choose_kernel(device, dtype, planned.quantize, parameters) for kind, device in kinds.items()}
    # The head and the tower are never quantized; they get the best float kernel.
    floats = kernels
    if planned.quantize != "none":
        floats = {kind: choose_kernel(device, dtype, "none", parameters) for kind, device in kinds.items()}
    with clear_out_of_memory("loading the model", planned):
        try:
            model = _filled(config, planned, kernels, floats, reader)
        except LoadCancelledError as error:
            traceback.clear_frames(error.__traceback__)  # they would hold what was loaded
            raise
    model.eval().requires_grad_(False)
    layers = model.language_model.layers
    move_between_places(list(layers), [devices[planned.place_of_layer(index)] for index in range(len(layers))])
    kernel = kernels[devices[0].type]
    return LoadedModel(model, planned, devices[0], dtype, kernel, parameters, planned.weights)


def _filled(
    config: LlavaConfig,
    planned: Plan,
    kernels: Mapping[str, KernelChoice],
    floats: Mapping[str, KernelChoice],
    reader: _Reader,
) -> LlavaModel:
    """A model with its weights, each in its final form.

    Args:
        config: its shape.
        planned: what goes where.
        kernels: of the language model's layers, by the type of their device.
        floats: of all other linear layers.
        reader: gives the weights.
    """
    model = skeleton(config)
    devices = [torch.device(place.device) for place in planned.places]
    dtype = TORCH_DTYPES[planned.dtype]
    other_dtype = side_dtype(devices, dtype)
    # Weights that get another form are read into one place, again and again: new pages cost time.
    largest = max(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    staging = {device: torch.empty(largest, dtype=dtype, device=device) for device in dict.fromkeys(devices)}
    for name, module in list(model.named_modules()):
        device = devices[_place_of(name, planned)]
        if isinstance(module, nn.Linear):
            kernel = (kernels if name.startswith(LAYERS) else floats)[device.type].name
            shape = module.weight.shape
            if kernel == "plain":
                weight = torch.empty(shape, dtype=dtype, device=device)
            else:
                weight = staging[device][: shape.numel()].view(shape)
            reader.read(f"{name}.weight", weight)
            bias: Tensor | None = None
            if module.bias is not None:
                bias = reader.read(f"{name}.bias", torch.empty(module.bias.shape, dtype=dtype, device=device))
            model.set_submodule(name, make_linear(weight, bias, kernel))
            if kernel != "plain":
                give_back_holes()
            continue
        for key, parameter in list(module.named_parameters(recurse=False)):
            wanted = dtype if isinstance(module, nn.Embedding) else other_dtype
            tensor = torch.empty(parameter.shape, dtype=wanted, device=device)
            reader.read(f"{name}.{key}" if name else key, tensor)
            setattr(module, key, nn.Parameter(tensor, requires_grad=False))
    return model


class _Reader:
    """Parameters out of stored tensors, with progress by bytes and a cancel between tensors.

    Args:
        tensors: where they are stored.
        stored: of which of them each parameter is made.
        on_progress, cancelled: as for `load_for_inference`.
    """

    def __init__(
        self,
        tensors: TensorSource,
        stored: Mapping[str, tuple[str, ...]],
        on_progress: OnProgress | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self._tensors, self._stored, self._on_progress, self._cancelled = tensors, stored, on_progress, cancelled
        self._total = sum(self._bytes(source) for sources in stored.values() for source in sources)
        self._done = 0

    def read(self, name: str, into: Tensor) -> Tensor:
        """Fill a tensor, which is memory of ours and no file's, with a parameter; the same tensor."""
        sources = self._stored[name]
        start = 0
        for source in sources:
            if self._cancelled():
                raise LoadCancelledError
            count = self._tensors.tensors[source].shape[0] if len(sources) > 1 else len(into)
            rows = into[start : start + count]
            rows.copy_(self._tensors.read(source).view(rows.shape))
            start += count
            self._done += self._bytes(source)
            if self._on_progress:
                self._on_progress(LoadProgress("reading weights", self._done, self._total))
        return into

    def _bytes(self, name: str) -> int:
        stored = self._tensors.tensors[name]
        return torch.Size(stored.shape).numel() * stored.dtype.itemsize


def _place_of(name: str, planned: Plan) -> int:
    """Which place holds a module: layers as planned, before them all goes to the first, after them to the last."""
    if name.startswith(LAYERS):
        return planned.place_of_layer(int(name.split(".")[2]))
    first = not name.startswith("language_model") or name.startswith("language_model.embed_tokens")
    return 0 if first else len(planned.places) - 1


def load_trainable(config: LlavaConfig, tensors: TensorSource) -> LlavaModel:
    """Load a model to train: plain float32 parameters on the CPU. Raises `ModelError` as `load_for_inference` does."""
    model = skeleton(config)
    stored = match(model, config, tensors)
    model.to_empty(device="cpu")
    if config.language.tie_word_embeddings:
        model.language_model.lm_head.weight = model.language_model.embed_tokens.weight
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.cat([tensors.read(source) for source in stored[name]]).view_as(parameter))
    return model.train()


def match(model: LlavaModel, config: LlavaConfig, tensors: TensorSource) -> dict[str, tuple[str, ...]]:
    """Which stored tensors each parameter is made of, after checking that everything is there and fits.

    Raises:
        ModelError: naming the first missing, unexpected or wrongly shaped tensor, and how many there are.
    """
    found = {name for name in tensors.tensors if tensor_names.ignored_because(name) is None}
    plan: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []
    misshapen: list[str] = []
    no_floats: list[str] = []
    used: set[str] = set()
    for name, parameter in _parameters(model):
        tied = name == "language_model.lm_head.weight" and config.language.tie_word_embeddings
        wanted = tensor_names.sources(config, "language_model.embed_tokens.weight" if tied else name)
        used.update(wanted)
        if tied:
            used.update(
                tensor_names.sources(config, name)
            )  # a tied head may be stored as well; it is the embeddings again
        split = tensor_names.rows(config, name) or (parameter.shape[0],)
        for source, count in zip(wanted, split, strict=True):
            shape = (count, *parameter.shape[1:])
            if source not in found:
                missing.append(source)
            elif tensors.tensors[source].shape != shape:
                misshapen.append(
                    f"{source} is {_by(tensors.tensors[source].shape)}, and the config makes it {_by(shape)}"
                )
            elif not tensors.tensors[source].dtype.is_floating_point:
                no_floats.append(f"{source} holds {tensors.tensors[source].dtype}")
        plan[name] = wanted
    unexpected = sorted(found - used)
    belongs = "The weights do not belong to this config.json, or the copy is not whole."
    for problem, names, remedy in (
        ("lacks tensor", missing, belongs),
        ("has a wrong shape:", misshapen, belongs),
        ("has an unknown tensor", unexpected, belongs),
        (
            "is not made of floats:",
            no_floats,
            "Take it in float16, bfloat16 or float32; --quantize int8 makes it small.",
        ),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ModelError(f"{tensors.folder}: the checkpoint {problem} {names[0]}{more}.", remedy)
    return plan


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(str(size) for size in shape) or "a single number"


def _parameters(model: LlavaModel) -> Iterator[tuple[str, nn.Parameter]]:
    """All parameters; a tied head too, under its own name."""
    return model.named_parameters(remove_duplicate=False)
