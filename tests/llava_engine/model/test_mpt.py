"""MPT computes what transformers' MPT and the original's own code compute, also from a cache and in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.slots import Slots
from llava_engine.decoding.steps import CancelledError, decode, prefill, prefill_chunk
from llava_engine.model.config import MptConfig
from llava_engine.model.llava import LlavaModel
from llava_engine.model.mpt import MptModel
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures
from tests.llava_engine.tiny import TINY, random_model

CPU = torch.device("cpu")
SMALL = MptConfig(
    vocab_size=90,
    hidden_size=48,
    intermediate_size=192,
    num_hidden_layers=3,
    num_attention_heads=6,
    max_position_embeddings=700,
)
same = partial(torch.testing.assert_close, atol=1e-5, rtol=0)

# Our names of a model's parts, and those of both transformers and the original.
NAMES = {
    "embed_tokens": "wte",
    "layers": "blocks",
    "attention.qkv": "attn.Wqkv",
    "attention.out": "attn.out_proj",
    "mlp.up": "ffn.up_proj",
    "mlp.down": "ffn.down_proj",
}


def theirs(name: str) -> str:
    """The stored name of one of our parameters."""
    if name == "norm.weight":
        return "transformer.norm_f.weight"
    for ours, other in NAMES.items():
        name = name.replace(ours, other)
    return f"transformer.{name}"


def llava(config: MptConfig, seed: int = 0) -> LlavaModel:
    """Random weights, with a head that gives logits of about one: 1e-5 is then ten times float32's own rounding."""
    model = random_model(replace(TINY, language=config), seed)
    with torch.no_grad():
        model.language_model.embed_tokens.weight.mul_(0.2)
    return model


def mpt_of(model: LlavaModel) -> MptModel:
    assert isinstance(model.language_model, MptModel)
    return model.language_model


def oracle(model: MptModel) -> Any:
    """transformers' model with the same weights."""
    from transformers import MptConfig as TheirConfig
    from transformers import MptForCausalLM
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    config = model.config
    made: Any = MptForCausalLM(
        TheirConfig(
            vocab_size=config.vocab_size,
            d_model=config.hidden_size,
            expansion_ratio=config.intermediate_size // config.hidden_size,
            n_layers=config.num_hidden_layers,
            n_heads=config.num_attention_heads,
            max_seq_len=config.max_position_embeddings,
            layer_norm_epsilon=config.layer_norm_eps,
        )
    )
    made.eval()
    state = {theirs(name): tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected
    # Their class never hands its config's alibi_bias_max on to the function that takes it.
    bias_max = config.alibi_bias_max
    made.transformer.build_mpt_alibi_tensor = partial(build_mpt_alibi_tensor, alibi_bias_max=bias_max)
    return made


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(4, SMALL.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def cold(model: LlavaModel, ids: list[int]) -> Tensor:
    """Logits at every position, (T, vocab), without any cache."""
    with torch.no_grad():
        logits: Tensor = model(torch.tensor([ids]))[0]
    return logits


@pytest.mark.parametrize("bias_max", [8.0, 3.0, 16.0])
@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 12, 24])
def test_logits_are_those_of_transformers(heads: int, bias_max: float) -> None:
    model = mpt_of(llava(replace(SMALL, num_attention_heads=heads, alibi_bias_max=bias_max), seed=heads))
    x = torch.randn(2, 40, SMALL.hidden_size, generator=torch.Generator().manual_seed(heads))
    with torch.no_grad():
        expected = oracle(model)(inputs_embeds=x).logits
        got = model.logits(model(x, torch.arange(40)))
    same(got, expected)


