"""`llava train pretrain` and `llava train finetune`: a model folder and data in, a trained model folder out.

Reads a model with the engine's own loader, chooses the stage for the data, trains, writes the model back in the layout
that it came in. Knows no command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from llava_engine.checkpoints.load import load_trainable
from llava_engine.checkpoints.open import open_source
from llava_engine.checkpoints.save import COMPANIONS, save_checkpoint
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.templates import get
from llava_engine.errors import DataError, ModelError, UsageError
from llava_engine.files.safety import own_files
from llava_engine.model.config import LlavaConfig, MptConfig
from llava_engine.model.llava import LlavaModel
from llava_engine.opening import Source
from llava_engine.pictures.processing import Preprocessing
from training.config import Optim, Run, Task, optim_of_rows
from training.data.batches import BatchSource
from training.data.llava_json import read_rows
from training.data.samples import Samples
from training.embedded.picture_world.scenes import SIDE
from training.embedded.settings import PLAN, Curriculum
from training.embedded.tiny import MODEL_FOLDER
from training.embedded.tower import HEADS_FILE, PatchHeads
from training.embedded.world_batches import WorldSource
from training.embedded.world_objective import WorldStage
from training.embedded.writing import Writer
from training.rows_stage import RowsStage
from training.saving import read_into
from training.trainer import Outcome, Stage, train

WORLD = "world"
ROWS_A_STEP: dict[Task, int] = {"pretrain": 32, "finetune": 16}
TEMPLATE = "v1"  # of a model that does not say which it was trained with


@dataclass(frozen=True)
class DataSettings:
    """What to train on.

    Attributes:
        data: "world" for the picture world, or a file of rows (data/llava_json.py).
        images: the folder of the rows' pictures.
        batch: rows a step, or pictures of the world; None for what such data is trained with.
        context: the most tokens of a row; the model's own length where None. The world has its own measure.
    """

    data: str
    images: Path | None = None
    batch: int | None = None
    context: int | None = None


def tune(
    task: Task,
    start: Source,
    settings: DataSettings,
    run: Run,
    optim: Optim | None,
    curriculum: Curriculum,
    say: Callable[[str], None],
) -> Outcome:
    """Train a model.

    Args:
        task: "pretrain" moves the projector, on captions; "finetune" projector and language model, on conversations.
        start: a model, or the folder of the run that made it.
        settings: what on.
        run: how long, and where to.
        optim: how weights move; None for what such data is trained with.
        curriculum: how finetuning goes on; of it rows heed `unfreeze_at` and `tower_rate` only.
        say: shows progress lines.

    Raises:
        ModelError: the model can not be read.
        UsageError: a context that the model or the data does not have.
        DataError: the data can not.
    """
    checkpoint = open_source(of_run(start))
    folder = checkpoint.folder
    config = checkpoint.config
    if isinstance(config.language, MptConfig):
        raise ModelError(
            f"{folder} is a LLaVA-MPT; training takes language models of the Llama family.",
            "Start from a LLaVA over Llama, Vicuna or Mistral.",
        )
    if config.tiles is not None:
        raise ModelError(
            f"{folder} sees pictures in tiles; training takes models that see a picture once.",
            "Start from a LLaVA 1.5 or older.",
        )
    if checkpoint.found.layout != "hf":
        raise ModelError(
            f"{folder} is a LLaVA {checkpoint.found.generation}; training takes the Hugging Face layout.",
            f"Convert it first: llava convert {folder} --to hf --out FOLDER",
        )
    if checkpoint.found.form != "whole":
        raise ModelError(
            f"{folder} is no whole model but goes over {checkpoint.found.base}; training writes whole ones.",
            f"Merge it first: llava convert {folder} --base {checkpoint.found.base} --to merged --out FOLDER",
        )
    longest = config.language.max_position_embeddings
    if settings.context is not None and settings.data == WORLD:
        raise UsageError("--context does not go with --data world.", "Its conversations are short by themselves.")
    if settings.context is not None and settings.context > longest:
        raise UsageError(f"--context can not be {settings.context:,}.", f"This model has 1 to {longest:,}.")
    for note in checkpoint.found.notes:
        say(note)
    model = load_trainable(config, checkpoint.tensors)
    template = get("plain" if task == "pretrain" else config.template or TEMPLATE)
    encoder = replace(checkpoint.encoder, template=template, system=config.system)
    if settings.data == WORLD:
        stage = _world_stage(task, folder, model, encoder, settings.batch, run, curriculum)
    else:
        stage = _rows_stage(task, folder, model, encoder, checkpoint.preprocessing, settings, run, curriculum)
    usual = (
        getattr(PLAN, task).optim
        if settings.data == WORLD
        else optim_of_rows(task, linear_projector=config.projector == "linear")
    )
    return train(stage, run, optim or usual, say)


def of_run(source: Source) -> Source:
    """The model that a run made, where its folder is meant; the source itself else."""
    outer = Path(source.model or "")
    made = source.model is not None and (outer / MODEL_FOLDER).is_dir() and not (outer / "config.json").is_file()
    return replace(source, model=str(outer / MODEL_FOLDER)) if made else source


def _keeper(folder: Path, config: LlavaConfig) -> Callable[[LlavaModel, Path], None]:
    """Writes a model into a run's folder, with tokenizer and picture settings as `folder` has them.

    It says which template it was trained with, so that chat uses the same.
    """
    if config.template is None:
        config = replace(config, template=TEMPLATE)

    own_files(folder, COMPANIONS)  # a link that leads out of it is refused now, not when there is something to save

    def keep(model: LlavaModel, out: Path) -> None:
        model.config = config
        save_checkpoint(model, out / MODEL_FOLDER, companions=folder)

    return keep


def _world_stage(
    task: Task,
    folder: Path,
    model: LlavaModel,
    encoder: PromptEncoder,
    batch: int | None,
    run: Run,
    curriculum: Curriculum,
) -> Stage:
    config = model.config
    if config.vision.image_size != SIDE:
        raise DataError(
            f"The picture world is drawn at {SIDE} pixels, and this model's tower reads {config.vision.image_size}.",
            "Start from `llava train tiny`, or train on rows.",
        )
    source = WorldSource(run.seed, Writer(encoder), config.vision.grid, pictures=batch or getattr(PLAN, task).size)
    if task == "pretrain":
        source = replace(source, captions_only=True, sizes=(1,))
    heads = None
    kept = folder.parent / HEADS_FILE
    if kept.is_file():
        heads = PatchHeads(config.vision.hidden_size)
        read_into(heads, kept)
    return WorldStage(task, model, source, _keeper(folder, config), heads=heads, curriculum=curriculum, seed=run.seed)


def _rows_stage(
    task: Task,
    folder: Path,
    model: LlavaModel,
    encoder: PromptEncoder,
    preprocessing: Preprocessing,
    settings: DataSettings,
    run: Run,
    curriculum: Curriculum,
) -> Stage:
    config = model.config
    samples = Samples(
        rows=tuple(read_rows(Path(settings.data))),
        images=settings.images,
        encoder=encoder,
        preprocessing=preprocessing,
        context=settings.context or config.language.max_position_embeddings,
    )
    source = BatchSource(samples, settings.batch or ROWS_A_STEP[task], run.seed)
    keep = _keeper(folder, config)
    return RowsStage(task, model, source, keep, unfreeze_at=curriculum.unfreeze_at, tower_rate=curriculum.tower_rate)
