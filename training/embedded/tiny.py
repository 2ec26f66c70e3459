"""The tiny LLaVA to begin with: its shape, and the stages that make its parts (`llava train tiny`).

Tower, tokenizer and language model are made apart, each by its own stage in its own folder, and put together here with
a new projector. Knows the layout of a model folder only through the engine's own writer.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import nn

from llava_engine.checkpoints.save import save_checkpoint
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.files.atomic import replaced_file, write_text
from llava_engine.model.config import LanguageConfig, LlavaConfig, VisionConfig
from llava_engine.model.llava import LlavaModel
from training.config import Run
from training.embedded.picture_world.captions import sentences
from training.embedded.picture_world.phrases import plural_of
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS
from training.embedded.settings import Part, TinyShape
from training.embedded.text import LANGUAGE_FILE, TextSource, TextStage, new_language_model
from training.embedded.tower import HEADS_FILE, MEAN, SPREAD, TOWER_FILE, TowerStage, new_tower
from training.embedded.vocabulary import IMAGE, learn_tokenizer, save_tokenizer
from training.saving import read_into
from training.trainer import Outcome, train

FEATURE_LAYER = -1  # the tower is ours: its last layer is made to be read
TEMPLATE, SYSTEM = "v1", ""
MODEL_FOLDER = "model"  # of a run's folder

Say = Callable[[str], None]


def vision_config(shape: TinyShape) -> VisionConfig:
    """The tower's shape in CLIP's terms."""
    return VisionConfig(
        image_size=shape.picture,
        patch_size=shape.patch,
        hidden_size=shape.tower_width,
        intermediate_size=shape.tower_mlp,
        num_hidden_layers=shape.tower_layers,
        num_attention_heads=shape.tower_heads,
        hidden_act="gelu",
    )


def language_config(shape: TinyShape, tokenizer: Tokenizer) -> LanguageConfig:
    """The language model's shape, for the tokenizer that was learned."""
    assert tokenizer.bos_id is not None and tokenizer.eos_id is not None
    return LanguageConfig(
        vocab_size=tokenizer.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.width // shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_id,
        eos_token_ids=(tokenizer.eos_id,),
    )


def train_tower(shape: TinyShape, run: Run, part: Part, say: Say) -> Outcome:
    """Stage 0, into the run's folder."""
    tower = new_tower(vision_config(shape), run.seed)
    return train(TowerStage(tower, layer=FEATURE_LAYER, seed=run.seed, size=part.size), run, part.optim, say)


def make_tokenizer(shape: TinyShape, folder: Path, seed: int, *, lines: int = 20_000) -> Tokenizer:
    """Learn the tokenizer from the world's language and write it; read it back as the engine reads it."""
    rng = random.Random(seed)
    texts = [sentences(rng) for _ in range(lines)]
    marks = ["USER: ", " ASSISTANT:", "\nx"] * (lines // 8)  # what the template adds is one piece each
    whole = [*KINDS, *COLOUR_NAMES, *map(plural_of, KINDS)]
    save_tokenizer(
        learn_tokenizer([*marks, *texts], pieces=shape.vocabulary, whole=whole), folder, context=shape.context
    )
    return Tokenizer.from_folder(folder)


def train_language(shape: TinyShape, run: Run, tokenizer: Tokenizer, part: Part, say: Say) -> Outcome:
    """The language model on text alone, into the run's folder."""
    source = TextSource(run.seed, tokenizer, part.size)
    return train(
        TextStage(new_language_model(language_config(shape, tokenizer), run.seed), source), run, part.optim, say
    )


def put_together(shape: TinyShape, *, tower: Path, language: Path, tokenizer: Path, out: Path, seed: int) -> None:
    """Tower, language model and a new projector -> `out`/model, as a checkpoint that everything else can start from.

    Raises `DataError` when one of the parts is not made yet.
    """
    read = Tokenizer.from_folder(tokenizer)
    config = LlavaConfig(
        vision=vision_config(shape),
        language=language_config(shape, read),
        vision_feature_layer=FEATURE_LAYER,
        image_token_id=read.special_ids[IMAGE],
        template=TEMPLATE,
        system=SYSTEM,
    )
    model = LlavaModel(config)
    read_into(model.vision_tower, tower / TOWER_FILE)
    read_into(model.language_model, language / LANGUAGE_FILE, tied={"lm_head.weight": "embed_tokens.weight"})
    new_projector(model, seed)
    with tempfile.TemporaryDirectory() as draft:
        companions = Path(draft)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tokenizer / name, companions / name)
        for name, settings in _settings(shape, config).items():
            write_text(companions / name, json.dumps(settings, indent=2) + "\n")
        save_checkpoint(model, out / MODEL_FOLDER, companions=companions)
    with replaced_file(out / HEADS_FILE) as part:
        shutil.copyfile(tower / HEADS_FILE, part)


def new_projector(model: LlavaModel, seed: int) -> None:
    """Start the projector: normal weights of 1/√fan-in."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.projector.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)


def _settings(shape: TinyShape, config: LlavaConfig) -> dict[str, dict[str, object]]:
    """What a Hugging Face LLaVA folder has beside weights and tokenizer."""
    side = shape.picture
    return {
        "preprocessor_config.json": {
            "image_processor_type": "LlavaImageProcessor",
            "processor_class": "LlavaProcessor",
            "do_convert_rgb": True,
            "do_pad": True,
            "do_resize": True,
            "size": {"shortest_edge": side},
            "do_center_crop": True,
            "crop_size": {"height": side, "width": side},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(MEAN),
            "image_std": list(SPREAD),
            "resample": 3,
        },
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "image_token": IMAGE,
            "patch_size": shape.patch,
            "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1,
        },
        "generation_config.json": {
            "bos_token_id": config.language.bos_token_id,
            "eos_token_id": config.language.eos_token_ids[0],
            "do_sample": False,
        },
    }
