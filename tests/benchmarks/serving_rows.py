"""What one model gives several readers at once, on random weights: rows together, the scheduler, and others' prompts.

    python tests/benchmarks/serving_rows.py [--forms none,int8,int4] [--rows 1,4,16] [--layers 22 --width 2048]
        [--kv-heads 4] [--threads 1] [--context 320] [--new 32] [--rounds 3] [--prompt 2000]

1. tokens/s of so many rows in one decode step, and how many times that is what one row gets: one, four, sixteen rows by
   turns, so that a busy machine slows all alike;
2. one client through the scheduler beside the bare decode steps, by turns;
3. seconds between the tokens of three that are being answered while a fourth one's prompt of 2,000 tokens is read, and
   how long that one waits for its first word.

The first two are CPU seconds of this process divided by its threads; the third is the clock's. The default shape has
1.1B parameters. Weights of a form are read from a temporary folder of 2 GB.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import torch

from llava_engine import Conversation, Message, Reply, Sampling, load
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.rows import Row
from llava_engine.decoding.steps import decode, prefill
from llava_engine.engine import Engine
from llava_engine.model.llava import LlavaModel
from tests.benchmarks.decoding import shape
from tests.llava_engine.tiny import complete

Timed = Callable[[Callable[[], object]], float]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", default="none,int8,int4")
    parser.add_argument("--rows", default="1,4,16", help="the first one is what the others are compared with")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--kv-heads", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=320, help="tokens that each row holds before")
    parser.add_argument("--new", type=int, default=32, help="tokens of a turn of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=2000, help="tokens of the prompt that is read meanwhile")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = shape(options.layers, options.width, options.kv_heads)
    language = replace(config.language, max_position_embeddings=max(2048, options.prompt + 512))

    def timed(action: Callable[[], object]) -> float:
        on_cpu = options.device == "cpu"
        start = time.process_time() if on_cpu else time.perf_counter()
        action()
        return (time.process_time() - start) / options.threads if on_cpu else time.perf_counter() - start

    with tempfile.TemporaryDirectory() as name:
        folder = complete(replace(config, language=language), Path(name) / "model")
        for form in options.forms.split(","):
            engine = load(folder, device=options.device, dtype="bfloat16", quantize=form, slots=4)
            card = engine.card
            print(f"{(card.parameters or 0) / 1e9:.2f}B, {card.kernel}, {options.threads} thread(s)")
            counts = [int(count) for count in options.rows.split(",")]
            together(engine, timed, counts, options.context, options.new, options.rounds)
            scheduled(engine, timed, options.new, options.rounds)
            meanwhile(engine, options.prompt)
            engine.close()


def together(engine: Engine, timed: Timed, counts: Sequence[int], context: int, new: int, rounds: int) -> None:
    """Tokens a second of so many rows, one turn after the other."""
    model = engine._model
    caches = [filled(model, context, seed) for seed in range(max(counts))]

    def steps(count: int) -> None:
        tokens = [5] * count
        for _ in range(new):
            tokens = decode(model, tokens, caches[:count]).argmax(-1).tolist()
        for cache in caches[:count]:
            cache.crop(context)

    rates: dict[int, list[float]] = {count: [] for count in counts}
    steps(max(counts))
    for _ in range(rounds):
        for count in counts:
            rates[count].append(count * new / timed(lambda count=count: steps(count)))  # type: ignore[misc]
    one = statistics.median(rates[counts[0]])
    for count in counts:
        rate = statistics.median(rates[count])
        print(f"  {count:2} rows at {context} tokens: {rate:7.1f} tokens/s, x {rate / one:.2f}")


def filled(model: LlavaModel, context: int, seed: int) -> KeyValueCache:
    """A cache that holds random tokens."""
    device = model.language_model.embed_tokens.weight.device
    dtype = model.language_model.norm.weight.dtype
    cache = KeyValueCache(model.config.language, device=device, dtype=dtype)
    ids = torch.randint(4, 200, (1, context), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        prefill(model, model.language_model.embed(ids.to(device)), cache)
    return cache


def scheduled(engine: Engine, timed: Timed, new: int, rounds: int) -> None:
    """One client's tokens a second after the first, beside decode steps behind a prompt of the same length."""
    model = engine._model

    def client(text: str, count: int) -> Reply:
        *_, reply = engine.stream(Conversation((Message.user(text),)), Sampling(max_new_tokens=count))
        assert isinstance(reply, Reply)
        return reply

    texts = (str(number) + "w" * 300 for number in range(20))  # one whose answer does not end by itself
    text, reply = next((text, reply) for text in texts if (reply := client(text, 1 + new)).completion_tokens > new)
    cache, ratios, token = filled(model, reply.prompt_tokens, 0), [], 5

    def bare() -> None:
        nonlocal token
        with torch.inference_mode():
            for _ in range(new):
                token = int(decode(model, [token], [cache])[0].argmax())
        cache.crop(reply.prompt_tokens)

    for _ in range(2 * rounds):
        alone = timed(bare)
        # Without what it costs to ask, and to read the last token of the prompt again.
        through = timed(lambda: client(text, 1 + new)) - timed(lambda: client(text, 1))
        ratios.append(alone / through)
    print(f"  one client through the scheduler: x {statistics.median(ratios):.3f} of the bare steps")


def meanwhile(engine: Engine, prompt: int) -> None:
    """Gaps between the tokens of three readers while a long prompt is read, by the clock."""
    times: dict[Row, list[float]] = {}
    push = Row.push

    def timed_push(row: Row, token: int) -> None:
        times.setdefault(row, []).append(time.perf_counter())
        push(row, token)

    over = threading.Event()

    def answer(reader: int) -> None:
        sampling = Sampling(max_new_tokens=None, temperature=1.5, seed=reader)
        for _ in engine.stream(Conversation((Message.user(f"{reader} aaaa"),)), sampling, cancelled=over.is_set):
            pass

    with patch.object(Row, "push", timed_push):
        readers = [threading.Thread(target=answer, args=(reader,)) for reader in range(3)]
        for thread in readers:
            thread.start()
        while len(times) < len(readers):
            time.sleep(0.01)
        asked = time.perf_counter()
        *_, reply = engine.stream(Conversation((Message.user("b" * prompt),)), Sampling(max_new_tokens=1))
        answered = time.perf_counter()
        over.set()
        for thread in readers:
            thread.join()
    assert isinstance(reply, Reply)
    pairs = [pair for row in times.values() for pair in pairwise(row)]
    gaps = sorted(later - earlier for earlier, later in pairs if later > asked and earlier < answered)
    if not gaps:
        print("  the readers were done before the prompt was read")
        return
    p50, p95 = gaps[len(gaps) // 2], gaps[min(len(gaps) - 1, len(gaps) * 95 // 100)]
    print(
        f"  while {reply.prompt_tokens} tokens are read ({answered - asked:.1f} s): others' gaps"
        f" p50 {p50:.3f} s, p95 {p95:.3f} s, longest {gaps[-1]:.3f} s"
    )


if __name__ == "__main__":
    main()
