"""MM-Vet (Yu et al. 2023): the table from a judge's grades, by capability and by combination of capabilities.

A question without a grade counts as 0 and is named; where the judge gave none (null in the file), that run leaves it
out and it is named too. Grades are of several runs of the judge, whose spread is shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.answers import Coverage, read_json
from training.evaluation.result import Figure, Result, Scored


def score_mmvet(grades: Path, truth: Path, runs: int | None = None) -> Result:
    """The table, in per cent.

    Args:
        grades: {id: {score: [one a run], …}}; null for a run in which the judge gave none.
        truth: mm-vet.json.
        runs: how many of the runs count; None for as many as the file has.

    Raises:
        DataError: a file can not be read, or a grade is no number from 0 to 1.
    """
    questions = read_json(truth, dict)
    given = _grades(read_json(grades, dict))
    most = max((len(scores) for scores in given.values()), default=0)
    count = min(runs or most, most) or 1
    try:
        abilities = {of: sorted(row["capability"]) for of, row in questions.items()}
    except (KeyError, TypeError) as error:
        raise DataError(f"{truth.name} is not MM-Vet's file: {error!r}.") from None
    scores: dict[str, list[float | None]] = {
        of: (list(given.get(of, ()))[:count] + [0.0] * count)[:count] for of in questions
    }
    failed = tuple(of for of in questions if None in scores[of])
    by_run = [[score for of in questions if (score := scores[of][run]) is not None] for run in range(count)]
    totals = [round(100 * _mean(run), 1) for run in by_run]
    means = {of: _mean(kept) for of in questions if (kept := [score for score in scores[of] if score is not None])}
    names = sorted({name for one in abilities.values() for name in one})
    by_capability = {name: _part([mean for of, mean in means.items() if name in abilities[of]]) for name in names}
    together = sorted({"_".join(one) for one in abilities.values()})
    by_combination = {
        name: _part([mean for of, mean in means.items() if "_".join(abilities[of]) == name]) for name in together
    }
    missing = tuple(of for of in questions if len(given.get(of, ())) < count)
    unknown = tuple(of for of in given if of not in questions)
    total, spread = round(_mean(totals), 1), round(statistics.pstdev(totals), 1)
    rows = tuple(
        Scored(of, mean, str(questions[of].get("answer", "")), cluster=str(questions[of].get("imagename", "")))
        for of, mean in means.items()
    )

    def figures_of(parts: Mapping[str, Mapping[str, Any]], belongs: Callable[[str, list[str]], bool]) -> list[Figure]:
        return [
            Figure(
                name, part["percent"], part["n"], rows=tuple(row for row in rows if belongs(name, abilities[row.id]))
            )
            for name, part in parts.items()
        ]

    figures = (
        Figure("total", total, len(means), rows=rows),
        Figure("std over runs", spread),
        *figures_of(by_capability, lambda name, own: name in own),
        *figures_of(by_combination, lambda name, own: name == "_".join(own)),
    )
    details = {
        "total": total,
        "std": spread,
        "runs": totals,
        "by_capability": by_capability,
        "by_combination": by_combination,
        "failed": list(failed),
    }
    coverage = Coverage(len(given), len(questions), missing, (), unknown)
    return Result("mmvet", "grades", coverage, figures, rows, details=details, left_out=failed)


def judge_prompt(head: str, question: str, truth: str, answer: str) -> str:
    """What the judge is asked: the head with its examples, then one row of the table without its last cell."""
    wanted = truth.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return f"{head}\n{question} | {wanted} | {answer} | "


def _grades(rows: Mapping[str, Any]) -> dict[str, list[float | None]]:
    found = {}
    for of, row in rows.items():
        scores = row.get("score") if isinstance(row, dict) else None
        if not isinstance(scores, list) or not all(score is None or _is_grade(score) for score in scores):
            raise DataError(f"The grades of {of} are no numbers from 0 to 1.", "Grade this question again.")
        found[str(of)] = [None if score is None else float(score) for score in scores]
    return found


def _is_grade(score: Any) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1


def _part(scores: Sequence[float]) -> dict[str, Any]:
    return {"percent": round(100 * _mean(scores), 1), "n": len(scores)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
