"""Every set scores as its published code does, clean files and dirty ones, by the commands that people type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.fixtures import FOLDER, assert_same, expected, needs_fixtures, scored

pytestmark = needs_fixtures


def only(folder: Path, pattern: str) -> Path:
    [found] = folder.glob(pattern)
    return found


TRUTH: dict[str, Callable[[Path], list[str | Path]]] = {
    "pope": lambda at: ["--truth", at / "coco", "--questions", at / "llava_pope_test.jsonl"],
    "mme": lambda at: ["--truth", at / "eval_tool"],
    "gqa": lambda at: ["--truth", only(at, "*_questions.json")],
    "textvqa": lambda at: ["--truth", only(at, "TextVQA_*.json")],
    "vqav2": lambda at: ["--truth", only(at, "*_annotations.json")],
    "vizwiz": lambda at: ["--truth", at / "val.json", "--questions", at / "llava_val.jsonl"],
}


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in TRUTH for file in expected(name)])
def test_a_set_by_its_published_rule(name: str, file: str) -> None:
    at = FOLDER / name
    found = scored("score", name, at / file, *TRUTH[name](at))
    assert_same(found, expected(name)[file], f"{name}/{file}")


@pytest.mark.parametrize("file", expected("mme"))
def test_mme_from_the_tree_of_its_release(file: str) -> None:
    at = FOLDER / "mme"
    assert_same(
        scored("score", "mme", at / file, "--truth", at / "MME_Benchmark_release_version"), expected("mme")[file]
    )


@pytest.mark.parametrize("file", expected("mmbench"))
def test_mmbench_by_both_rules(file: str) -> None:
    at, wanted = FOLDER / "mmbench", dict(expected("mmbench")[file])
    letters, exact = wanted.pop("option_reading"), wanted.pop("exact_letter")
    command: list[str | Path] = ["score", "mmbench", at / file, "--truth", only(at, "*.tsv")]
    assert_same(scored(*command), {**wanted, **letters})
    assert_same(scored(*command, "--rule", "exact"), exact)


@pytest.mark.parametrize("file", expected("seed"))
def test_seed_by_both_rules(file: str) -> None:
    at, wanted = FOLDER / "seed", dict(expected("seed")[file])
    letters, exact = wanted.pop("option_reading"), wanted.pop("exact_letter")
    command: list[str | Path] = ["score", "seed", at / file, "--truth", at / "SEED-Bench.json"]
    assert_same(scored(*command), {**wanted, "table": exact})
    assert_same(scored(*command, "--rule", "letters")["table"], letters)


@pytest.mark.parametrize(
    ("file", "rule"), [(file, rule) for file, rules in expected("scienceqa").items() for rule in rules]
)
def test_scienceqa_by_both_rules(file: str, rule: str) -> None:
    at = FOLDER / "scienceqa"
    found = scored("scienceqa", "score", at / file, "--base", at, "--rule", rule.split()[0])
    assert_same(found, expected("scienceqa")[file][rule])


@pytest.mark.parametrize("what", expected("mmvet"))
def test_mmvet_from_the_grades_of_several_runs(what: str) -> None:
    file, runs = what.split(", ")
    found = scored("mmvet", "table", FOLDER / "mmvet" / file, "--truth", FOLDER / "mmvet" / "mm-vet.json",
                   "--runs", runs.split()[0])  # fmt: skip
    wanted: dict[str, Any] = dict(expected("mmvet")[what])
    assert found["runs"] == wanted.pop("runs")
    assert_same(found, wanted, what)
