"""What answered a file of questions, beside the answers: so that a run is never gone on with by something else.

It stands in a file of its own, ANSWERS.run.json, for the original's scripts must still be able to read the answers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llava_engine.contract import ModelCard, Sampling
from llava_engine.errors import DataError
from llava_engine.files.atomic import write_text

_MEANS = ("device", "llava", "torch")  # with which it is computed: another may go on, and it is written down


@dataclass(frozen=True)
class Header:
    """What decides an answer, and with what it was computed.

    Attributes:
        model: its name.
        fingerprint: of its folder's settings and files, or of the server's address.
        template, dtype, kernel: as the model's card has them; "" where it is elsewhere.
        where: "host:port" of a model that is elsewhere; "" here.
        sampling: how tokens were chosen.
        way: "" · "two-step" · "letters": how each question was asked.
        questions: SHA-256 of the file of questions.
        device, llava, torch: with what.
    """

    model: str
    fingerprint: str
    template: str
    dtype: str
    kernel: str
    where: str
    sampling: dict[str, Any]
    way: str
    questions: str
    device: str
    llava: str
    torch: str

    @classmethod
    def of(cls, card: ModelCard, sampling: Sampling, questions: str, way: str = "") -> Header:
        """Of a run that begins now."""
        chosen = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(sampling).items()}
        return cls(
            card.name, fingerprint(card), card.template, card.dtype, card.kernel, card.where, chosen, way, questions,
            card.device, version("llava"), version("torch"),
        )  # fmt: skip

    @property
    def run_id(self) -> str:
        """The same for all runs that must give the same answers."""
        kept = {name: value for name, value in asdict(self).items() if name not in _MEANS}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Header) -> list[str]:
        """What another run would do otherwise, a line each."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{name}: {mine[name]} there, {theirs[name]} now" for name in mine if mine[name] != theirs[name]]


def header_file(answers: Path) -> Path:
    """Where the header of an answer file is."""
    return answers.with_name(f"{answers.name.removesuffix('.jsonl')}.run.json")


def read_header(answers: Path) -> Header | None:
    """The header of an answer file; None where it has none. Raises DataError where it is broken."""
    path = header_file(answers)
    if not path.exists():
        return None
    try:
        return Header(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise DataError(f"{path.name} can not be read.", "Begin again with --restart.") from None


def write_header(answers: Path, header: Header) -> None:
    """Write it whole."""
    write_text(header_file(answers), json.dumps(asdict(header), indent=2, ensure_ascii=False) + "\n")


def fingerprint(card: ModelCard) -> str:
    """Of a model's folder: its settings byte by byte, of its other files the names and sizes; or of its address."""
    digest = hashlib.sha256()
    if card.folder is None:
        digest.update(f"{card.where}/{card.name}".encode())
        return digest.hexdigest()[:16]
    for path in sorted(card.folder.iterdir()):
        if path.is_file():
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            if path.suffix == ".json":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
