"""The published answers of LLaVA give the published numbers."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from tests.evaluation.fixtures import REAL, needs_real, scored

pytestmark = needs_real


def unpacked(name: str, out: Path) -> Path:
    out.write_bytes(lzma.decompress((REAL / name).read_bytes()))
    return out


def test_scienceqa_of_the_paper(tmp_path: Path) -> None:
    """README 90.898 %: 3855 of 4241; one text names an option that its question has not, and is named."""
    unpacked("scienceqa/problems_test.json.xz", tmp_path / "problems.json")
    unpacked("scienceqa/pid_splits.json.xz", tmp_path / "pid_splits.json")
    published = json.loads(lzma.decompress((REAL / "scienceqa/test_sqa_llava_13b_v0.json.xz").read_bytes()))
    answers = tmp_path / "answers.jsonl"
    rows = ({"question_id": of, "text": text} for of, text in published["outputs"].items())
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = scored("scienceqa", "score", answers, "--base", tmp_path, "--rule", "june")
    assert (found["table"]["ALL"]["right"], found["table"]["ALL"]["of"]) == (3855, 4241)
    assert found["unparsed"] == ["3247"]
    differ = [of for of, read in found["results"].items() if read != published["results"][of]]
    assert differ == ["3247"]  # where the original drew an option by chance


def test_pope_of_version_1_5(tmp_path: Path) -> None:
    for category in ("random", "popular", "adversarial"):
        unpacked(f"coco_pope_{category}.json.xz", tmp_path / f"coco_pope_{category}.json")
    questions = unpacked("llava_pope_test.jsonl.xz", tmp_path / "questions.jsonl")
    answers = unpacked("pope_llava-v1.5-13b.jsonl.xz", tmp_path / "answers.jsonl")
    found = scored("score", "pope", answers, "--truth", tmp_path, "--questions", questions)["categories"]
    f1 = {category: round(100 * one["f1"], 2) for category, one in found.items()}
    assert f1 == {"random": 87.14, "popular": 86.25, "adversarial": 84.46}


def test_mme_of_version_1_5(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    for task, text in json.loads(lzma.decompress((REAL / "mme_your_results.json.xz").read_bytes())).items():
        (truth / f"{task}.txt").write_text(text, encoding="utf-8")
    answers = unpacked("mme_llava-v1.5-13b.jsonl.xz", tmp_path / "answers.jsonl")
    found = scored("score", "mme", answers, "--truth", truth)
    assert found["perception"] == pytest.approx(1531.3187, abs=1e-4)
    assert found["cognition"] == pytest.approx(295.3571, abs=1e-4)
