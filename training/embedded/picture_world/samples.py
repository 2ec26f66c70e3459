"""The app's sample pictures, drawn large.

`python -m training.embedded.picture_world.samples llava_engine/embedded/samples`

Each holds one to four items, well within what the embedded model has learned, and brings a question.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.embedded.picture_world.drawing import draw_large
from training.embedded.picture_world.scenes import Item, Scene

LONGER_SIDE = 480  # pixels

SAMPLES: dict[str, tuple[Scene, str]] = {
    "night": (
        Scene(
            (
                Item("moon", "yellow", 0.77, 0.27, 0.2, (255, 215, 0), rotation=-25, form=(0.4, 0.5, 0.0)),
                Item("star", "white", 0.2, 0.2, 0.13, (255, 255, 255), rotation=8),
                Item("star", "white", 0.5, 0.36, 0.1, (250, 250, 250), rotation=-6),
                Item("cat", "orange", 0.32, 0.72, 0.24, (255, 140, 0), "edged", stroke=0.04, form=(0.8, 0.5, 0.6)),
            ),
            *(96, 72),
            (22, 28, 66),
        ),
        "What is in this picture?",
    ),
    "garden": (
        Scene(
            (
                Item("tree", "green", 0.21, 0.55, 0.26, (46, 160, 80), form=(0.45, 0.03, 0.6)),
                Item("house", "red", 0.6, 0.55, 0.25, (220, 40, 50), "edged", stroke=0.03, form=(0.62, 0.45, 0.9)),
                Item("car", "blue", 0.89, 0.73, 0.12, (40, 100, 220), form=(0.6, 0.4, 0.3)),
            ),
            *(96, 72),
            (238, 247, 226),
        ),
        "What is to the left of the house?",
    ),
    "sea": (
        Scene(
            (
                Item("boat", "red", 0.27, 0.37, 0.28, (214, 40, 40), "edged", stroke=0.03, form=(0.5, 0.4, 0.3)),
                Item("boat", "white", 0.74, 0.33, 0.22, (255, 255, 255), "edged", stroke=0.04, form=(0.2, 0.5, 0.4)),
                Item("fish", "orange", 0.63, 0.8, 0.16, (255, 140, 0), form=(0.5, 0.5, 0.45)),
            ),
            *(96, 72),
            (135, 206, 235),
        ),
        "How many boats are there?",
    ),
    "shapes": (
        Scene(
            (
                Item("circle", "blue", 0.26, 0.29, 0.21, (30, 110, 230)),
                Item("star", "yellow", 0.73, 0.3, 0.25, (255, 215, 0), "edged", stroke=0.06),
                Item("heart", "red", 0.28, 0.74, 0.2, (220, 20, 60)),
                Item("triangle", "green", 0.73, 0.75, 0.19, (40, 160, 90)),
            ),
            *(96, 72),
            (255, 255, 255),
        ),
        "What colour is the star?",
    ),
}


def write_samples(folder: Path) -> list[Path]:
    """Draw all of them into `folder`, with questions.json beside them (file name -> question)."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (scene, _) in SAMPLES.items():
        path = folder / f"{name}.png"
        image = draw_large(scene, LONGER_SIDE).quantize(128)  # few colours are in it: a palette halves the file
        image.save(path, optimize=True)
        written.append(path)
    questions = {f"{name}.png": question for name, (_, question) in SAMPLES.items()}
    (folder / "questions.json").write_text(json.dumps(questions, indent=2) + "\n", encoding="utf-8")
    return written


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
