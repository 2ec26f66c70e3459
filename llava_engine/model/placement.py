"""Which part of a model goes on which device and what it takes there, before any weight is read: config in, `Plan` out.

Sizes are counted on the model's skeleton, so any config that can be built can be planned. `move_between_places` makes
a model that is spread over devices run: activations follow the layers. Must not read files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from llava_engine.errors import DeviceError
from llava_engine.model.budget import KEPT_PICTURE_TOKENS, PREFILL_CHUNK
from llava_engine.model.config import LlavaConfig
from llava_engine.model.free_memory import limit_for
from llava_engine.model.linear import SMALL_MODEL_PARAMETERS, has_fast_bfloat16, linear_bytes
from llava_engine.model.skeleton import skeleton
from llava_engine.opening import AUTO, DTYPES, MOST_SLOTS, Placement, parse_max_memory
from llava_engine.plan import Part, Place, Plan, Remedy

TORCH_DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}

# What torch, its threads and its allocator take beside what can be counted; a small model needs less of it.
_LEAST_SLACK, _MOST_SLACK = 2**25, 2**28
_LEAST_CONTEXT = 1024  # room for a picture of LLaVA 1.5 and a conversation about it; less helps nobody

# How it is asked for, the devices, the quantization, the context, the slots.
_Choice = tuple[str, Sequence[torch.device], str, int, int]


@dataclass(frozen=True)
class _Sizes:
    """What the parts take with one dtype and one quantization."""

    tower: int
    projector: int
    embeddings: int
    layers: tuple[int, ...]
    head: int
    cache: int  # a layer, all slots together
    features: int
    step: int


def plan(
    config: LlavaConfig,
    stored: torch.dtype,
    placement: Placement = AUTO,
) -> Plan:
    """Plan a model.

    Args:
        config: its shape.
        stored: the dtype of its weights in the checkpoint.
        placement: what was asked for.

    Raises:
        DeviceError: this machine lacks the device, or the model is not that long. That it does not fit is no error:
            see `Plan.fits` and `Plan.remedies`.
        ModelError: the config describes no model.
    """
    device, devices, quantize, context = placement.device, placement.devices, placement.quantize, placement.context
    longest = config.language.max_position_embeddings
    if context is not None and context > longest:
        raise DeviceError(f"A context of {context:,} tokens is not possible.", f"This model has 1 to {longest:,}.")
    asked = [torch.device(name) for name in _names(device, devices)]
    auto = devices == "auto" or (device == "auto" and devices is None)
    tries = [asked[:count] for count in range(1, len(asked) + 1)] if auto else [asked]
    drafts = _Drafts(config, stored, placement.dtype, parse_max_memory(placement.max_memory))
    wanted, slots = context or longest, placement.slots or 1
    plans = [(some, drafts.on(some, quantize, wanted, slots)) for some in tries]
    some, best = next((one for one in plans if one[1].fits), plans[-1])
    if not best.fits:
        return replace(best, remedies=_remedies(drafts, asked, quantize, wanted, slots))
    if placement.slots is None and all(place.free is not None for place in best.places):
        more = (drafts.on(some, quantize, wanted, count) for count in range(MOST_SLOTS, 1, -1))
        return next((one for one in more if one.fits), best)
    return best


class _Drafts:
    """Plans of one model under other choices."""

    def __init__(self, config: LlavaConfig, stored: torch.dtype, dtype: str, limits: Mapping[str, int]) -> None:
        self._config = config
        self._stored = stored
        self._dtype = dtype
        self._limits = limits
        self._model = skeleton(config)

    def on(self, devices: Sequence[torch.device], quantize: str, context: int, slots: int) -> Plan:
        """The plan on these devices, whether it fits or not."""
        dtype = choose_dtype(self._dtype, devices, self._stored, _count(self._model))
        sizes = _sizes(self._model, self._config, dtype, quantize, context, slots, side_dtype(devices, dtype))
        places = _places(devices, self._limits)
        name = str(dtype).removeprefix("torch.")
        return Plan(tuple(places), tuple(_parts(sizes, places)), name, quantize, context, slots=slots)


def _remedies(
    drafts: _Drafts, asked: Sequence[torch.device], quantize: str, wanted: int, slots: int
) -> tuple[Remedy, ...]:
    """Other choices that fit, those that change the least first."""
    fewer = [size for size in (wanted // 2, wanted // 4, wanted // 8) if size >= _LEAST_CONTEXT]
    smaller = [name for name in ("int8", "int4") if quantize == "none" or (quantize, name) == ("int8", "int4")]
    every = [torch.device(name) for name in _names("auto", "auto")]
    fewer_slots = [(f"--slots {count}", asked, quantize, wanted, count) for count in range(slots - 1, 0, -1)]
    choices: list[_Choice] = [("--devices auto", every, quantize, wanted, slots)] if len(every) > len(asked) else []
    choices += [(f"--quantize {name}", asked, name, wanted, slots) for name in smaller]
    choices += [(f"--context {size}", asked, quantize, size, slots) for size in fewer]
    found = _fitting(drafts, fewer_slots)[:1] + _fitting(drafts, choices)
    for name in smaller:
        if not found:
            found = _fitting(drafts, [(f"--quantize {name} --context {n}", asked, name, n, slots) for n in fewer])
    if asked[0].type != "cpu":
        found += _fitting(drafts, [("--device cpu", [torch.device("cpu")], quantize, wanted, slots)])
    return tuple(found)


def _fitting(drafts: _Drafts, choices: Iterable[_Choice]) -> list[Remedy]:
    plans = [(choice[0], drafts.on(*choice[1:])) for choice in choices]
    return [Remedy(options, plan.total) for options, plan in plans if plan.fits]


def choose_dtype(name: str, devices: Sequence[torch.device], stored: torch.dtype, parameters: int) -> torch.dtype:
    """The dtype of weights that are not quantized; `name` is a `Placement`'s."""
    if name != "auto":
        return TORCH_DTYPES[name]
    half = stored in (torch.float16, torch.bfloat16)
    if all(device.type != "cpu" for device in devices):
        return stored if half else torch.float32
    if parameters < SMALL_MODEL_PARAMETERS or not has_fast_bfloat16():
        return torch.float32
    # float16 has no fast products on a CPU; bfloat16 has, and holds every float16 weight to 3 digits.
    return torch.bfloat16 if half else torch.float32


