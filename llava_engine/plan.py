"""Where a model's parts will be and what they take, known before any weight is read: plain data, no torch.

`llava_engine.model.placement.plan` makes it; `llava models show`, `llava doctor`, the app and out-of-memory errors show
it. Bytes everywhere. Must not know how it is computed or drawn.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A device that holds parts of the model.

    Attributes:
        device: "cpu", "cuda:0", "mps".
        free: bytes that may be used there: what is free, or what `--max-memory` allows; None where nobody can say.
    """

    device: str
    free: int | None


@dataclass(frozen=True)
class Part:
    """A part of the model at one place.

    Attributes:
        name: "vision tower", "projector", "embeddings", "layers", "head", "key/value cache", "picture features" or
            "headroom" (what a step works with, and what loading needs beside the weights).
        place: its index in `Plan.places`.
        bytes: what it takes there.
        layers: for "layers" and "key/value cache", the first layer and the one after the last; None otherwise.
    """

    name: str
    place: int
    bytes: int
    layers: tuple[int, int] | None = None


@dataclass(frozen=True)
class Remedy:
    """Another choice that would fit.

    Attributes:
        options: how to ask for it on the command line: "--quantize int8", "--context 1024", …
        bytes: what the model would take then, over all places.
    """

    options: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What goes where.

    Attributes:
        places: the devices, in the order of the layers; the first also holds tower, projector and embeddings, the last
            the head.
        parts: everything that takes memory, weights first.
        dtype: of weights that are not quantized: "bfloat16", …
        quantize: of the language model's layers: "none", "int8", "int4", "nf4".
        context: tokens that a key/value cache is counted for.
        slots: how many such caches are counted: conversations that are answered at once.
        remedies: when it does not fit, what would, the gentlest first.
    """

    places: tuple[Place, ...]
    parts: tuple[Part, ...]
    dtype: str
    quantize: str
    context: int
    remedies: tuple[Remedy, ...] = ()
    slots: int = 1

    @property
    def total(self) -> int:
        """Bytes over all places."""
        return sum(part.bytes for part in self.parts)

    @property
    def weights(self) -> int:
        """Bytes of the weights alone."""
        return sum(part.bytes for part in self.parts if part.name in WEIGHTS)

    def needed(self, place: int) -> int:
        """Bytes at one place."""
        return sum(part.bytes for part in self.parts if part.place == place)

    @property
    def fits(self) -> bool:
        """Whether every place has room, as far as anybody can say."""
        return all(place.free is None or self.needed(at) <= place.free for at, place in enumerate(self.places))

    def place_of_layer(self, layer: int) -> int:
        """Which place holds a layer of the language model."""
        for part in self.parts:
            if part.name == "layers" and part.layers and part.layers[0] <= layer < part.layers[1]:
                return part.place
        raise IndexError(layer)


WEIGHTS = ("vision tower", "projector", "embeddings", "layers", "head")
