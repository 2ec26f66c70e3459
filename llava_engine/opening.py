"""How a model is opened: which one it is (`Source`), and where it goes and in what form (`Placement`).

Plain data, no torch. Every field says how it is spelled and explained on a command line, so that each option exists
once; flags.py mounts them. Names, not folders: `checkpoints.catalog.find` looks them up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from llava_engine.errors import UsageError

Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES: tuple[str, ...] = get_args(Dtype)
Quantization = Literal["none", "int8", "int4", "nf4"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)
Backend = Literal["auto", "transformers"]
BACKENDS: tuple[str, ...] = get_args(Backend)

MOST_SLOTS = 16
"""Beyond so many rows a step takes about so many times as long: nothing is won."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MEMORY = re.compile(
    r"(?:(?P<device>[a-z]+(?::\d+)?|\d+)=)?(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>[KMGT]?)i?B?", re.IGNORECASE
)


@dataclass(frozen=True)
class Flag:
    """What a command line says of a field.

    Attributes:
        help: one line.
        metavar: what stands for its value; "" for a switch.
        short: its one-letter form, if it has one.
    """

    help: str
    metavar: str = ""
    short: str = ""


def _flag(default: Any, help: str, metavar: str = "", short: str = "") -> Any:
    return field(default=default, metadata={"flag": Flag(help, metavar, short)})


@dataclass(frozen=True)
class Source:
    """Which model.

    Attributes:
        model: a folder with any LLaVA in it, or a hub id that was fetched before; None is the tiny model that comes
            with the package.
        base: for an adapter or a projector, the folder or hub id of the model that it goes onto.
        tower: the folder or hub id of its vision tower, where the model neither holds nor finds it.
        template: the conversation template, in place of the one that its content speaks for.
        force: take an adapter for another base all the same.

    Raises:
        UsageError: a name is empty.
    """

    model: str | None = _flag(None, "A model: a folder, or a hub id in the cache. Else the tiny one.", "FOLDER|ID", "m")
    base: str | None = _flag(None, "What an adapter or a projector goes onto.", "FOLDER|ID")
    tower: str | None = _flag(None, "The vision tower, where the model lacks it.", "FOLDER|ID")
    template: str | None = _flag(None, "How conversations are written, in place of its own.", "NAME")
    force: bool = _flag(False, "Take an adapter for another base all the same.")

    def __post_init__(self) -> None:
        for name in ("model", "base", "tower", "template"):
            value = getattr(self, name)
            if value is not None and not value.strip():  # a shell's variable that was never set
                raise UsageError(f"--{name} is empty.", f"Name one, or leave --{name} away.")


@dataclass(frozen=True)
class EngineSource(Source):
    """Which model, where it may also answer elsewhere.

    Attributes:
        engine: the address of an OpenAI-compatible server; `model` is then its name for a model, and may be left away
            where it has but one.
        engine_key_file: a file that holds the key of that server and nothing else.
        backend: "auto", or "transformers" for that library, where a folder would be opened by our own code.

    Raises:
        UsageError: a name is empty, or something is said that goes with models of this machine only.
    """

    engine: str | None = _flag(None, "A server that answers: ours, vLLM, llama-server, Ollama, …", "URL")
    engine_key_file: str | None = _flag(None, "Its key is in this file; else in LLAVA_ENGINE_KEY.", "FILE")
    backend: str = _flag("auto", f"{', '.join(BACKENDS)}: who runs a model of this machine.", "NAME")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("engine", "engine_key_file"):
            if (value := getattr(self, name)) is not None and not value.strip():
                raise UsageError(f"{flag_name(name)} is empty.", f"Name one, or leave {flag_name(name)} away.")
        if self.backend not in BACKENDS:
            raise UsageError(f"--backend can not be {self.backend!r}.", f"Known: {', '.join(BACKENDS)}.")
        if self.engine is None:
            if self.engine_key_file is not None:
                raise UsageError("--engine-key-file is given, and no --engine.", "Say which server: --engine URL.")
            if self.model is not None and is_address(self.model):
                raise UsageError("--model is an address.", "A server that answers is given with --engine URL.")
            return
        own = [flag_name(name) for name in ("base", "tower", "template", "force") if getattr(self, name)]
        refuse_with_engine([*own, *(["--backend"] if self.backend != "auto" else [])])