def side_dtype(devices: Sequence[torch.device], weight_dtype: torch.dtype) -> torch.dtype:
    """The dtype of norms, residual stream and key/value cache: float32 as soon as a CPU is among the devices."""
    return torch.float32 if any(device.type == "cpu" for device in devices) else weight_dtype


def layer_devices(layers: Iterable[nn.Module]) -> list[torch.device]:
    """Where each layer is."""
    return [next(layer.parameters()).device for layer in layers]


def move_between_places(layers: Sequence[nn.Module], devices: Sequence[torch.device]) -> None:
    """Let each layer's inputs be moved to its device before it runs. Nothing is done where all are on one device."""
    movers = {device: _Mover(device) for device in dict.fromkeys(devices)}
    if len(movers) > 1:
        for layer, device in zip(layers, devices, strict=True):
            layer.register_forward_pre_hook(movers[device], with_kwargs=True)


class _Mover:
    """Brings what a layer is called with to one device; what all layers share (rotary tables, mask) only once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moved: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        before, self._moved = self._moved, {}  # only what the layer before was called with too may come again
        return tuple(self._here(arg, before) for arg in args), {
            name: self._here(value, before) for name, value in kwargs.items()
        }

    def _here(self, value: Any, before: Mapping[int, tuple[Tensor, Tensor]]) -> Any:
        if isinstance(value, tuple):
            return tuple(self._here(part, before) for part in value)
        if not isinstance(value, Tensor) or value.device == self._device:
            return value
        kept = before.get(id(value))
        moved = kept[1] if kept is not None and kept[0] is value else value.to(self._device)
        self._moved[id(value)] = (value, moved)
        return moved


def first_device(name: str) -> str:
    """The one device that a name means on this machine ("auto": the first GPU, else the cpu), as torch names it.

    Raises:
        DeviceError: this machine lacks it.
    """
    return _names(name, None)[0]


def _names(device: str, devices: str | None) -> list[str]:
    """The devices that are asked for, in order, each checked to be there."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if devices == "auto" or (devices is None and device == "auto"):
        return gpus or ["mps" if torch.backends.mps.is_available() else "cpu"]
    if devices is None:
        return [_checked(device)]
    names = [name.strip() for name in devices.split(",")]
    return [_checked(f"cuda:{name}" if name.isdecimal() else name) for name in names]


def _checked(name: str) -> str:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"There is no device {name!r}.", "Known: auto, cpu, cuda, cuda:N, mps.") from None
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(f"This machine has no {name}.", "Use the cpu, or install a CUDA build of torch.")
        return f"cuda:{device.index or 0}"
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("This machine has no mps.", "Use the cpu.")
    if device.type not in ("cpu", "mps"):
        raise DeviceError(f"The device {name!r} is not supported.", "Known: auto, cpu, cuda, cuda:N, mps.")
    return device.type


