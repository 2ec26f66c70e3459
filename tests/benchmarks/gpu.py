"""What one GPU gives: the tokens of the CPU, and decode speed of a random Llama of 1.3B beside transformers.

    python tests/benchmarks/gpu.py [--device cuda] [--layers 24 --width 2048] [--new 64] [--quantize none,int8,int4]

First the embedded model on the CPU and on the device: how many of its answers are the same, in float32 and in bfloat16.
Then one to sixteen readers at once, each asking a question of its own; tokens/s of all readers together, from the
first question to the last answer. Wall-clock seconds: a GPU has nobody else on it.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from llava_engine import Conversation, Message, Reply, Sampling, load, open_picture
from llava_engine.contract import EngineLike
from tests.benchmarks.decoding import shape
from tests.llava_engine.tiny import complete

QUESTIONS = ("What is in this picture?", "How many shapes are there?", "Is there a circle?", "What colour is it?")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--quantize", default="none,int8,int4")
    parser.add_argument("--readers", default="1,4,16")
    options = parser.parse_args()
    if options.device != "cpu":
        print(torch.cuda.get_device_name(), "· torch", torch.__version__)
    same_as_cpu(options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = complete(shape(options.layers, options.width), Path(name) / "model")
        for quantize in options.quantize.split(","):
            speed(folder, options.device, quantize, [int(one) for one in options.readers.split(",")], options.new)
        peer(folder, options.device, options.new)


def same_as_cpu(device: str) -> None:
    """How many of the embedded model's answers are those of the CPU in float32."""
    conversations = [
        Conversation((Message.user(question, [open_picture(drawn(colour, place))]),))
        for colour in ("red", "blue", "green")
        for place in (20, 90)
        for question in QUESTIONS
    ]
    expected = answers(load(device="cpu", dtype="float32"), conversations)
    for dtype in ("float32", "bfloat16"):
        engine = load(device=device, dtype=dtype)
        got = answers(engine, conversations)
        same = sum(a.token_ids == b.token_ids for a, b in zip(expected, got, strict=True))
        print(f"embedded model, {engine.card.device}, {dtype}: {same} of {len(got)} answers are those of the CPU")
        engine.close()


def drawn(colour: str, place: int) -> bytes:
    """A disc and a square beside it, as a PNG."""
    image = Image.new("RGB", (200, 160), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((place, 40, place + 60, 100), fill=colour)
    draw.rectangle((140, 100, 190, 150), fill="black")
    kept = io.BytesIO()
    image.save(kept, "png")
    return kept.getvalue()


def answers(engine: EngineLike, conversations: list[Conversation], sampling: Sampling | None = None) -> list[Reply]:
    """All of them, one after the other."""
    replies = []
    for conversation in conversations:
        *_, reply = engine.stream(conversation, sampling or Sampling(max_new_tokens=40))
        assert isinstance(reply, Reply)
        replies.append(reply)
    return replies


def speed(folder: Path, device: str, quantize: str, readers: list[int], new: int) -> None:
    """Tokens a second of so many readers at once, and of one alone after its first token."""
    begun = time.perf_counter()
    engine = load(folder, device=device, dtype="bfloat16", quantize=quantize, **slots(max(readers)))
    card = engine.card
    print(f"{(card.parameters or 0) / 1e9:.2f}B, {card.kernel}: loaded in {time.perf_counter() - begun:.1f} s")
    sampling = Sampling(max_new_tokens=new, repetition_penalty=1.1)
    text = "Tell me about it. " * 20

    def ask(number: int) -> Reply:
        return answers(engine, [Conversation((Message.user(f"{number} {text}"),))], sampling)[0]

    ask(-1)
    for count in readers:
        begun = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            replies = list(pool.map(ask, range(100 * count, 101 * count)))
        seconds = time.perf_counter() - begun
        tokens = sum(reply.completion_tokens for reply in replies)
        alone = f", {replies[0].tokens_per_second:.0f} after the first" if count == 1 else ""
        print(f"  {count:2} readers: {tokens} tokens, {tokens / seconds:.0f} tokens/s{alone}")
    engine.close()


def slots(count: int) -> dict[str, int]:
    """The slots to ask for, where the engine has them."""
    import inspect

    return {"slots": count} if "slots" in inspect.signature(load).parameters else {}


def peer(folder: Path, device: str, new: int) -> None:
    """The same shape in transformers: one row's decoding after the prompt."""
    from transformers import LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval().to(device)
    ids = torch.randint(4, 200, (1, 320), device=device)

    def timed(count: int) -> float:
        begun = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count,
                min_new_tokens=count, suppress_tokens=[3],
            )  # fmt: skip
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    timed(4)
    print(f"  transformers, one row: {(new - 1) / (timed(new) - timed(1)):.0f} tokens/s after the first")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
