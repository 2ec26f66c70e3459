"""pretrain and finetune, on rows and on the world: what moves, what stays, what is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from llava_engine.checkpoints.load import load_trainable
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.spans import spans
from llava_engine.conversation.templates import get
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from llava_engine.errors import DataError, ModelError
from llava_engine.model.llava import LlavaModel
from llava_engine.opening import Source
from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.tiny import TILED, complete
from training.config import FlatThenLinear, Optim, Run, Task
from training.data.batches import BatchSource
from training.data.llava_json import read_rows
from training.data.order import rows_of_step
from training.data.samples import Samples
from training.embedded.settings import Curriculum
from training.embedded.world_objective import WorldStage
from training.rows_stage import RowsStage
from training.trainer import Outcome, train
from training.tuning import DataSettings, tune

Say = Callable[[str], None]
QUICK = Optim(learning_rate=5e-3, schedule=FlatThenLinear(warmup=2))


def tensors(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def moved(before: Path, after: Path) -> set[str]:
    """Which of tower, projector and language model differ in any bit."""
    old, new = tensors(before), tensors(after)
    assert old.keys() == new.keys()
    parts = {"vision_tower": "tower", "multi_modal_projector": "projector", "language_model": "language"}
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    return {word for part, word in parts.items() if any(part in name for name in changed)}


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def quick_run(out: Path, steps: int, *, resume: bool = False) -> Run:
    return Run(out, steps=steps, workers=0, log_steps=5, threads=1, precision="fp32", resume=resume)


def test_a_strangers_link_is_not_brought_into_what_is_written(
    start: Path, photos: Path, tmp_path: Path, silent: Say
) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(start / "model", strange)
    (tmp_path / "private").write_text("mine")
    (strange / "chat_template.jinja").symlink_to(tmp_path / "private")
    with pytest.raises(ModelError, match=r"chat_template\.jinja is a link that leads out"):
        tune(
            "finetune",
            Source(str(strange)),
            DataSettings(str(photos / "rows.json"), photos, batch=5),
            quick_run(tmp_path / "out", 1),
            QUICK,
            Curriculum(unfreeze_at=1),
            silent,
        )
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize(
    ("task", "data", "curriculum", "moves"),
    [
        ("pretrain", "captions.json", Curriculum(), {"projector"}),
        ("finetune", "rows.json", Curriculum(unfreeze_at=1), {"projector", "language"}),
        ("finetune", "rows.json", Curriculum(unfreeze_at=0.5), {"projector", "language", "tower"}),
    ],
)
def test_rows_move_what_they_should(
    start: Path,
    photos: Path,
    tmp_path: Path,
    silent: Say,
    task: Task,
    data: str,
    curriculum: Curriculum,
    moves: set[str],
) -> None:
    settings = DataSettings(str(photos / data), photos, batch=5)
    tune(task, Source(str(start)), settings, quick_run(tmp_path, 20), QUICK, curriculum, silent)
    assert moved(start, tmp_path) == moves
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]


@pytest.mark.parametrize(
    ("task", "curriculum", "moves"),
    [
        ("pretrain", Curriculum(), {"projector"}),
        ("finetune", Curriculum(unfreeze_at=1), {"projector", "language"}),
        ("finetune", Curriculum(unfreeze_at=0.5), {"projector", "language", "tower"}),
    ],
)
def test_the_world_moves_what_it_should(
    start: Path, tmp_path: Path, silent: Say, task: Task, curriculum: Curriculum, moves: set[str]
) -> None:
    tune(task, Source(str(start)), DataSettings("world"), quick_run(tmp_path, 12), QUICK, curriculum, silent)
    assert moved(start, tmp_path) == moves
    if "tower" not in moves:  # with the tower its labels come into the loss
        assert losses(tmp_path)[-1] < losses(tmp_path)[0]


def test_a_world_run_stopped_and_resumed_equals_one_never_stopped(
    start: Path, tmp_path: Path, silent: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    curriculum = Curriculum(unfreeze_at=0.5, first_until=0.4)  # the pictures become harder in between

    def go(run: Run) -> Outcome:
        return tune("finetune", Source(str(start)), DataSettings("world"), run, QUICK, curriculum, silent)

    go(quick_run(tmp_path / "straight", 10))
    plain = WorldStage.loss

    def stopping(self: WorldStage, batch: Any, step: int, progress: float) -> Any:
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, batch, step, progress)

    with monkeypatch.context() as patch:
        patch.setattr(WorldStage, "loss", stopping)
        outcome = go(quick_run(tmp_path / "parts", 10))
    assert (outcome.step, outcome.interrupted) == (7, True)
    go(quick_run(tmp_path / "parts", 10, resume=True))
    straight, parts = tensors(tmp_path / "straight"), tensors(tmp_path / "parts")
    assert all(torch.equal(straight[name], parts[name]) for name in straight)


def test_ids_of_rows_are_those_of_chat(start: Path, photos: Path) -> None:
    folder = start / "model"
    tokenizer, template = Tokenizer.from_folder(folder), get("v1")
    preprocessing = Preprocessing.from_file(folder / "preprocessor_config.json")
    rows = tuple(read_rows(photos / "rows.json"))
    samples = Samples(rows, photos, encoder_of(tokenizer), preprocessing, 512)
    sample = samples[0]
    picture = open_picture(str(photos / "red.png"))
    chat = Conversation((Message.user("What is it?", [picture]),), system="")
    asked = assemble(spans(chat, template), tokenizer, [16], tokenizer.special_ids["<image>"])
    assert sample.ids[: len(asked.ids)].tolist() == list(asked.ids)
    torch.testing.assert_close(sample.pixels[0], torch.from_numpy(preprocessing.pixels(picture)))
    learned = [int(token) for token in sample.targets if token >= 0]
    end = tokenizer.special_ids["</s>"]
    assert tokenizer.decode(learned[: learned.index(end)]).strip() == "A red circle."
    assert learned.count(end) == 2


def test_every_row_comes_once_a_round(start: Path, photos: Path) -> None:
    folder = start / "model"
    tokenizer = Tokenizer.from_folder(folder)
    preprocessing = Preprocessing.from_file(folder / "preprocessor_config.json")
    rows = tuple(read_rows(photos / "rows.json"))
    samples = Samples(rows, photos, encoder_of(tokenizer), preprocessing, 512)
    source = BatchSource(samples, size=2, seed=1)
    read = [number for step in range(5) for number in rows_of_step(step, 2, len(rows), seed=1)]
    assert torch.equal(source[1].ids[0][: len(samples[read[2]].ids)], samples[read[2]].ids)
    assert sorted(read[:5]) == sorted(read[5:]) == [0, 1, 2, 3, 4]
    assert read[:5] != read[5:]


def test_a_missing_picture_names_its_row(start: Path, photos: Path, tmp_path: Path, silent: Say) -> None:
    rows = json.loads((photos / "captions.json").read_text())[:1]
    for image, says in (("none.png", "none.png"), ("../secret.png", "outside")):
        rows[0]["image"] = image
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows))
        settings = DataSettings(str(path), photos, batch=1)
        with pytest.raises(DataError, match=r"rows\.json, row 0") as raised:
            tune("finetune", Source(str(start)), settings, quick_run(tmp_path / "out", 1), QUICK, Curriculum(), silent)
        assert says in str(raised.value)


def test_a_model_with_tiles_is_refused(photos: Path, tmp_path: Path, silent: Say) -> None:
    folder, settings = complete(TILED, tmp_path / "tiled"), DataSettings(str(photos / "rows.json"), photos, batch=1)
    with pytest.raises(ModelError, match="tiles"):
        tune("finetune", Source(str(folder)), settings, quick_run(tmp_path / "out", 1), QUICK, Curriculum(), silent)


def some_samples(start: Path, photos: Path, *, context: int = 512) -> Samples:
    folder = start / "model"
    tokenizer = Tokenizer.from_folder(folder)
    rows = tuple(read_rows(photos / "rows.json"))
    preprocessing = Preprocessing.from_file(folder / "preprocessor_config.json")
    return Samples(rows, photos, encoder_of(tokenizer), preprocessing, context)


def encoder_of(tokenizer: Tokenizer) -> PromptEncoder:
    return PromptEncoder(tokenizer, get("v1"), "", tokenizer.special_ids["<image>"], lambda size: 16)


def test_a_sample_is_cut_at_the_context_and_learns_what_is_left(start: Path, photos: Path) -> None:
    whole = some_samples(start, photos)[0]
    context = len(whole.ids) - 3
    cut = some_samples(start, photos, context=context)[0]
    assert torch.equal(cut.ids, whole.ids[:context])
    # The last one's target is the first token that is cut off; nothing asks for it, and nothing is lost by it.
    assert torch.equal(cut.targets[:-1], whole.targets[: context - 1])
    assert (cut.targets >= 0).any()


def test_a_picture_that_does_not_fit_into_the_context_is_refused(start: Path, photos: Path) -> None:
    with pytest.raises(DataError, match=r"row 0.* do not fit into 12 tokens"):
        some_samples(start, photos, context=12)[0]


def test_text_alone_aligns_nothing_and_ends_nothing(start: Path, photos: Path, tmp_path: Path, silent: Say) -> None:
    """Rows without a picture, among those that the projector is aligned on: a step of them moves nothing."""
    said = [{"from": "human", "value": "Say hello."}, {"from": "gpt", "value": "Hello."}]
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"id": "t", "conversations": said}]))
    stage = RowsStage("pretrain", load(start), source_of(start, rows), lambda model, out: None)
    train(stage, quick_run(tmp_path / "out", 2), Optim(1e-2, weight_decay=0.0))
    before, after = tensors(start), stage.model.state_dict()
    assert all(torch.equal(after[name].cpu(), tensor) for name, tensor in before.items() if name in after)


def test_the_tower_learns_at_its_own_rate(start: Path, photos: Path, tmp_path: Path) -> None:
    """AdamW's first step moves every weight that has a gradient by the rate itself, whatever the gradient."""
    source = source_of(start, photos / "rows.json", photos)
    stage = RowsStage("finetune", load(start), source, lambda model, out: None, unfreeze_at=0.0, tower_rate=0.1)
    before = {name: tensor.clone() for name, tensor in stage.model.state_dict().items()}
    optim = Optim(1e-3, weight_decay=0.0, clip=1e9, schedule=FlatThenLinear(warmup=0, flat=1.0))
    train(stage, quick_run(tmp_path, 1), optim)
    moved_by = {name: (tensor - before[name]).abs().max().item() for name, tensor in stage.model.state_dict().items()}
    tower = max(by for name, by in moved_by.items() if name.startswith("vision_tower"))
    others = max(by for name, by in moved_by.items() if not name.startswith("vision_tower"))
    assert others == pytest.approx(1e-3, rel=0.02)
    assert tower == pytest.approx(1e-4, rel=0.02)


def load(start: Path) -> LlavaModel:
    checkpoint = open_checkpoint(start / "model")
    return load_trainable(checkpoint.config, checkpoint.tensors)


def source_of(start: Path, rows: Path, images: Path | None = None) -> BatchSource:
    folder = start / "model"
    tokenizer = Tokenizer.from_folder(folder)
    preprocessing = Preprocessing.from_file(folder / "preprocessor_config.json")
    given = tuple(read_rows(rows))
    return BatchSource(Samples(given, images, encoder_of(tokenizer), preprocessing, 512), 2, seed=0)