def _places(on: Sequence[torch.device], limits: Mapping[str, int]) -> list[Place]:
    share = Counter(on)
    return [Place(str(device), limit_for(device, limits, share[device])) for device in on]


def _parts(sizes: _Sizes, places: Sequence[Place]) -> list[Part]:
    last = len(places) - 1
    fixed = [sizes.step] * len(places)
    fixed[0] += sizes.tower + sizes.projector + sizes.embeddings + sizes.features
    fixed[last] += sizes.head
    ends = _ends(
        len(sizes.layers), [None if p.free is None else p.free - f for p, f in zip(places, fixed, strict=True)]
    )
    parts = [
        Part("vision tower", 0, sizes.tower),
        Part("projector", 0, sizes.projector),
        Part("embeddings", 0, sizes.embeddings),
    ]
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    parts += [Part("layers", at, sum(sizes.layers[a:b]), (a, b)) for at, (a, b) in enumerate(spans)]
    parts.append(Part("head", last, sizes.head))
    parts += [Part("key/value cache", at, sizes.cache * (b - a), (a, b)) for at, (a, b) in enumerate(spans)]
    parts.append(Part("picture features", 0, sizes.features))
    return parts + [Part("headroom", at, sizes.step) for at in range(len(places))]


def _ends(count: int, rooms: Sequence[int | None]) -> list[int]:
    """Where each place's layers end: shared out by the room that the other parts leave."""
    known = [max(0, room or 0) for room in rooms]
    if any(room is None for room in rooms) or not sum(known):
        known = [1] * len(rooms)
    return [round(count * sum(known[: at + 1]) / sum(known)) for at in range(len(rooms))]


def _sizes(
    model: nn.Module,
    config: LlavaConfig,
    dtype: torch.dtype,
    quantize: str,
    context: int,
    slots: int,
    side: torch.dtype,
) -> _Sizes:
    tower = projector = embeddings = head = 0
    layers = [0] * config.language.num_hidden_layers
    for name, module in model.named_modules():
        size = _module_bytes(module, quantize if name.startswith("language_model.layers.") else "none", dtype, side)
        if name.startswith("vision_tower"):
            tower += size
        elif name.startswith("language_model.layers."):
            layers[int(name.split(".")[2])] += size
        elif name.startswith("language_model.embed_tokens"):
            embeddings += size
        elif name.startswith("language_model"):
            head += size
        else:
            projector += size  # and what stands beside it: the line break between rows of tiles
    language = config.language
    tiles = max((high * wide for high, wide in config.tiles.pinpoints), default=0) if config.tiles else 0
    tokens = config.picture_tokens * (1 + tiles // config.vision.image_size**2)
    features = max(tokens, KEPT_PICTURE_TOKENS) * language.hidden_size * side.itemsize
    cache = slots * 2 * language.num_key_value_heads * language.head_dim * context * side.itemsize
    return _Sizes(
        tower, projector, embeddings, tuple(layers), head, cache, features,
        _step(model, config, dtype, context),
    )  # fmt: skip


def _step(model: nn.Module, config: LlavaConfig, dtype: torch.dtype, context: int) -> int:
    """What reading a piece of a prompt or a picture takes beside weights, and what packing the largest weight takes."""
    language, vision = config.language, config.vision
    rows = min(PREFILL_CHUNK, context)
    wide = 2 * language.intermediate_size + 8 * language.hidden_size
    reading = 4 * (rows * (wide + context) + 2 * language.vocab_size)
    seeing = 4 * (vision.grid**2 + 1) * (2 * vision.intermediate_size + 8 * vision.hidden_size)
    largest = max((p.numel() for p in model.parameters()), default=0) * dtype.itemsize
    slack = min(_MOST_SLACK, _LEAST_SLACK + _count(model) * dtype.itemsize // 8)
    return slack + max(reading, seeing, 2 * largest)


def _module_bytes(module: nn.Module, quantize: str, dtype: torch.dtype, side: torch.dtype) -> int:
    """What one module's own parameters take in their final form."""
    if isinstance(module, nn.Linear):
        bias = 0 if module.bias is None else module.bias.numel() * dtype.itemsize
        return linear_bytes(module.out_features, module.in_features, quantize, dtype) + bias
    size = dtype.itemsize if isinstance(module, nn.Embedding) else side.itemsize
    return sum(parameter.numel() * size for parameter in module.parameters(recurse=False))


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
