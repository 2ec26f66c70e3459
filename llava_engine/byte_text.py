"""Numbers of bytes for people: what a disk holds in decimal units, as file managers say it, memory in binary ones."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def gigabytes(count: int) -> str:
    """Of files and transfers: 999 B, 3.1 MB, 310 MB, 14.2 GB."""
    return _text(count, 1000, _DECIMAL)


def gibibytes(count: int) -> str:
    """Of memory: 310 MiB, 1.5 GiB."""
    return _text(count, 1024, _BINARY)


def _text(count: int, step: int, units: tuple[str, ...]) -> str:
    size, unit = float(count), units[0]
    for larger in units[1:]:
        if size < step - 0.5:  # what would be rounded up to the next unit is said in it
            break
        size, unit = size / step, larger
    return f"{size:,.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
