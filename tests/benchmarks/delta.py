"""How fast `llava delta` is beside copying, and how much memory it takes.

    python -m tests.benchmarks.delta [--layers 6] [--rounds 3] [--cold] [--folder DIR]

Writes a base (.bin, a file a layer), a model over it and their difference (safetensors), with the tensor shapes of a
13B and fewer layers, into a temporary folder: 6 layers are 4.5 GB each, and five times that of free disk is needed.
Then it alternates: `llava delta apply` as a process of its own, start and all, and a process that copies a folder of as
many bytes as the result with shutil.copyfile and fsync. Before each, what is to be written is flushed; the first round
is not counted. What is read is in memory for both, or, with --cold, dropped from it for both. `apply` reads twice what
copying reads and writes as much, so two ratios are printed: of wall times (the harder one: as if it read one input),
and of bytes read and written in a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from llava_engine.files.shards import PlannedTensor, ShardWriter, divide
from tests.benchmarks.child_process import COPY, Took, run

WIDTH, INNER, ROWS = 5120, 13824, 32000


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--layers", type=int, default=6)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--cold", action="store_true")
    options.add_argument("--folder", type=Path, default=None)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary)
        size = write_apart(folder, chosen.layers)
        needed, free = size, shutil.disk_usage(folder).free
        if free < needed:
            raise SystemExit(f"needs {needed / 1e9:.0f} GB more on this disk, and {free / 1e9:.0f} GB are free")
        shapes = f"{chosen.layers} layers {WIDTH} wide; largest tensor {(ROWS + 3) * WIDTH * 2 / 2**20:.0f} MiB"
        print(f"{size / 1e9:.2f} GB a model, {shapes}")
        measure(folder, size, chosen.rounds, chosen.cold)


def measure(folder: Path, size: int, rounds: int, cold: bool) -> None:
    base, delta, out = folder / "base", folder / "delta", folder / "out"
    llava = [sys.executable, "-c", "from llava_tui.cli import main; main()", "delta"]
    commands = {
        "apply": ([*llava, "apply", "--base", str(base), "--delta", str(delta), "--target", str(out)], (base, delta)),
        "copy": ([sys.executable, "-c", COPY, str(delta), str(out)], (delta,)),
    }
    took: dict[str, list[Took]] = {name: [] for name in commands}
    for number in range(-1, rounds):  # the first is not counted: a virtual machine gives out fresh memory slowly
        names = list(commands) if number % 2 == 0 else list(reversed(commands))
        for name in names:
            command, reads = commands[name]
            shutil.rmtree(out, ignore_errors=True)
            os.sync()
            if cold:
                forget(*reads)
            took_now = run(command)
            if number >= 0:
                took[name].append(took_now)
            took_now.show(name if number >= 0 else f"({name})", size)
    wall = {name: statistics.median(one.wall for one in all_) for name, all_ in took.items()}
    print(f"wall time: apply is {wall['copy'] / wall['apply']:.2f} of the speed of copying the result")
    print(f"bytes read and written: {wall['copy'] / wall['apply'] * 3 / 2:.2f} of the speed of copying")
    print(f"peak memory of apply: {max(one.peak for one in took['apply']):,.0f} MiB")

    shutil.rmtree(out, ignore_errors=True)
    target, remade = folder / "target", folder / "remade"
    run([*llava, "make", "--base", str(base), "--target", str(target), "--delta", str(remade)]).show("make", size)
    run([*llava, "verify", "--base", str(base), "--delta", str(remade)]).show("verify", size)
    extra = sum(file.stat().st_size for file in remade.glob("exact*")) + (remade / "delta.json").stat().st_size
    print(f"of make's result, {extra / 1e6:,.1f} MB of {size / 1e6:,.0f} are for exactness")


def forget(*folders: Path) -> None:
    """Drop these folders' files from the page cache."""
    for folder in folders:
        for file in folder.iterdir():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_apart(folder: Path, layers: int) -> int:
    """`write_models` in a process of its own: a child counts its parent's memory as its own peak."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(write_models, folder, layers).result()


def write_models(folder: Path, layers: int) -> int:
    """A base, a model 1 % of the weights' spread away from it, and the delta; gives the model's size."""
    block = (torch.randn(2**22, generator=torch.Generator().manual_seed(1)) * 0.02).half()
    moved = (block.float() + torch.randn(2**22, generator=torch.Generator().manual_seed(2)) * 2e-4).half()
    base = folder / "base"
    base.mkdir()
    weight_map = {}
    shapes = dict(plan(layers, ROWS))
    for number in range(layers + 1):
        here = {name: shape for name, shape in shapes.items() if part(name, layers) == number}
        file = f"pytorch_model-{number + 1:05}-of-{layers + 1:05}.bin"
        torch.save({name: filled(shape, block) for name, shape in here.items()}, base / file)
        weight_map |= dict.fromkeys(here, file)
    (base / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    size = write_sharded(folder / "delta", layers, moved - block)
    write_sharded(folder / "target", layers, moved)
    config = {"model_type": "llama", "hidden_size": WIDTH, "num_hidden_layers": layers}
    for made in ("base", "delta", "target"):
        (folder / made / "config.json").write_text(json.dumps(config))
    return size


def write_sharded(folder: Path, layers: int, block: Tensor) -> int:
    shapes = dict(plan(layers, ROWS + 3))
    shapes |= {"model.mm_projector.weight": (WIDTH, 1024), "model.mm_projector.bias": (WIDTH,)}
    shards = divide(PlannedTensor(name, shape, torch.float16) for name, shape in shapes.items())
    folder.mkdir()
    with ShardWriter(folder, shards) as writer:
        for name, shape in shapes.items():
            writer.write(name, filled(shape, block))
        writer.finish()
    return sum(shard.bytes for shard in shards)


def plan(layers: int, rows: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (rows, WIDTH)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ("q", "k", "v", "o"):
            yield f"{at}self_attn.{name}_proj.weight", (WIDTH, WIDTH)
        yield f"{at}mlp.gate_proj.weight", (INNER, WIDTH)
        yield f"{at}mlp.up_proj.weight", (INNER, WIDTH)
        yield f"{at}mlp.down_proj.weight", (WIDTH, INNER)
        yield f"{at}input_layernorm.weight", (WIDTH,)
        yield f"{at}post_attention_layernorm.weight", (WIDTH,)
    yield "model.norm.weight", (WIDTH,)
    yield "lm_head.weight", (rows, WIDTH)


def part(name: str, layers: int) -> int:
    return int(name.split(".")[2]) if ".layers." in name else layers


def filled(shape: tuple[int, ...], block: Tensor) -> Tensor:
    """A tensor of this shape, the block over and over: what the numbers are does not matter to a disk."""
    tensor = torch.empty(shape, dtype=block.dtype)
    flat = tensor.reshape(-1)
    for start in range(0, len(flat), len(block)):
        flat[start : start + len(block)] = block[: len(flat) - start]
    return tensor


if __name__ == "__main__":
    main()
