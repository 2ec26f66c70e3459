"""A tiny model folder to train, made as `llava train tiny` makes it but of random parts; and rows with pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from training.embedded.settings import TinyShape
from training.embedded.text import LANGUAGE_FILE, new_language_model
from training.embedded.tiny import language_config, make_tokenizer, put_together, vision_config
from training.embedded.tower import HEADS_FILE, TOWER_FILE, PatchHeads, new_tower
from training.saving import write_tensors


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a model of 96 pixels, 16 patches and two thin layers each."""
    folder: Path = tmp_path_factory.mktemp("start")
    shape = TinyShape(
        patch=24,
        **{"tower_width": 32, "tower_layers": 2, "tower_heads": 4, "tower_mlp": 48},
        **{"width": 32, "layers": 2, "heads": 4, "mlp": 48, "vocabulary": 700},
    )
    tokenizer = make_tokenizer(shape, folder / "tokenizer", seed=0, lines=1000)
    language = new_language_model(language_config(shape, tokenizer), seed=0).state_dict()
    del language["lm_head.weight"]
    for name in ("tower", "language"):
        (folder / name).mkdir()
    write_tensors(new_tower(vision_config(shape), seed=0).state_dict(), folder / "tower" / TOWER_FILE)
    write_tensors(PatchHeads(32).state_dict(), folder / "tower" / HEADS_FILE)
    write_tensors(language, folder / "language" / LANGUAGE_FILE)
    parts = {name: folder / name for name in ("tower", "language", "tokenizer")}
    put_together(shape, **parts, out=folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, and rows.json about them."""
    folder: Path = tmp_path_factory.mktemp("photos")
    rows: list[dict[str, Any]] = []
    for number, colour in enumerate(("red", "green", "blue", "yellow")):
        image = Image.new("RGB", (60 + 20 * number, 80), "white")
        ImageDraw.Draw(image).ellipse((10, 10, 50, 50), fill=colour)
        image.save(folder / f"{colour}.png")
        turns = [("human", "<image>\nWhat is it?"), ("gpt", f"A {colour} circle."), ("human", "Sure?"), ("gpt", "Yes.")]
        said = [{"from": speaker, "value": text} for speaker, text in turns]
        rows.append({"id": number, "image": f"{colour}.png", "conversations": said})
    hello = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello! Show me a picture."}]
    rows.append({"id": "text", "conversations": hello})
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    captions = [row | {"conversations": row["conversations"][:2]} for row in rows[:4]]
    (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    return folder


@pytest.fixture
def silent() -> Callable[[str], None]:
    """Takes progress lines and keeps them to itself."""
    return lambda _line: None
