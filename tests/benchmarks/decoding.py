"""Decode speed, time to first token and second turns, beside transformers' `generate` in the same run.

    python tests/benchmarks/decoding.py [--layers 12 --width 640 --kv-heads 10] [--threads 1] [--new 64] [--rounds 3]

Writes a random LLaVA of about 100M parameters in bfloat16 to a temporary folder, loads it in both, and alternates.
Times are CPU seconds of this process divided by its threads, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from llava_engine import Conversation, Message, Reply, Sampling, load
from llava_engine.engine import Engine
from llava_engine.model.config import LanguageConfig, LlavaConfig, VisionConfig
from tests.llava_engine.tiny import complete


def shape(layers: int, width: int, kv_heads: int | None = None) -> LlavaConfig:
    """A Llama of `layers` x `width`, behind a small tower with 256 picture tokens; a key head each, unless told."""
    return LlavaConfig(
        vision=VisionConfig(
            image_size=224, patch_size=14, hidden_size=256, intermediate_size=1024, num_hidden_layers=4,
            num_attention_heads=4,
        ),
        language=LanguageConfig(
            vocab_size=32000, hidden_size=width, intermediate_size=width * 8 // 3 // 64 * 64,
            num_hidden_layers=layers, num_attention_heads=width // 64, num_key_value_heads=kv_heads or width // 64,
            head_dim=64, max_position_embeddings=2048,
        ),
        image_token_id=3,
    )  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--kv-heads", type=int, default=10, help="10 at width 640 is one for each head")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quantize", default="none", help="int8, int4 or nf4, for ours only")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    def timed(action: Callable[[], object]) -> float:
        start = time.process_time()
        action()
        return (time.process_time() - start) / options.threads

    with tempfile.TemporaryDirectory() as name:
        folder = complete(shape(options.layers, options.width, options.kv_heads), Path(name) / "model")
        engine = load(folder, device="cpu", dtype="bfloat16", quantize=options.quantize)
        card = engine.card
        print(
            f"{card.parameters / 1e6:.0f}M parameters, {card.dtype}, kernel {card.kernel}, {options.threads} thread(s)"
        )
        theirs = peer(folder)
        ids = torch.randint(4, 200, (1, 320))
        rates: dict[str, list[float]] = {"ours": [], "transformers": []}
        for _ in range(options.rounds):
            rates["ours"].append((options.new - 1) / decode_ours(engine, timed, options.new))
            few = timed(lambda: theirs(ids, 1))
            many = timed(lambda: theirs(ids, options.new))
            rates["transformers"].append((options.new - 1) / (many - few))
        ours, peers = (statistics.median(rates[who]) for who in ("ours", "transformers"))
        print(f"decode at 320 tokens: ours {ours:.1f} tokens/s, transformers {peers:.1f}, ratio {ours / peers:.2f}")
        cold, second = turns(engine, timed)
        print(
            f"second turn's first token: {second:.3f} s, the same prompt cold {cold:.3f} s, ratio {second / cold:.2f}"
        )


def peer(folder: Path) -> Callable[[torch.Tensor, int], object]:
    """transformers' own generate, greedy, always to the full length."""
    from transformers import LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def generate(ids: torch.Tensor, new: int) -> object:
        with torch.inference_mode():
            return model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new,
                min_new_tokens=new, suppress_tokens=[3],
            )  # fmt: skip

    return generate


def decode_ours(engine: Engine, timed: Callable[[Callable[[], object]], float], new: int) -> float:
    """Seconds for `new` - 1 decode steps behind a prompt of 320 tokens, whatever the tokens are."""
    from llava_engine.decoding.cache import KeyValueCache
    from llava_engine.decoding.steps import decode, prefill

    model = engine._model
    cache = KeyValueCache(model.config.language, device=torch.device("cpu"), dtype=torch.float32)
    logits = prefill(model, model.language_model.embed(torch.randint(4, 200, (1, 320))), cache)

    def steps() -> None:
        nonlocal logits
        for _ in range(new - 1):
            logits = decode(model, [int(logits.argmax())], [cache])[0]

    return timed(steps)


def turns(engine: Engine, timed: Callable[[Callable[[], object]], float]) -> tuple[float, float]:
    """Seconds to the first token of a second turn: everything read again, and with the first turn kept."""
    picture = Image.new("RGB", (640, 480), "red")
    from llava_engine import open_picture

    shown = open_picture(picture)
    first = Conversation((Message.user("What is in this picture? " * 4, [shown]),))

    def run(conversation: Conversation) -> Reply:
        *_, reply = engine.stream(conversation, Sampling(max_new_tokens=1))
        assert isinstance(reply, Reply)
        return reply

    second = first.then(Message.assistant("Something red. " * 4)).then(Message.user("And what colour is it?"))
    forget(engine)
    cold = timed(lambda: run(second))
    engine._open_scheduler()._slots.forget()
    run(first)
    return cold, timed(lambda: run(second))


def forget(engine: Engine) -> None:
    """Let go of all that is kept of conversations and pictures."""
    scheduler = engine._open_scheduler()
    scheduler._slots.forget()
    scheduler.reader.features.clear()


if __name__ == "__main__":
    main()
