"""What loading takes: memory at its peak beside the final size, seconds beside reading the same bytes.

    python tests/benchmarks/loading.py [--gigabytes 2] [--rounds 3] [--threads 1]

Generates a checkpoint of half-precision shards in a temporary folder, and loads it in a fresh process for each form.
"before" is the interpreter with torch, "peak" the whole process (VmHWM), "final" the weights; the promise is peak <=
final + the largest tensor + 300 MB. Reading is a plain read of all files into one buffer. Linux only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests.llava_engine.large import load_apart, wide, write_large

MB = 10**6
LAYER_BYTES = 103 * MB


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    config = wide(layers=max(1, round(options.gigabytes * 1e9 / LAYER_BYTES) - 2))
    largest = config.language.vocab_size * config.language.hidden_size * 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        stored = write_large(config, folder)
        print(f"{stored / 1e9:.2f} GB stored, the largest tensor {largest / MB:.0f} MB, {options.threads} thread(s)")
        reading = statistics.median(read(folder) for _ in range(options.rounds))
        print(f"reading the files alone: {reading:.2f} s, {stored / reading / 1e9:.2f} GB/s")
        print("form    kernel              before   final    peak  allowed  seconds    cpu  / read")
        for quantize in ("none", "int8", "int4", "nf4"):
            runs = [load_apart(folder, dtype="bfloat16", quantize=quantize) for _ in range(options.rounds)]
            seconds, cpu = (statistics.median(run[key] for run in runs) for key in ("seconds", "cpu_seconds"))
            before, final, peak = (max(run[key] for run in runs) // MB for key in ("before", "final", "peak"))
            print(
                f"{quantize:<8}{runs[0]['kernel']:<18}{before:>8}{final:>8}{peak:>8}{final + largest // MB + 300:>9}"
                f"{seconds:>9.2f}{cpu:>7.2f}{seconds / reading:>8.1f}"
            )


def read(folder: Path) -> float:
    """Seconds to read all weight files into one buffer."""
    buffer = bytearray(2**24)
    start = time.perf_counter()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
