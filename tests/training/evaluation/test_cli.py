"""`llava eval pictures` as typed, with an engine that is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import llava_engine
from llava_engine.errors import StorageError
from tests.training.evaluation.test_pictures import Blind
from training.evaluation.cli import app


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """`llava_engine.open_model` gives a model that always says yes."""
    engine = Blind("Yes.")
    engine.card = replace(engine.card, kernel="plain-float32")
    monkeypatch.setattr(llava_engine, "open_model", lambda source, placement, **_: engine)


def test_prints_a_table_and_writes_it(blind: None, tmp_path: Path) -> None:
    file = tmp_path / "table.md"
    result = CliRunner().invoke(app, ["pictures", "--pictures", "2", "--markdown", str(file)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("| family | new pictures |")
    assert file.read_text(encoding="utf-8") == result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]


def test_a_file_with_marks_keeps_the_rest_of_its_text(blind: None, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("# Title\n\n<!-- figures:begin -->\nold\n<!-- figures:end -->\n\nThe end.\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["pictures", "--pictures", "2", "--markdown", str(file)])
    table = result.stdout
    text = f"# Title\n\n<!-- figures:begin -->\n{table}<!-- figures:end -->\n\nThe end.\n"
    assert file.read_text(encoding="utf-8") == text


def test_json_is_one_object(blind: None) -> None:
    result = CliRunner().invoke(app, ["pictures", "-n", "2", "--json"])
    told = json.loads(result.stdout)
    assert told["model"] == "blind" and told["pictures"] == 2
    assert set(told["all"]) == set(told["scores"])
    assert told["kernel"] == "plain-float32"


def test_too_few_pictures_is_a_usage_error(blind: None) -> None:
    assert CliRunner().invoke(app, ["pictures", "-n", "1"]).exit_code == 2


def test_a_folder_that_is_not_there_is_a_plain_error(blind: None, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pictures", "-n", "2", "--markdown", str(tmp_path / "none" / "table.md")])
    assert isinstance(result.exception, StorageError)
