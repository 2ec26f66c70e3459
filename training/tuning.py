"""`llava train pretrain` and `llava train finetune`: a model folder and data in, a trained model folder out.

Reads a model with the engine's own loader, chooses the stage for the data, trains, writes the model back in the layout
that it came in. Knows no command line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llava_engine.checkpoints.load import load_trainable, read_config
from llava_engine.checkpoints.save import save_checkpoint
from llava_engine.conversation.templates import get
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import DataError
from llava_engine.model.llava import LlavaModel
from training.config import Course, Optim, Run, Task
from training.saving import read_into
from training.tiny import MODEL_FOLDER
from training.tower import HEADS_FILE, PatchHeads
from training.trainer import Outcome, train
from training.world import WorldSource, Writer
from training.world_stage import WorldStage


WORLD = "world"


def model_folder(path: Path) -> Path:
    """A model's folder, given itself or the folder of the run that made it."""
    inner = path / MODEL_FOLDER
    return inner if inner.is_dir() and not (path / "config.json").is_file() else path


def keeper(companions: Path) -> Callable[[LlavaModel, Path], None]:
    """Writes a model into a run's folder, with tokenizer and picture settings as `companions` has them."""
    return lambda model, out: save_checkpoint(model, out / MODEL_FOLDER, companions=companions)


def tune(
    task: Task,
    start: Path,
    data: str,
    images: Path | None,
    run: Run,
    optim: Optim,
    course: Course,
    batch: int,
    say: Callable[[str], None],
) -> Outcome:
    """Train on the picture world (`data` is "world") or on a file of rows whose pictures are in `images`."""
    if data == WORLD:
        return tune_on_world(task, start, run, optim, course, say)
    raise NotImplementedError


def tune_on_world(
    task: Task, start: Path, run: Run, optim: Optim, course: Course, say: Callable[[str], None]
) -> Outcome:
    """Train on the picture world.

    Args:
        task: "pretrain" moves the projector, on captions; "finetune" the rest, on questions.
        start: a model's folder, or the run's that made it.
        run: how long, and where to.
        optim: how weights move.
        course: how finetuning goes on.
        say: shows progress lines.
    """
    folder = model_folder(start)
    config = read_config(folder)
    if config.vision.image_size != 96:
        raise DataError("The picture world is drawn at 96 pixels, and this model's tower reads another size.")
    model = load_trainable(folder, config)
    tokenizer = Tokenizer.from_folder(folder)
    template = get("plain" if task == "pretrain" else config.template or "v1")
    writer = Writer(tokenizer, template, config.system, config.picture_tokens, config.image_token_id)
    source = (
        WorldSource(run.seed, writer, config.vision.grid, captions_only=True, pictures=64, sizes=(1,))
        if task == "pretrain"
        else WorldSource(run.seed, writer, config.vision.grid)
    )
    heads = None
    kept = folder.parent / HEADS_FILE
    if kept.is_file():
        heads = PatchHeads(config.vision.hidden_size)
        read_into(heads, kept)
    stage = WorldStage(task, model, source, keeper(folder), heads=heads, course=course, seed=run.seed)
    return train(stage, run, optim, say)
