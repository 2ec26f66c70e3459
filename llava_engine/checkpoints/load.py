"""A checkpoint folder -> a `LlavaModel`, tensor by tensor, strictly: what is missing, unexpected or misshapen is named.

`load_for_inference` builds each linear layer in its final kernel as its weight is read, so that memory peaks at the
final size plus one layer; `load_trainable` gives plain float32 parameters. Knows no tokenizer and no pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from llava_engine.checkpoints import keys
from llava_engine.checkpoints.files import TensorSource
from llava_engine.contract import LoadProgress
from llava_engine.errors import DeviceError, ModelError
from llava_engine.model.config import LlavaConfig
from llava_engine.model.linear import (
    SMALL_MODEL_PARAMETERS,
    KernelChoice,
    KernelName,
    choose_kernel,
    has_fast_bfloat16,
    make_linear,
)
from llava_engine.model.llava import LlavaModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Progress = Callable[[LoadProgress], None]


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, and what it became.

    Attributes:
        model: in eval mode, without gradients.
        device: where it is.
        dtype: of the linear layers' weights.
        kernel: of the language model's layers.
        parameters: how many numbers it has.
        memory_bytes: what they take.
    """

    model: LlavaModel
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
    on_progress: Progress | None = None,
) -> LoadedModel:
    """Load a model to chat with.

    Args:
        config: the model's shape.
        tensors: its weights by canonical names: both as an opened checkpoint has them.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16", "float16". On a CPU it is the dtype of the linear layers and embeddings;
            the residual stream, norms and the key/value cache are float32.
        quantize: "none" or "int8" (the language model's layers; tower, projector and head stay in float).
        on_progress: called with bytes done and bytes in all.

    Raises:
        ModelError: the folder's files are broken or do not hold this model.
        DeviceError: this machine lacks the device, dtype or kernel.
    """
    if quantize not in ("none", "int8"):
        raise DeviceError(f"There is no quantization {quantize!r}.", "Known: none, int8.")
    place = _device(device)
    model = _skeleton(config)
    stored = match(model, config, tensors)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weight_dtype = _dtype(
        dtype, place, tensors.tensors[stored["language_model.embed_tokens.weight"][0]].dtype, parameters
    )
    kernel = choose_kernel(place, weight_dtype, quantize, parameters)
    # The head and the tower are never quantized; they get the best float kernel.
    beside = kernel if quantize == "none" else choose_kernel(place, weight_dtype, "none", parameters)
    other_dtype = torch.float32 if place.type == "cpu" else weight_dtype

    total = sum(parameter.numel() for parameter in model.parameters()) * weight_dtype.itemsize
    done = memory = 0

    def fetch(name: str, to: torch.dtype) -> Tensor:
        nonlocal done
        parts = [tensors.read(source) for source in stored[name]]
        tensor = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(device=place, dtype=to)
        done += tensor.numel() * weight_dtype.itemsize
        if on_progress:
            on_progress(LoadProgress("reading weights", min(done, total), total))
        return tensor

    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            inside = name.startswith("language_model.layers.")
            chosen: KernelName = kernel.name if inside else beside.name
            weight = fetch(f"{name}.weight", weight_dtype)
            bias = None if module.bias is None else fetch(f"{name}.bias", weight_dtype)
            memory += weight.numel() * (1 if chosen == "int8" else weight_dtype.itemsize)
            model.set_submodule(name, make_linear(weight, bias, chosen))
            continue
        for key, _ in list(module.named_parameters(recurse=False)):
            full = f"{name}.{key}" if name else key
            tensor = fetch(full, weight_dtype if isinstance(module, nn.Embedding) else other_dtype)
            memory += tensor.numel() * tensor.itemsize
            setattr(module, key, nn.Parameter(tensor, requires_grad=False))
    if on_progress:
        on_progress(LoadProgress("reading weights", total, total))
    model.eval().requires_grad_(False)
    return LoadedModel(model, place, weight_dtype, kernel, parameters, memory)


def load_trainable(config: LlavaConfig, tensors: TensorSource) -> LlavaModel:
    """Load a model to train: plain float32 parameters on the CPU. Raises `ModelError` as `load_for_inference` does."""
    model = _skeleton(config)
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


class _NothingDrawn(TorchFunctionMode):
    """torch.nn.init does nothing: all weights will be read, and `normal_` on meta imports torch's compiler (1 s)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _skeleton(config: LlavaConfig) -> LlavaModel:
    """The model without memory: shapes only. A head that is tied in training is a matrix of its own for inference."""
    try:
        with torch.device("meta"), _NothingDrawn():
            return LlavaModel(config)
    except (RuntimeError, ValueError, ZeroDivisionError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"config.json describes a model that can not be built: {first}") from None


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"There is no device {name!r}.", "Known: auto, cpu, cuda, cuda:N, mps.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"This machine has no {name}.", "Use the cpu, or install a CUDA build of torch.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("This machine has no mps.", "Use the cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"The device {name!r} is not supported.", "Known: auto, cpu, cuda, cuda:N, mps.")
    return device


def _dtype(name: str, device: torch.device, stored: torch.dtype, parameters: int) -> torch.dtype:
    if name != "auto":
        if name not in DTYPES:
            raise DeviceError(f"There is no dtype {name!r}.", f"Known: auto, {', '.join(DTYPES)}.")
        return DTYPES[name]
    if device.type != "cpu":
        return stored if stored in (torch.float16, torch.bfloat16) else torch.float32
    if parameters < SMALL_MODEL_PARAMETERS or not has_fast_bfloat16():
        return torch.float32
    # float16 has no fast products on a CPU; bfloat16 has, and holds every float16 weight to 3 digits.
    return torch.bfloat16 if stored in (torch.float16, torch.bfloat16) else torch.float32
