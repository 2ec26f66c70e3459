"""How much memory a device has left for a model: what the system, a container or the user's `--max-memory` says.

In: a device, and the user's limits. Out: bytes. Must not know what they are for.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch


def free_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Bytes that a new model may take on a device; None where the system has no way to say.

    Args:
        device: where.
        root: of the file system that describes the machine, for tests.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type not in ("cpu", "mps"):
        return None
    return min((free for free in _main_memory(root) if free is not None), default=None)


def give_back_holes() -> None:
    """Let the C library return what was freed between blocks that stay in use; it keeps that otherwise (glibc only)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def limit_for(device: torch.device, limits: Mapping[str, int], share: int = 1) -> int | None:
    """What may be used on a device: the user's limit where there is one, else what is free.

    Args:
        device: where.
        limits: from `parse_max_memory`.
        share: how many places of a plan are on this device and share what is free.
    """
    for name in (str(device), device.type, ""):
        if name in limits:
            return limits[name]
    free = free_memory(device)
    return None if free is None else free // share


def _main_memory(root: Path) -> Iterator[int | None]:
    """What the kernel calls available, and what each control group around this process has left."""
    info = _fields(root / "proc/meminfo")
    if "MemAvailable" in info:
        yield info["MemAvailable"] * 1024
    elif root == Path("/"):
        yield _physical()
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = base / path.lstrip("/")
        # The limit of a group holds for all below it. In a container the path may be the host's: then the base counts.
        for folder in (group, *group.parents):
            yield _left(folder, *names)
            if folder == base:
                break


def _left(folder: Path, limit_name: str, used_name: str) -> int | None:
    limit, used = _number(folder / limit_name), _number(folder / used_name)
    if limit is None or used is None:
        return None
    stat = _fields(folder / "memory.stat")
    return max(0, limit - used + stat.get("inactive_file", 0))  # file pages that nobody uses are given back first


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    first = next(iter(_lines(file)), "")
    return int(first) if first.isdecimal() else None  # "max" is no limit


def _fields(file: Path) -> dict[str, int]:
    """Lines of "name: number kB" or "name number"."""
    pairs = (line.replace(":", " ").split()[:2] for line in _lines(file))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
