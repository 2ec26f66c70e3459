"""A plan knows what a model takes before it is read; a model that is spread over two places says the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.overrides import TorchFunctionMode

import llava_engine
from llava_engine import Conversation, Message, Reply, Sampling, open_picture
from llava_engine.checkpoints.load import load_planned
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.steps import decode, prefill
from llava_engine.engine import Engine
from llava_engine.errors import DeviceError, UsageError
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig, TilesConfig, VisionConfig
from llava_engine.model.free_memory import free_memory
from llava_engine.model.placement import layer_devices, plan
from llava_engine.opening import Placement, Source, parse_max_memory
from llava_engine.plan import Place, Plan
from tests.llava_engine.tiny import SHAPES, TINY, complete, random_model

GIB = 2**30
SMALL_MPT = MptConfig(
    vocab_size=90, hidden_size=64, intermediate_size=256, num_hidden_layers=5, num_attention_heads=4,
    max_position_embeddings=512,
)  # fmt: skip
CONFIGS = {**SHAPES, "mpt": replace(TINY, language=SMALL_MPT)}
SEVEN_B = LlavaConfig(VisionConfig(), LanguageConfig())


class Random:
    """The weights of a random model, as a checkpoint's tensors."""

    def __init__(self, config: LlavaConfig, folder: Path) -> None:
        from llava_engine.checkpoints.save import stored_tensors
        from llava_engine.files.tensor_files import StoredTensor

        self.folder = folder
        self.all = stored_tensors(random_model(config), torch.float32)
        self.tensors = {name: StoredTensor(folder, tuple(t.shape), t.dtype) for name, t in self.all.items()}

    def read(self, name: str) -> torch.Tensor:
        return self.all[name]


def on(planned: Plan, *devices: str) -> Plan:
    """The same plan with other devices at its places."""
    return replace(planned, places=tuple(Place(device, None) for device in devices))


def bytes_of(module: torch.nn.Module) -> int:
    """What a module's numbers take, the table that all four-bit layers share aside."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return sum(tensor.numel() * tensor.itemsize for name, tensor in tensors if not name.endswith("pairs"))


@pytest.mark.parametrize("quantize", ["none", "int4", "nf4"])
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_the_plan_is_what_the_loaded_model_takes(config: LlavaConfig, quantize: str, tmp_path: Path) -> None:
    planned = plan(config, torch.float32, Placement(device="cpu", quantize=quantize))
    model = load_planned(config, Random(config, tmp_path), planned).model
    taken = {part.name: part.bytes for part in planned.parts}
    language = model.language_model
    assert taken["vision tower"] == bytes_of(model.vision_tower)
    assert taken["projector"] == bytes_of(model.projector)
    assert taken["embeddings"] == bytes_of(language.embed_tokens)
    assert taken["layers"] == bytes_of(language.layers)
    assert taken["head"] == bytes_of(language.norm) + bytes_of(language.lm_head)
    assert planned.weights == bytes_of(model)


def test_a_7b_takes_what_its_paper_s_sizes_make() -> None:
    planned = plan(SEVEN_B, torch.float16, Placement(device="cpu", dtype="bfloat16", max_memory="100GiB"))
    taken = {part.name: part.bytes for part in planned.parts}
    matrices = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    norms = 32 * 2 * 4096 * 4  # float32
    assert taken["layers"] == 2 * matrices + norms
    assert taken["embeddings"] == 2 * 32000 * 4096
    assert taken["key/value cache"] == 2 * 32 * 2048 * 4096 * 4
    assert planned.fits and not planned.remedies
    half = plan(SEVEN_B, torch.float16, Placement(device="cpu", quantize="int8", max_memory="100GiB"))
    assert matrices < next(part.bytes for part in half.parts if part.name == "layers") < 1.01 * matrices


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_part_and_every_layer_is_at_one_place(config: LlavaConfig) -> None:
    planned = plan(config, torch.float32, Placement(devices="cpu,cpu", max_memory="1GiB"))
    spans = [part.layers for part in planned.parts if part.name == "layers" and part.layers]
    assert spans[0][0] == 0 and spans[-1][1] == config.language.num_hidden_layers
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert {part.place for part in planned.parts if part.name == "embeddings"} == {0}
    assert {part.place for part in planned.parts if part.name == "head"} == {1}
    assert planned.total == planned.needed(0) + planned.needed(1)
    assert all(part.bytes >= 0 for part in planned.parts)


def gpus(monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
    """A machine with GPUs that have so many GiB free."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index] * GIB, 80 * GIB))


def layers_at(planned: Plan) -> list[int]:
    """How many layers each place holds."""
    spans = [part.layers for part in planned.parts if part.name == "layers" and part.layers]
    return [end - start for start, end in spans]