def test_rows_padded_on_the_left_are_those_of_transformers() -> None:
    model = mpt_of(llava(SMALL))
    ids, lengths = drawn(3, 20), [20, 13, 1]
    valid = torch.arange(20) >= 20 - torch.tensor(lengths)[:, None]
    mask = valid[:, None, None, :] & torch.ones(20, 20, dtype=torch.bool).tril() | torch.eye(20, dtype=torch.bool)
    positions = (valid.long().cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        expected = oracle(model)(input_ids=ids, attention_mask=valid.long()).logits
        got = model.logits(model(model.embed(ids), positions, mask=mask))
    same(got[valid], expected[valid])


def test_gradients_are_those_of_transformers_with_the_head_tied() -> None:
    model = mpt_of(llava(replace(SMALL, num_attention_heads=3)))
    other, ids = oracle(model), drawn(2, 12)
    logits = model.logits(model(model.embed(ids), torch.arange(12)))
    for scores in (logits, other(input_ids=ids).logits):
        loss: Any = torch.nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
    expected = {name: parameter.grad for name, parameter in other.named_parameters()}
    names = [name for name, _ in model.named_parameters()]
    assert {theirs(name) for name in names} == set(expected)
    for name, parameter in model.named_parameters():
        same(parameter.grad, expected[theirs(name)])


@pytest.mark.parametrize("heads", [4, 6])
@pytest.mark.parametrize("length", [1, 2, 60, 600])  # 600 is more than a piece of prefill and than a block of the cache
def test_cached_is_cold(heads: int, length: int) -> None:
    model = llava(replace(SMALL, num_attention_heads=heads))
    ids = drawn(length + 5).tolist()
    expected = cold(model, ids)
    cache = KeyValueCache(model.config.language, device=CPU, dtype=torch.float32)
    embeddings = model.language_model.embed(torch.tensor([ids[:length]]))
    same(prefill(model, embeddings, cache), expected[length - 1])
    for place in range(length, len(ids)):
        same(decode(model, [ids[place]], [cache])[0], expected[place])


@pytest.mark.parametrize("shared", [1, 17, 30])
def test_a_prompt_that_shares_its_beginning_is_read_on_from_there(shared: int) -> None:
    model = llava(SMALL)
    first = drawn(40, seed=1).tolist()
    second = [*first[:shared], 2, *drawn(25, seed=2).tolist()]
    slots = Slots(lambda: KeyValueCache(model.config.language, device=CPU, dtype=torch.float32), 1)
    for prompt in (first, second):
        cache = slots.take(prompt)
        assert cache.length == (shared if prompt is second else 0)
        embeddings = model.language_model.embed(torch.tensor([prompt[cache.length :]]))
        same(prefill(model, embeddings, cache), cold(model, prompt)[-1])
        same(decode(model, [7], [cache])[0], cold(model, [*prompt, 7])[-1])
        cache.held.extend(prompt[len(cache.held) :])
        cache.mend()
        slots.give_back(cache)


def test_a_prompt_given_up_half_way_is_taken_up_again() -> None:
    model = llava(SMALL)
    prompt = drawn(600).tolist()
    cache = KeyValueCache(model.config.language, device=CPU, dtype=torch.float32)
    embeddings = model.language_model.embed(torch.tensor([prompt]))
    prefill_chunk(model, embeddings[:, :100], cache)
    cache.held.extend(prompt[:100])
    asked: Iterator[bool] = iter([False] * (SMALL.num_hidden_layers - 1) + [True])
    with pytest.raises(CancelledError):
        prefill_chunk(model, embeddings[:, 100:], cache, lambda: next(asked))
    cache.mend()
    assert [layer.length for layer in cache.layers] == [100] * SMALL.num_hidden_layers
    same(prefill(model, embeddings[:, 100:], cache), cold(model, prompt)[-1])


def test_answers_in_a_batch_are_those_of_single_runs() -> None:
    model = llava(SMALL)
    prompts = [drawn(length, seed=length).tolist() for length in (3, 31, 1, 90, 31)]
    count = 12
    expected = []
    for prompt in prompts:
        ids = list(prompt)
        for _ in range(count):
            ids.append(int(cold(model, ids)[-1].argmax()))
        expected.append(ids[len(prompt) :])
    # Rows end at different steps; what goes on must not notice.
    limits = [count, 4, count, 7, count]
    rows: list[list[int]] = [[] for _ in prompts]
    caches = [KeyValueCache(model.config.language, device=CPU, dtype=torch.float32) for _ in prompts]
    for row, (prompt, cache) in enumerate(zip(prompts, caches, strict=True)):
        rows[row].append(int(prefill(model, model.language_model.embed(torch.tensor([prompt])), cache).argmax()))
    while going := [row for row in range(len(prompts)) if len(rows[row]) < limits[row]]:
        logits = decode(model, [rows[row][-1] for row in going], [caches[row] for row in going])
        for row, token in zip(going, logits.argmax(-1).tolist(), strict=True):
            rows[row].append(token)
    assert rows == [answer[:limit] for answer, limit in zip(expected, limits, strict=True)]


def test_half_precision_keeps_near_and_far_apart() -> None:
    """A bias counted from the row's end, as the original has it, is in the hundreds early in a row: too coarse."""
    model = mpt_of(llava(SMALL))
    ids = drawn(1, 600)
    with torch.no_grad():
        expected = model(model.embed(ids), torch.arange(600))[0]
        model.to(torch.bfloat16)
        got = model(model.embed(ids), torch.arange(600))[0].float()
    off = (got - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert off[:300].mean() < 0.03  # counted from the end it is 0.09 and more


def _mpt_goldens() -> list[str]:
    """The names of the forward goldens whose checkpoint says that it is an MPT."""
    found = []
    for path in sorted((FIXTURES / "goldens").glob("forward_*.json")):
        config = FIXTURES / json.loads(path.read_text("utf-8"))["checkpoint"] / "config.json"
        if config.is_file() and "d_model" in json.loads(config.read_text("utf-8")):
            found.append(path.name)
    return found


def _stored(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in [*folder.glob("*.bin"), *folder.glob("*.safetensors")]:
        read = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        tensors |= {name: tensor.float() for name, tensor in read.items()}
    return tensors


def _fixture_model(folder: Path) -> MptModel:
    raw = json.loads((folder / "config.json").read_text("utf-8"))
    model = MptModel(
        MptConfig(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["d_model"],
            intermediate_size=raw["d_model"] * raw["expansion_ratio"],
            num_hidden_layers=raw["n_layers"],
            num_attention_heads=raw["n_heads"],
            max_position_embeddings=raw["max_seq_len"],
            alibi_bias_max=raw["attn_config"]["alibi_bias_max"],
        )
    )
    stored = _stored(folder)
    tied = stored["transformer.wte.weight"]
    model.load_state_dict({n: tied if n == "lm_head.weight" else stored[theirs(n)] for n in model.state_dict()})
    return model.eval()


@needs_fixtures
@pytest.mark.parametrize("name", _mpt_goldens())
def test_the_original_s_logits_and_greedy_tokens(name: str) -> None:
    """Cases without pictures, and with one, whose features are taken from the golden."""
    cases = golden(name)
    features = load_file(FIXTURES / "goldens" / Path(name).with_suffix(".safetensors"))
    model = _fixture_model(FIXTURES / cases["checkpoint"])
    ran = 0
    for case in cases["cases"]:
        key = f"{case['case']}.projected_features"
        if case["images"] and (len(case["images"]) != 1 or key not in features):
            continue
        ran += 1
        ids = torch.tensor([case["input_ids"]])
        with torch.no_grad():
            x = model.embed(ids)
            if case["images"]:
                x = x.masked_scatter((ids == cases["im_patch_token"]).unsqueeze(-1), features[key])
            logits = model.logits(model(x, torch.arange(ids.shape[1])))[0]
            for kind in ("logits", "logits_last8"):
                if (expected := features.get(f"{case['case']}.{kind}")) is not None:
                    same(logits[-len(expected) :], expected, atol=2e-4)
            answer: list[int] = []
            for gap, wanted in zip(case["greedy_top2_gaps"], case["greedy_ids"], strict=True):
                answer.append(int(logits[-1].argmax()))
                if gap <= 1e-3:  # another machine's rounding may choose the other one
                    break
                assert answer == case["greedy_ids"][: len(answer)]
                x = torch.cat([x, model.embed(torch.tensor([[wanted]]))], dim=1)
                logits = model.logits(model(x, torch.arange(x.shape[1])))[0]
    assert ran, "no case could be run"
