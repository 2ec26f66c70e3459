"""The samples of the welcome, as they lie in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from llava_tui.samples import QUESTIONS, Sample, samples
from tests.llava_tui.stage import drawn_file


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert samples(tmp_path / "nowhere") == []


def test_the_questions_say_the_order_and_what_to_ask(tmp_path: Path) -> None:
    first, second = drawn_file(tmp_path, "a.png"), drawn_file(tmp_path, "b.png", (40, 30))
    (tmp_path / "questions.json").write_text(json.dumps({"b.png": "How many?", "a.png": "What?"}))
    assert samples(tmp_path) == [Sample(second, (40, 30), "How many?"), Sample(first, (320, 240), "What?")]


def test_broken_questions_cost_only_the_questions(tmp_path: Path) -> None:
    path = drawn_file(tmp_path)
    (tmp_path / "questions.json").write_text("[")
    assert samples(tmp_path) == [Sample(path, (320, 240), QUESTIONS[0])]


def test_what_is_no_png_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    path = drawn_file(tmp_path, "b.png")
    assert [sample.picture for sample in samples(tmp_path)] == [path]


def test_no_more_than_wanted(tmp_path: Path) -> None:
    for name in "abcd":
        drawn_file(tmp_path, f"{name}.png")
    assert len(samples(tmp_path)) == 3
