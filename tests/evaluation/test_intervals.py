"""Intervals of figures that are no plain mean, beside draws that are made here, row by row."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.fixtures import scored
from training.evaluation.intervals import wilson

PICTURES = 60
ROUNDS = 1500

Rows = list[dict[str, Any]]


def lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def redrawn(rows: Rows, statistic: Callable[[Rows], float]) -> tuple[float, float]:
    """2.5 and 97.5 per cent of a statistic, over pictures drawn with replacement."""
    generator = random.Random(1)
    by_picture: dict[str, Rows] = {}
    for row in rows:
        by_picture.setdefault(row["image"], []).append(row)
    names = list(by_picture)
    values = sorted(
        statistic([row for name in generator.choices(names, k=len(names)) for row in by_picture[name]])
        for _ in range(ROUNDS)
    )
    return values[round(0.025 * ROUNDS)], values[round(0.975 * ROUNDS)]


def f1(rows: Rows) -> float:
    both = sum(row["label"] == row["said"] == "yes" for row in rows)
    return 200 * both / sum((row["label"] == "yes") + (row["said"] == "yes") for row in rows)


def test_f1_of_pope_and_its_mean_over_categories_about_the_same_pictures(tmp_path: Path) -> None:
    generator = random.Random(0)
    rows: Rows = []
    for category in ("random", "popular"):
        for picture in range(PICTURES):
            hard = picture % 3 == 0  # in both categories
            for label in ("yes", "no"):
                said = label if generator.random() > (0.6 if hard else 0.1) else "no" if label == "yes" else "yes"
                rows.append({"question_id": len(rows), "image": f"{picture}.jpg", "text": f"A {label} {len(rows)}?",
                             "category": category, "label": label, "said": said})  # fmt: skip
    for category in ("random", "popular"):
        lines(tmp_path / f"coco_pope_{category}.json", [row for row in rows if row["category"] == category])
    answers = lines(tmp_path / "a.jsonl", [{"question_id": row["question_id"], "text": row["said"]} for row in rows])
    found = scored("score", "pope", answers, "--truth", tmp_path, "--questions", lines(tmp_path / "q.jsonl", rows))
    figures = {one["name"]: one for one in found["figures"]}

    def mean(some: Rows) -> float:
        return statistics.mean(
            f1([row for row in some if row["category"] == category]) for category in ("random", "popular")
        )

    one = [row for row in rows if row["category"] == "random"]
    for name, wanted in (("random F1", redrawn(one, f1)), ("mean F1", redrawn(rows, mean))):
        assert figures[name]["interval95"] == pytest.approx(wanted, abs=1.5), name
    assert all(one["interval95"] for one in figures.values())
    assert figures["random F1"]["value"] == pytest.approx(f1(one))


def test_where_all_is_right_the_doubt_is_that_of_so_many_pictures(tmp_path: Path) -> None:
    rows: Rows = [
        {"question_id": n, "image": f"{n // 2}.jpg", "text": f"Q{n}?", "category": "x", "label": "yes", "said": "Yes"}
        for n in range(20)
    ]
    lines(tmp_path / "coco_pope_x.json", rows)
    answers = lines(tmp_path / "a.jsonl", [{"question_id": row["question_id"], "text": "Yes"} for row in rows])
    found = scored("score", "pope", answers, "--truth", tmp_path, "--questions", lines(tmp_path / "q.jsonl", rows))
    of_ten = list(wilson(10, 10))
    for one in found["figures"]:
        if one["name"] in ("x F1", "x accuracy", "x recall"):
            assert (one["value"], one["interval95"]) == (100, of_ten)


def test_points_of_mme_and_their_sum(tmp_path: Path) -> None:
    generator = random.Random(0)
    rows: Rows = []
    (tmp_path / "truth").mkdir()
    for task in ("count", "color"):
        here: Rows = []
        for picture in range(PICTURES):
            rights = [generator.random() > 0.3 for _ in range(2)]
            for number, right in enumerate(rights):
                label = "Yes" if number == 0 else "No"
                here.append({"image": f"{task}/{picture}.jpg", "task": task, "question": f"Q{number}?", "label": label,
                             "right": right, "both": all(rights)})  # fmt: skip
        text = "".join(f"{row['image'].split('/')[1]}\t{row['question']}\t{row['label']}\n" for row in here)
        (tmp_path / "truth" / f"{task}.txt").write_text(text)
        rows += here
    other = {"Yes": "No", "No": "Yes"}
    said = [{"question_id": row["image"], "prompt": row["question"],
             "text": row["label"] if row["right"] else other[row["label"]]} for row in rows]  # fmt: skip
    found = scored("score", "mme", lines(tmp_path / "a.jsonl", said), "--truth", tmp_path / "truth")
    figures = {one["name"]: one for one in found["figures"]}

    def points(some: Rows, task: str) -> float:
        mine = [row for row in some if row["task"] == task]
        return 100 * statistics.mean(row["right"] for row in mine) + 100 * statistics.mean(row["both"] for row in mine)

    count = [row for row in rows if row["task"] == "count"]
    assert figures["count"]["interval95"] == pytest.approx(redrawn(count, lambda some: points(some, "count")), abs=2.5)
    both = redrawn(rows, lambda some: points(some, "count") + points(some, "color"))
    assert figures["perception"]["interval95"] == pytest.approx(both, abs=4)
