"""Checkpoints of any size, written without holding them in memory, and what loading one takes, in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.layouts.hf.config import to_hf
from llava_engine.files.shards import PlannedTensor, ShardWriter, divide
from llava_engine.model.config import LanguageConfig, LlavaConfig
from llava_engine.model.skeleton import skeleton
from tests.llava_engine.tiny import TINY


def wide(layers: int, width: int = 2048, vocabulary: int = 32000) -> LlavaConfig:
    """A Llama of this many layers behind a tiny tower; at width 2048 a layer takes 103 MB in half precision."""
    return replace(
        TINY,
        language=LanguageConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=layers,
            num_attention_heads=width // 64, num_key_value_heads=width // 64, head_dim=64,
        ),
    )  # fmt: skip


def write_large(
    config: LlavaConfig, folder: Path, dtype: torch.dtype = torch.bfloat16, shard_bytes: int = 2**29
) -> int:
    """A folder with config.json and shards of random weights, but no tokenizer; the bytes of its tensors."""
    folder.mkdir(parents=True)
    tensors = []
    for name, parameter in skeleton(config).named_parameters():
        sources = tensor_names.sources(config, name)
        rows = tensor_names.rows(config, name) or parameter.shape[:1]
        tensors += [
            PlannedTensor(source, (count, *parameter.shape[1:]), dtype)
            for source, count in zip(sources, rows, strict=True)
        ]
    noise = (0.02 * torch.randn(4_000_037, generator=torch.Generator().manual_seed(0))).to(dtype)
    with ShardWriter(folder, divide(tensors, shard_bytes)) as writer:
        for tensor in tensors:
            count = torch.Size(tensor.shape).numel()
            values = noise.repeat(-(-count // len(noise)))[:count].view(tensor.shape)
            writer.write(tensor.name, values + 1 if tensor.name.endswith("norm.weight") else values)  # else: a delta
        writer.finish()
    settings = {**to_hf(config), "dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return sum(tensor.bytes for tensor in tensors)


_LOAD = """
import json, sys, time
from pathlib import Path
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.opening import Placement
from tests.llava_engine.tiny import parts
def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
before = memory("VmRSS")
start, cpu = time.perf_counter(), time.process_time()
loaded = load_for_inference(*parts(Path(sys.argv[1])), Placement(device="cpu", **json.loads(sys.argv[2])))
print(json.dumps({
    "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu, "before": before,
    "peak": memory("VmHWM"), "after": memory("VmRSS"), "final": loaded.memory_bytes, "kernel": loaded.kernel.label,
}))
"""


def load_apart(folder: Path, **options: Any) -> dict[str, Any]:
    """Load a folder in a fresh process: seconds, cpu_seconds, kernel, and before, peak, after and final in bytes.

    `final` is what the weights take; the others are what the system says of the whole process (Linux only).
    """
    command = [sys.executable, "-c", _LOAD, str(folder), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