def is_address(text: str) -> bool:
    """Whether a name is meant as the address of a server."""
    return re.match(r"https?:", text, re.IGNORECASE) is not None


def refuse_with_engine(flags: Sequence[str]) -> None:
    """Refuse flags that say how a model is opened here, where another machine has it open.

    Raises:
        UsageError: there are some.
    """
    if flags:
        verb = "does" if len(flags) == 1 else "do"
        raise UsageError(
            f"{' and '.join(flags)} {verb} not go with --engine.", "That is for whoever starts the server to say."
        )


@dataclass(frozen=True)
class Placement:
    """Where a model goes, and in what form.

    Attributes:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16". On a CPU it is the dtype of the linear layers and
            embeddings; the residual stream, norms and the key/value cache are float32.
        quantize: "none", "int8", "int4" or "nf4": the language model's layers; all else stays in float.
        max_memory: "6GiB", or "cuda:0=20GiB,cpu=8GiB": what may be used, in place of what is free.
        devices: spread the layers: "auto" for as many GPUs as it takes, "0,1" for these; "cpu" is a name too.
        context: the most tokens that a conversation may have; the model's own length where None.
        slots: how many conversations are answered at once, each with keys and values of its own; None for as many as
            fit beside the weights, up to `MOST_SLOTS`.

    Raises:
        UsageError: a value that its option can not have, on any machine and for any model.
    """

    device: str = _flag("auto", "auto, cpu, cuda, cuda:1, mps.", "NAME")
    dtype: str = _flag("auto", f"auto, {', '.join(DTYPES)}.", "NAME")
    quantize: str = _flag("none", f"{', '.join(QUANTIZATIONS)}: smaller, a little less exact.", "FORM")
    max_memory: str | None = _flag(None, "6GiB, or cuda:0=20GiB,cpu=8GiB: no more than this.", "SIZE")
    devices: str | None = _flag(None, "Spread the layers over GPUs: auto, or 0,1.", "LIST")
    context: int | None = _flag(None, "The most tokens of a conversation.", "N")
    slots: int | None = _flag(1, "How many conversations at once.", "N")

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", *DTYPES):
            raise UsageError(f"--dtype can not be {self.dtype!r}.", f"Known: auto, {', '.join(DTYPES)}.")
        if self.quantize not in QUANTIZATIONS:
            raise UsageError(f"--quantize can not be {self.quantize!r}.", f"Known: {', '.join(QUANTIZATIONS)}.")
        if self.context is not None and self.context < 1:
            raise UsageError(f"--context can not be {self.context}.", "Say a number of tokens, as 4096.")
        if self.slots is not None and not 1 <= self.slots <= MOST_SLOTS:
            raise UsageError(f"--slots can not be {self.slots}.", f"Say 1 to {MOST_SLOTS}.")
        if self.device != "auto" and self.devices is not None:
            raise UsageError("--device and --devices are both given.", "Give one of them.")
        parse_max_memory(self.max_memory)

    def changed(self) -> tuple[str, ...]:
        """The flags of what is not as it is by default."""
        return tuple(flag_name(one.name) for one in fields(self) if getattr(self, one.name) != one.default)


def flag_name(field_name: str) -> str:
    """max_memory -> --max-memory."""
    return f"--{field_name.replace('_', '-')}"


def parse_max_memory(text: str | None) -> Mapping[str, int]:
    """`--max-memory` -> bytes by device: "6GiB" for every device ("" in the result), or "cuda:0=20GiB,cpu=8GiB".

    Raises:
        UsageError: it is neither.
    """
    limits: dict[str, int] = {}
    for part in (text or "").split(",") if text else []:
        match = _MEMORY.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"--max-memory: {part.strip()!r} is no amount of memory.", "Say 6GiB, or cuda:0=20GiB,cpu=8GiB."
            )
        device = match["device"] or ""
        limits[f"cuda:{device}" if device.isdecimal() else device] = int(
            float(match["number"]) * _UNITS[match["unit"].upper()]
        )
    return limits


AUTO = Placement()
"""Wherever this machine is quickest, in the form that the weights have."""
