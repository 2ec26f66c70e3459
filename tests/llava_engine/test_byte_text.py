"""Numbers of bytes as people read them."""

from __future__ import annotations

import pytest

from llava_engine.byte_text import gibibytes, gigabytes


@pytest.mark.parametrize(
    ("count", "disk", "memory"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1.0 kB", "1,000 B"),
        (1024, "1.0 kB", "1.0 KiB"),
        (3_100_000, "3.1 MB", "3.0 MiB"),
        (999_960, "1.0 MB", "977 KiB"),
        (325_058_560, "325 MB", "310 MiB"),
        (2**30 - 1, "1.1 GB", "1.0 GiB"),
        (14_200_000_000, "14.2 GB", "13.2 GiB"),
        (3 * 10**15, "3,000 TB", "2,728 TiB"),
    ],
)
def test_bytes_are_said_as_people_say_them(count: int, disk: str, memory: str) -> None:
    assert (gigabytes(count), gibibytes(count)) == (disk, memory)
