"""The evaluation fixtures: the folder in $LLAVA_EVALUATION, by default the set beside the project; nothing by name.

Every set of them, whatever its rows are, must score as its `expected.json` says, through the commands that people type.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.source import ROOT
from training.evaluation.cli import app

FOLDER = Path(os.environ.get("LLAVA_EVALUATION", ROOT.parent / "shared" / "evaluation"))
REAL = ROOT.parent / "shared" / "real"

needs_fixtures = pytest.mark.skipif(not FOLDER.is_dir(), reason="there is no folder of evaluation fixtures")
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="there is no folder of published files")


def expected(name: str, file: str = "expected.json") -> Any:
    """What the published code makes of a set; {} where there is no such set."""
    path = FOLDER / name / file
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def scored(*words: str | Path) -> dict[str, Any]:
    """What `llava eval …` prints with --json."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def assert_same(found: Any, wanted: Any, where: str = "") -> None:
    """Equal: figures given with two decimals within 0.006, others within 1e-4; lists of ids in any order."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{where}: {key} is not there"
            assert_same(found[key], value, f"{where}/{key}")
    elif isinstance(wanted, list):
        assert sorted(map(str, found)) == sorted(map(str, wanted)), where
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=0.006 if round(wanted, 2) == wanted else 1e-4), where
    else:
        assert found == wanted, where
