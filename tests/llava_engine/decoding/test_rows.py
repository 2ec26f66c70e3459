"""One token for several rows at once: what each gets alone, in float nearly and in int8 to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.slots import Slots
from llava_engine.decoding.steps import decode, prefill
from llava_engine.model.config import LlavaConfig, MptConfig
from llava_engine.model.linear import make_linear
from llava_engine.model.llava import LlavaModel
from tests.llava_engine.tiny import TINY, random_model

MPT = replace(
    TINY, language=MptConfig(vocab_size=400, hidden_size=48, intermediate_size=96, num_hidden_layers=3,
                             num_attention_heads=6, max_position_embeddings=512)
)  # fmt: skip
LENGTHS = (3, 40, 1, 300)  # the last one is more than a block of a cache


def model_of(config: LlavaConfig, *, int8: bool) -> LlavaModel:
    model = random_model(config)
    if int8:
        for layer in model.language_model.layers:
            for name, module in list(layer.named_modules()):
                if isinstance(module, nn.Linear):
                    parent, _, last = name.rpartition(".")
                    setattr(layer.get_submodule(parent), last, make_linear(module.weight.detach(), None, "int8"))
    return model


def empty(model: LlavaModel) -> KeyValueCache:
    return KeyValueCache(model.config.language, device=torch.device("cpu"), dtype=torch.float32)


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(4, 400, (length,), generator=generator).tolist() for length in LENGTHS]


def read(model: LlavaModel, prompt: list[int]) -> KeyValueCache:
    cache = empty(model)
    prefill(model, model.language_model.embed(torch.tensor([prompt])), cache)
    cache.held.extend(prompt)
    return cache


def last_hidden(model: LlavaModel, tokens: list[int], caches: list[KeyValueCache]) -> tuple[Tensor, Tensor]:
    """What the head is given for each row, and the logits."""
    seen: list[Tensor] = []
    hook = model.language_model.norm.register_forward_hook(lambda module, args, hidden: seen.append(hidden))
    logits = decode(model, tokens, caches)
    hook.remove()
    return seen[0][:, -1], logits


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("config", [TINY, MPT], ids=["llama", "mpt"])
def test_rows_of_any_length_are_read_on_together(config: LlavaConfig, int8: bool) -> None:
    model = model_of(config, int8=int8)
    together, alone = ([read(model, prompt) for prompt in prompts()] for _ in range(2))
    tokens = [5, 6, 7, 8]
    for step in range(8):
        rows = range(len(tokens))[step % 3 :]  # some stay out of some steps
        hidden, logits = last_hidden(model, [tokens[row] for row in rows], [together[row] for row in rows])
        single = [last_hidden(model, [tokens[row]], [alone[row]]) for row in rows]
        expected = torch.cat([one for one, _ in single])
        if int8:
            assert torch.equal(hidden, expected)
        torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(logits, torch.cat([one for _, one in single]), rtol=1e-4, atol=1e-4)
        for row, token in zip(rows, logits.argmax(-1).tolist(), strict=True):
            tokens[row] = token
    assert [cache.length for cache in together] == [cache.length for cache in alone]


@pytest.mark.parametrize("config", [TINY, MPT], ids=["llama", "mpt"])
def test_a_copied_beginning_is_what_was_read(config: LlavaConfig) -> None:
    model = model_of(config, int8=False)
    first = prompts()[3]
    second = [*first[:200], 9, 8, 7]
    slots = Slots(lambda: empty(model), 2)
    running = slots.take(first)
    prefill(model, model.language_model.embed(torch.tensor([first])), running)
    running.held.extend(first)
    other = slots.take(second)
    assert other is not running and other.length == len(other.held) == 200
    logits = prefill(model, model.language_model.embed(torch.tensor([second[200:]])), other)
    torch.testing.assert_close(logits, prefill(model, model.language_model.embed(torch.tensor([second])), empty(model)))
    # What the one goes on to read is none of the other's.
    torch.testing.assert_close(decode(model, [5], [running]), decode(model, [5], [read(model, first)]))


class TestSlots:
    """Which cache a prompt gets: no model is needed to tell."""

    def slots(self, count: int) -> tuple[Slots, list[KeyValueCache]]:
        made: list[KeyValueCache] = []

        def make() -> KeyValueCache:
            made.append(KeyValueCache(TINY.language, device=torch.device("meta"), dtype=torch.float32))
            return made[-1]

        return Slots(make, count), made

    def use(self, slots: Slots, prompt: list[int]) -> KeyValueCache:
        """Take, read all of it, and give back."""
        cache = slots.take(prompt)
        self.fill(cache, prompt)
        slots.give_back(cache)
        return cache

    def fill(self, cache: KeyValueCache, prompt: list[int]) -> None:
        new = len(prompt) - cache.length
        for layer in cache.layers:
            layer.append(torch.empty(1, 2, new, 12, device="meta"), torch.empty(1, 2, new, 12, device="meta"))
        cache.held.extend(prompt[len(cache.held) :])

    def test_the_longest_common_beginning_wins_else_the_longest_unused(self) -> None:
        slots, made = self.slots(3)
        for start, cache in enumerate(made):
            assert self.use(slots, [start, 50, 51, 52]) is cache
        assert self.use(slots, [1, 50, 51, 60]) is made[1]
        assert made[1].held == [1, 50, 51, 60]
        assert self.use(slots, [99]) is made[0]
        assert self.use(slots, [98]) is made[2]
        assert self.use(slots, [97]) is made[1]

    def test_conversations_that_begin_alike_keep_their_own(self) -> None:
        slots, made = self.slots(3)
        system = list(range(100, 140))
        turns = {name: [*system, *range(start, start + 100)] for name, start in (("a", 1000), ("b", 2000))}
        assert self.use(slots, turns["a"]) is made[0]
        assert self.use(slots, turns["b"]) is made[1]
        for more in (50, 51, 52):
            for at, name in enumerate(turns):
                turns[name] = [*turns[name], more]
                assert self.use(slots, turns[name]) is made[at]

    def test_what_a_free_one_shares_is_copied_where_it_belongs_to_another(self) -> None:
        slots, made = self.slots(2)
        first = list(range(500))
        self.use(slots, first)
        other = [*first[:100], 7, 7, 7]
        cache = slots.take(other)
        assert cache is made[1] and cache.length == 100
        assert made[0].held == first
        self.fill(cache, other)
        slots.give_back(cache)
        # It is no one's next turn: the one that was used longest ago is cut back, not copied.
        assert self.use(slots, [*first[:40], 8]) is made[0]

    def test_one_position_is_always_left_to_be_read(self) -> None:
        slots, _ = self.slots(1)
        self.use(slots, [1, 2, 3])
        assert slots.take([1, 2, 3]).length == 2

    def test_a_little_more_is_not_worth_a_copy(self) -> None:
        slots, made = self.slots(2)
        long = list(range(100))
        self.fill(slots.take(long), long)
        assert slots.take([*long[:60], 7]).length == 0
        slots.give_back(made[1])
        assert slots.take([*long[:64], 7]).length == 64

    def test_memory_is_let_go(self) -> None:
        slots, _made = self.slots(2)
        cache = self.use(slots, [1, 2, 3])
        taken = slots.take([1, 2, 9])
        assert taken is cache
        slots.drop(taken)
        assert (slots.free, len(slots)) == (2, 2)
        assert slots.take([1, 2, 3]).length == 0
        slots.forget()
        slots.renew()
        assert (slots.free, len(slots)) == (2, 2)
