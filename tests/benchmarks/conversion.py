"""How fast `llava convert` is beside copying, and how much memory it takes.

    python -m tests.benchmarks.conversion [--layers 8] [--rounds 3] [--folder DIR]

Writes a LLaVA in Hugging Face's layout (bfloat16, 4096 wide as a 7B, fewer layers: 8 are 3.8 GB) and a LoRA over it
into a temporary folder; three times that of free disk is needed. Then it alternates, each a process of its own, start
and all: a copy of as many bytes (shutil.copyfile and fsync), the same model to the original's layout, to Hugging Face's
again, and with the adapter folded in as bfloat16. The first round is not counted: it warms the disk's cache for all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.benchmarks.child_process import COPY, Took, run

WIDTH = 4096
RANK = 64


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--layers", type=int, default=8)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, default=None)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # its memory would count as ours
            size = pool.submit(write_model, folder, chosen.layers).result()
        largest = 32000 * WIDTH * 2 / 2**20
        print(f"{size / 1e9:.2f} GB, {chosen.layers} layers {WIDTH} wide; largest tensor {largest:.0f} MiB")
        measure(folder, size, chosen.rounds)


def measure(folder: Path, size: int, rounds: int) -> None:
    model, lora, out = folder / "model", folder / "lora", folder / "out"
    llava = [sys.executable, "-c", "from llava_tui.cli import main; main()", "convert"]
    commands = {
        "copy": [sys.executable, "-c", COPY, str(model), str(out)],
        "original": [*llava, str(model), "--to", "original", "--out", str(out)],
        "hf": [*llava, str(model), "--to", "hf", "--out", str(out)],
        "merged": [*llava, str(lora), "--base", str(model), "--to", "merged", "--dtype", "bfloat16", "--out", str(out)],
    }
    took: dict[str, list[Took]] = {name: [] for name in commands}
    for number in range(-1, rounds):
        for name, command in commands.items():
            shutil.rmtree(out, ignore_errors=True)
            os.sync()
            now = run(command)
            if number >= 0:
                took[name].append(now)
            now.show(name if number >= 0 else f"({name})", size)
    wall = {name: statistics.median(one.wall for one in runs) for name, runs in took.items()}
    for name in list(commands)[1:]:
        peak = max(one.peak for one in took[name])
        print(f"{name}: {wall['copy'] / wall[name]:.2f} of the speed of copying, peak memory {peak:,.0f} MiB")


def write_model(folder: Path, layers: int) -> int:
    """The model and the adapter; gives the model's size."""
    import torch
    from safetensors.torch import save_file

    from tests.llava_engine.large import wide, write_large
    from tests.llava_engine.tiny import SPECIALS, tokenizer_files

    config = wide(layers, WIDTH)
    size = write_large(config, folder / "model", shard_bytes=2_000_000_000)
    tokenizer_files(folder / "model", SPECIALS)
    side = config.vision.image_size
    pictures = {"do_pad": True, "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    (folder / "model" / "preprocessor_config.json").write_text(json.dumps(pictures))
    inner = config.language.intermediate_size
    shapes = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (inner, WIDTH), "mlp.up_proj": (inner, WIDTH), "mlp.down_proj": (WIDTH, inner)}
    matrices = {}
    for layer in range(layers):
        for name, (out, into) in shapes.items():
            at = f"base_model.model.model.language_model.layers.{layer}.{name}"
            matrices[f"{at}.lora_A.weight"] = torch.full((RANK, into), 1e-3)
            matrices[f"{at}.lora_B.weight"] = torch.full((out, RANK), 1e-3)
    (folder / "lora").mkdir()
    save_file(matrices, folder / "lora" / "adapter_model.safetensors")
    (folder / "lora" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 16}))
    return size


if __name__ == "__main__":
    main()