def test_as_many_gpus_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 24, 24, 24)
    assert [place.device for place in plan(SEVEN_B, torch.float16).places] == ["cuda:0"]
    gpus(monkeypatch, 12, 8, 24)
    two = plan(SEVEN_B, torch.float16)
    assert [place.device for place in two.places] == ["cuda:0", "cuda:1"]
    assert two.fits and two.dtype == "float16"
    assert layers_at(two)[0] > layers_at(two)[1] > 0
    chosen = plan(SEVEN_B, torch.float16, Placement(devices="2,0"))
    assert [place.device for place in chosen.places] == ["cuda:2", "cuda:0"]
    assert [place.device for place in plan(SEVEN_B, torch.float16, Placement(device="cuda")).places] == ["cuda:0"]


def test_one_small_gpu_is_told_of_the_others_and_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 12, 12)
    planned = plan(SEVEN_B, torch.float16, Placement(device="cuda:0", max_memory="cuda:0=12GiB,cuda:1=12GiB,cpu=64GiB"))
    assert not planned.fits
    assert {"--devices auto", "--quantize int8", "--device cpu"} <= {remedy.options for remedy in planned.remedies}


def test_slots_are_counted_and_as_many_are_taken_as_fit() -> None:
    slot = 2 * 32 * 2048 * 4096 * 4  # keys and values of a whole context in float32

    def planned(slots: int | None, free: int) -> Plan:
        return plan(SEVEN_B, torch.float16, Placement(device="cpu", slots=slots, max_memory=f"{free}GiB"))

    one = planned(1, 24)
    assert one.slots == 1 and planned(3, 24).total == one.total + 2 * slot
    assert planned(None, 24).slots == 1 + (24 * GIB - one.total) // slot > 1
    assert planned(None, 100).slots == 16
    assert planned(None, one.total // GIB + 1).slots == 1
    assert planned(None, 2).slots == 1 and not planned(None, 2).fits
    too_many = planned(16, 24)
    assert too_many.remedies[0].options == f"--slots {planned(None, 24).slots}"


def test_an_engine_has_the_slots_that_were_planned(folder: Path) -> None:
    assert llava_engine.load(folder, device="cpu", slots=3).card.slots == 3
    assert llava_engine.load(folder, device="cpu").card.slots == 16
    assert llava_engine.open_model(Source(str(folder)), Placement(device="cpu")).card.slots == 1


def test_pictures_in_tiles_take_more() -> None:
    tiled = replace(SEVEN_B, tiles=TilesConfig(pinpoints=((336, 672), (2688, 2688)) * 2))
    one, many = (plan(config, torch.float16, Placement(max_memory="100GiB")) for config in (SEVEN_B, tiled))
    assert features(many) > features(one)


def features(planned: Plan) -> int:
    return next(part.bytes for part in planned.parts if part.name == "picture features")


def test_what_does_not_fit_comes_with_what_would() -> None:
    planned = plan(SEVEN_B, torch.float16, Placement(device="cpu", dtype="bfloat16", max_memory="11GiB"))
    assert not planned.fits
    assert [remedy.options for remedy in planned.remedies] == ["--quantize int8", "--quantize int4"]
    for remedy in planned.remedies:
        form = remedy.options.split()[1]
        other = plan(
            SEVEN_B, torch.float16, Placement(device="cpu", dtype="bfloat16", max_memory="11GiB", quantize=form)
        )
        assert other.fits and other.total == remedy.bytes
    least = plan(SEVEN_B, torch.float16, Placement(device="cpu", dtype="bfloat16", max_memory="7GiB"))
    assert least.remedies and all("--context" in remedy.options for remedy in least.remedies)
    nothing = plan(SEVEN_B, torch.float16, Placement(device="cpu", dtype="bfloat16", max_memory="1GiB"))
    assert not nothing.fits and not nothing.remedies


@pytest.mark.parametrize(
    "options",
    [
        {"devices": "cpu", "device": "cpu"},
        {"devices": "auto", "device": "cpu"},
        {"devices": "abacus"},
        {"devices": "77"},
        {"max_memory": "lots"},
        {"max_memory": "-1GiB"},
        {"context": 10**9},
        {"context": 0},
        {"slots": 0},
        {"slots": 17},
        {"quantize": "int5"},
        {"dtype": "float8"},
    ],
)
def test_what_can_not_be_is_said(options: dict[str, Any]) -> None:
    with pytest.raises((DeviceError, UsageError)) as caught:
        plan(TINY, torch.float32, Placement(**options))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (None, {}),
        ("6GiB", {"": 6 * GIB}),
        ("512 MB", {"": 512 * 2**20}),
        ("1.5g", {"": GIB * 3 // 2}),
        ("cuda:0=20GiB, cpu=8GiB", {"cuda:0": 20 * GIB, "cpu": 8 * GIB}),
        ("0=1GiB,1=2GiB", {"cuda:0": GIB, "cuda:1": 2 * GIB}),
    ],
)
def test_limits_are_read_as_people_write_them(text: str | None, limits: dict[str, int]) -> None:
    assert parse_max_memory(text) == limits


def describe(root: Path, **files: str) -> Path:
    """A machine in a folder: "a__b" is the file a/b."""
    for name, content in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return root


MEMINFO = "MemTotal:       33554432 kB\nMemFree:         1000 kB\nMemAvailable:   16777216 kB\n"


def test_free_memory_is_what_the_kernel_says_or_the_narrowest_group(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert free_memory(cpu, describe(tmp_path / "plain", proc__meminfo=MEMINFO)) == 16 * GIB
    inside = describe(tmp_path / "v2", proc__meminfo=MEMINFO, proc__self__cgroup="0::/jobs/one\n")
    describe(
        inside / "sys/fs/cgroup/jobs",
        **{
            "memory.max": f"{6 * GIB}\n",
            "memory.current": f"{3 * GIB}\n",
            "memory.stat": f"anon 5\ninactive_file {GIB}\n",
            "one__memory.max": "max\n",
            "one__memory.current": "5\n",
        },
    )
    assert free_memory(cpu, inside) == 4 * GIB
    old = describe(tmp_path / "v1", proc__meminfo=MEMINFO, proc__self__cgroup="3:cpu,memory:/x\n2:net_cls:/\n")
    describe(
        old / "sys/fs/cgroup/memory/x",
        **{"memory.limit_in_bytes": f"{2 * GIB}\n", "memory.usage_in_bytes": f"{GIB}\n"},
    )
    assert free_memory(cpu, old) == GIB
    assert free_memory(cpu, tmp_path / "nothing") is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(TINY, tmp_path_factory.mktemp("models") / "tiny")


class Moves(TorchFunctionMode):
    """Counts what is moved to a device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.count = torch.device(device), 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.Tensor.to and len(args) > 1 and args[1] == self.device
        return func(*args, **(kwargs or {}))


def split(folder: Path, *devices: str) -> Engine:
    """An engine whose layers are spread over these devices. "cpu:0" is a second place: torch takes it for another."""
    checkpoint = open_checkpoint(folder)
    placement = Placement(devices=",".join(["cpu"] * len(devices)), max_memory="4GiB")
    planned = plan(checkpoint.config, torch.float32, placement)
    return Engine(load_planned(checkpoint.config, checkpoint.tensors, on(planned, *devices)), checkpoint)


def answers(engine: Engine) -> Iterator[tuple[int, ...]]:
    """Turns with pictures, from a cache that grows, and several questions at once."""
    shown = [open_picture(Image.new("RGB", size, colour)) for size, colour in (((90, 60), "red"), ((40, 80), "blue"))]
    conversation = Conversation()
    for text, pictures in (("what is it", shown[:1]), ("and now", ()), ("and these", shown)):
        conversation = conversation.then(Message.user(text, pictures))
        *_, reply = engine.stream(conversation, Sampling(max_new_tokens=12))
        assert isinstance(reply, Reply)
        yield reply.token_ids
        conversation = conversation.then(Message.assistant(reply.text))
    for reply in engine.answer([("one", shown[:1]), ("two", ()), ("a longer third", shown)], max_new_tokens=8):
        yield reply.token_ids


def test_two_places_say_what_one_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = list(answers(split(folder, "cpu")))
    to, moved = torch.Tensor.to, set()

    def counted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved.add(args[0])
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    assert list(answers(split(folder, "cpu", "cpu:0"))) == one
    assert torch.device("cpu:0") in moved


def test_what_layers_share_is_moved_once_a_step(folder: Path) -> None:
    engine = split(folder, "cpu", "cpu:0", "cpu:0")
    model, language = engine._model, TINY.language
    assert engine.card.plan is not None
    far = language.num_hidden_layers - layers_at(engine.card.plan)[0]
    assert far > 1
    cache = KeyValueCache(language, device=layer_devices(model.language_model.layers), dtype=torch.float32)
    prefill(model, model.language_model.embed(torch.tensor([[1, 5, 9]])), cache)
    with Moves("cpu:0") as moves:
        decode(model, [7], [cache])
    # The hidden state for each layer (torch says "cpu" of a tensor on "cpu:0"), and cosines and sines once.
    assert moves.count == far + 2


@pytest.mark.parametrize("config", [TINY, replace(TINY, language=SMALL_MPT)], ids=["llama", "mpt"])
def test_nothing_stays_behind_at_a_border(config: LlavaConfig) -> None:
    """On a second device that can not see the first one's memory, all that is not moved is an error."""
    from llava_engine.model.placement import move_between_places

    model = random_model(config)
    layers = list(model.language_model.layers)
    devices = [torch.device("cpu"), *[torch.device("meta")] * (len(layers) - 1)]
    for module in (*layers[1:], model.language_model.norm, model.language_model.lm_head):
        module.to("meta")
    move_between_places(layers, devices)
    cache = KeyValueCache(config.language, device=devices, dtype=torch.float32)
    with torch.inference_mode():
        logits = prefill(model, model.language_model.embed(torch.tensor([[1, 5, 9, 20]])), cache)
        again = decode(model, [7], [cache])[0]
    assert logits.device == again.device == torch.device("meta")
    assert logits.shape == again.shape == (config.language.vocab_size,)
    assert [layer.keys.device.type for layer in cache.layers] == ["cpu", *["meta"] * (len(layers) - 1)]
