"""What was asked for with a model of another family and can not be held, said by the flags' names: imports nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from importlib import metadata
from typing import Any

from llava_engine.backends.transformers.recognition import ForeignFolder
from llava_engine.errors import ModelError, UsageError
from llava_engine.opening import Placement, Source, flag_name

HELD = ("--device", "--dtype", "--context")
NOT_HELD = ("quantize", "max_memory", "devices")
_ONLY_OURS = ("base", "tower", "template", "force")
_LEAST_VERSION = (5, 23)
_EXTRA = "Install it with: pip install -c constraints.txt '.[hf]'"


def check_asked(found: ForeignFolder, source: Source, placement: Placement) -> None:
    """Refuse what can not be held for another family, and a machine without transformers.

    Raises:
        UsageError: an option that only ours has.
        ModelError: the extra is not installed, or too old.
    """
    for flag in (*_said(placement, NOT_HELD), *_said(source, _ONLY_OURS)):
        raise UsageError(
            f"{flag} does not hold for {found.folder.name}: it is a {found.kind}, which transformers runs.",
            f"Leave it away; what holds: {', '.join(HELD)}.",
        )
    version = transformers_version()
    if version is None:
        raise ModelError(
            f"{found.folder} is a {found.kind}, which needs transformers, and that is not installed.", _EXTRA
        )
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise ModelError(f"transformers {version} is too old for {found.folder}: {least} is needed.", _EXTRA)


def transformers_version() -> str | None:
    """Which transformers is installed; None for none."""
    try:
        return metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return None


def _said(values: Any, names: Iterable[str]) -> list[str]:
    return [
        flag_name(one.name) for one in fields(values) if one.name in names and getattr(values, one.name) != one.default
    ]
