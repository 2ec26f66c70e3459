"""A model's config and tensors -> a `LlavaModel`, strictly: what is missing, unexpected or misshapen is named.

`load_for_inference` plans first, and then builds each linear layer in its final kernel on its device as its weight is
read, so that memory peaks at the final size plus one layer; `load_trainable` gives plain float32 parameters. Knows no
tokenizer and no pictures.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llava_engine.checkpoints import keys
from llava_engine.checkpoints.files import TensorSource
from llava_engine.contract import LoadProgress, never
from llava_engine.errors import LoadCancelledError, ModelError
from llava_engine.model.config import LlavaConfig
from llava_engine.model.linear import KernelChoice, KernelName, choose_kernel, make_linear
from llava_engine.model.llava import LlavaModel
from llava_engine.model.out_of_memory import clear_out_of_memory, does_not_fit
from llava_engine.model.placement import DTYPES, move_between_places, plan, side_dtype
from llava_engine.model.skeleton import skeleton
from llava_engine.plan import Plan

Progress = Callable[[LoadProgress], None]

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
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
    max_memory: str | None = None,
    devices: str | None = None,
    context: int | None = None,
    on_progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> LoadedModel:
    """Load a model to chat with.

    Args:
        config: the model's shape.
        tensors: its weights by canonical names: both as an opened checkpoint has them.
        device, dtype, quantize, max_memory, devices, context: see `plan`.
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
    planned = plan(
        config, kept_as, device=device, dtype=dtype, quantize=quantize, max_memory=max_memory, devices=devices,
        context=context,
    )  # fmt: skip
    if not planned.fits:
        raise does_not_fit(planned)
    return load_planned(config, tensors, planned, on_progress=on_progress, cancelled=cancelled)


def load_planned(
    config: LlavaConfig,
    tensors: TensorSource,
    planned: Plan,
    *,
    on_progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> LoadedModel:
    """`load_for_inference` by a plan that was made before."""
    model = skeleton(config)
    devices = [torch.device(place.device) for place in planned.places]
    dtype = DTYPES[planned.dtype]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    kinds = {device.type: device for device in devices}
    kernels = {kind: choose_kernel(device, dtype, planned.quantize, parameters) for kind, device in kinds.items()}
    # The head and the tower are never quantized; they get the best float kernel.
    floats = kernels
    if planned.quantize != "none":
        floats = {kind: choose_kernel(device, dtype, "none", parameters) for kind, device in kinds.items()}
    with clear_out_of_memory("loading the model", planned):
        try:
            _fill(model, config, tensors, planned, kernels, floats, on_progress or (lambda progress: None), cancelled)
        except LoadCancelledError as error:
            traceback.clear_frames(error.__traceback__)  # they would hold what was loaded
            raise
    model.eval().requires_grad_(False)
    layers = model.language_model.layers
    move_between_places(list(layers), [devices[planned.place_of_layer(index)] for index in range(len(layers))])
    kernel = kernels[devices[0].type]
    return LoadedModel(model, planned, devices[0], dtype, kernel, parameters, planned.weights)


def _fill(
    model: LlavaModel,
    config: LlavaConfig,
    tensors: TensorSource,
    planned: Plan,
    kernels: dict[str, KernelChoice],
    floats: dict[str, KernelChoice],
    on_progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    """Give every module of a skeleton its weights, in their final form."""
    stored = match(model, config, tensors)
    devices = [torch.device(place.device) for place in planned.places]
    dtype = DTYPES[planned.dtype]
    other_dtype = side_dtype(devices, dtype)
    total = sum(_bytes(tensors, source) for sources in stored.values() for source in sources)
    done = 0

    def fetch(name: str, like: Tensor, to: torch.dtype, device: torch.device) -> Tensor:
        """One parameter, in memory of its own: what a file maps must not stay."""
        nonlocal done
        tensor = torch.empty(like.shape, dtype=to, device=device)
        start = 0
        for source in stored[name]:
            if cancelled():
                raise LoadCancelledError
            rows = tensors.tensors[source].shape[0] if len(stored[name]) > 1 else len(tensor)
            tensor[start : start + rows].copy_(tensors.read(source).view(tensor[start : start + rows].shape))
            start += rows
            done += _bytes(tensors, source)
            on_progress(LoadProgress("reading weights", done, total))
        return tensor

    for name, module in list(model.named_modules()):
        inside = name.startswith(LAYERS)
        device = devices[_place_of(name, planned)]
        if isinstance(module, nn.Linear):
            kernel: KernelName = (kernels if inside else floats)[device.type].name
            weight = fetch(f"{name}.weight", module.weight, dtype, device)
            bias = None if module.bias is None else fetch(f"{name}.bias", module.bias, dtype, device)
            model.set_submodule(name, make_linear(weight, bias, kernel))
            continue
        for key, parameter in list(module.named_parameters(recurse=False)):
            wanted = dtype if isinstance(module, nn.Embedding) else other_dtype
            tensor = fetch(f"{name}.{key}" if name else key, parameter, wanted, device)
            setattr(module, key, nn.Parameter(tensor, requires_grad=False))


def _place_of(name: str, planned: Plan) -> int:
    """Which place holds a module: layers as planned, before them all goes to the first, after them to the last."""
    if name.startswith(LAYERS):
        return planned.place_of_layer(int(name.split(".")[2]))
    first = not name.startswith("language_model") or name.startswith("language_model.embed_tokens")
    return 0 if first else len(planned.places) - 1


def _bytes(tensors: TensorSource, name: str) -> int:
    stored = tensors.tensors[name]
    return torch.Size(stored.shape).numel() * stored.dtype.itemsize


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
    found = {name for name in tensors.tensors if keys.ignored_because(name) is None}
    plan: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []
    misshapen: list[str] = []
    used: set[str] = set()
    for name, parameter in _parameters(model):
        tied = name == "language_model.lm_head.weight" and config.language.tie_word_embeddings
        wanted = keys.sources(config, "language_model.embed_tokens.weight" if tied else name)
        used.update(wanted)
        if tied:
            used.update(keys.sources(config, name))  # a tied head may be stored as well; it is the embeddings again
        split = keys.rows(config, name) or (parameter.shape[0],)
        for source, count in zip(wanted, split, strict=True):
            shape = (count, *parameter.shape[1:])
            if source not in found:
                missing.append(source)
            elif tensors.tensors[source].shape != shape:
                misshapen.append(
                    f"{source} is {_by(tensors.tensors[source].shape)}, and the config makes it {_by(shape)}"
                )
        plan[name] = wanted
    unexpected = sorted(found - used)
    for problem, names in (
        ("lacks tensor", missing),
        ("has a wrong shape:", misshapen),
        ("has an unknown tensor", unexpected),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ModelError(
                f"{tensors.folder}: the checkpoint {problem} {names[0]}{more}.",
                "The weights do not belong to this config.json, or the copy is not whole.",
            )
    return plan


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(str(size) for size in shape) or "a single number"


def _parameters(model: LlavaModel) -> Iterator[tuple[str, nn.Parameter]]:
    """All parameters; a tied head too, under its own name."""
    return model.named_parameters(remove_duplicate=False)
