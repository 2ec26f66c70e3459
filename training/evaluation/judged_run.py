"""Many things to ask a judge -> a file of rows: several at once, gone on with after a kill, in order at the end.

Each row is a line as soon as it is there: of the file itself where that is JSON lines, else of NAME.begun.jsonl beside
it. NAME.run.json says what began it. What came to nothing is a line of NAME.failed.jsonl, and a further run tries it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from llava_engine.contract import never
from llava_engine.errors import DataError, EngineAwayError
from llava_engine.files.atomic import write_text
from llava_engine.files.lock import held
from training.evaluation.answers import json_lines, read_json
from training.evaluation.judge import Ask, Judge, StoppedError
from training.evaluation.line_file import LineFile, line, mend

Row = dict[str, Any]
Task = TypeVar("Task")

LOST = 3
"""So many, one after another and not fewer than are asked at once, that got no reply: the judge is gone."""

_POLL_S = 0.05
_WAY = "url"  # the same model may be reached in another way; it is written down and no more


@dataclass(frozen=True)
class Bad:
    """A reply that can not be used: why, and the reply as it is ("" where there was none)."""

    why: str
    reply: str = ""


@dataclass(frozen=True)
class Form:
    """How a file of rows looks.

    Attributes:
        id: the field of a row that names what it is of.
        whole: all rows -> the file's text.
        read: the file -> its rows; None where it is JSON lines.
    """

    id: str
    whole: Callable[[Sequence[Row]], str]
    read: Callable[[Path], list[Row]] | None = None


def as_lines(rows: Sequence[Row]) -> str:
    """A file of JSON lines."""
    return "".join(map(line, rows))


@dataclass(frozen=True)
class Work(Generic[Task]):
    """What is to be asked.

    Attributes:
        tasks: by id, in the order of the file that is to be.
        asks: what a task asks at least.
        do: asks, and makes a row; `cancelled` is for the judge.
        header: what decides the rows: another header does not go on with them.
        form: of the file.
    """

    tasks: Mapping[str, Task]
    asks: Callable[[Task], Sequence[Ask]]
    do: Callable[[Judge, Task, Callable[[], bool]], Row | Bad]
    header: Mapping[str, Any]
    form: Form


@dataclass(frozen=True)
class Ran:
    """How a run ended: rows that there are (`kept` of them from before), ids that came to nothing, and all wanted."""

    rows: Mapping[str, Row]
    kept: int
    failed: Mapping[str, Bad]
    wanted: int

    @property
    def whole(self) -> bool:
        """Whether everything was tried."""
        return len(self.rows) + len(self.failed) == self.wanted


def hashes(**files: Path) -> dict[str, str]:
    """The beginning of each file's SHA-256, for a header. Raises DataError."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise DataError(f"{path} can not be read: {error.strerror}.") from None
    return found


def beside(out: Path, ending: str) -> Path:
    """A file beside a file of rows, as "failed.jsonl"."""
    return out.with_name(f"{out.stem}.{ending}")


def carry_out(
    work: Work[Task],
    judge: Judge,
    out: Path,
    jobs: int,
    *,
    restart: bool = False,
    cancelled: Callable[[], bool] = never,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ran:
    """Ask all that has no row yet.

    Raises:
        DataError: another run's rows are there, or the file is not one of these.
        JudgeRefusedError: the judge takes no such questions; what it said so far is kept.
        EngineAwayError: it is gone; what it said so far is kept.
        StorageError: another process writes this file, or it can not be written.
    """
    with held(out.with_name(f".{out.name}.lock"), out):
        growing = out if work.form.read is None else beside(out, "begun.jsonl")
        failures = beside(out, "failed.jsonl")
        if restart:
            for path in (out, growing, failures, beside(out, "run.json")):
                path.unlink(missing_ok=True)
        done = {key: row for key, row in _begin(out, growing, work).items() if key in work.tasks}
        kept = len(done)
        failed: dict[str, Bad] = {}
        left = {key: task for key, task in work.tasks.items() if key not in done}
        try:
            with (
                LineFile.opened(growing) as lines,
                LineFile.opened(failures) as aside,
                closing(_ended(work, judge, left, jobs, cancelled)) as ended,
            ):
                for key, outcome in ended:
                    if isinstance(outcome, Bad):
                        failed[key] = outcome
                        aside.write({"id": key, "error": outcome.why, "reply": outcome.reply})
                    else:
                        lines.write(outcome)
                        done[key] = outcome
                    on_progress(len(done) + len(failed), len(work.tasks))
        finally:
            _tidy(failures, done)
        ran = Ran(done, kept, failed, len(work.tasks))
        if ran.whole:
            write_text(out, work.form.whole([done[key] for key in work.tasks if key in done]))
            if growing != out:
                growing.unlink(missing_ok=True)
        return ran


def _begin(out: Path, growing: Path, work: Work[Task]) -> dict[str, Row]:
    """The rows that are there."""
    place, header = beside(out, "run.json"), json.loads(json.dumps(work.header))
    if place.exists():
        before = read_json(place, dict)
        names = dict.fromkeys(name for name in (*before, *header) if name != _WAY)
        differ = [f"{name}: {before.get(name)} there, {header.get(name)} now" for name in names
                  if before.get(name) != header.get(name)]  # fmt: skip
        if differ:
            raise DataError(
                f"{out.name} was begun otherwise: {'; '.join(differ)}.",
                "Write to another file, or begin again with --restart.",
            )
    elif out.exists():
        raise DataError(f"{out.name} is there, and nothing says what made it.", "Write to another file.")
    if beside(out, "failed.jsonl").exists():
        mend(beside(out, "failed.jsonl"))
    rows: list[Row] = []
    if work.form.read is not None and out.exists():
        rows += work.form.read(out)
    if growing.exists():
        mend(growing)
        rows += [row for _, row in json_lines(growing, told_half=lambda: None) if row is not None]
    write_text(place, json.dumps(header, indent=2, ensure_ascii=False) + "\n")
    return {str(row.get(work.form.id)): row for row in rows}


def _ended(
    work: Work[Task], judge: Judge, left: Mapping[str, Task], jobs: int, cancelled: Callable[[], bool]
) -> Generator[tuple[str, Row | Bad]]:
    """What became of each, as it ends; so many are asked at once, and no thread is left afterwards."""
    stopped = threading.Event()
    waiting = iter(left.items())
    open_: dict[Future[Row | Bad], str] = {}
    lost = 0
    with ThreadPoolExecutor(jobs, thread_name_prefix="llava-judge") as pool:
        try:
            while not cancelled():
                while len(open_) < jobs and (item := next(waiting, None)) is not None:
                    open_[pool.submit(work.do, judge, item[1], stopped.is_set)] = item[0]
                if not open_:
                    return
                for future in wait(open_, _POLL_S, FIRST_COMPLETED).done:
                    key = open_.pop(future)
                    try:
                        outcome = future.result()
                    except EngineAwayError as error:
                        lost += 1
                        if lost >= max(LOST, jobs):
                            raise
                        outcome = Bad(error.cause)
                    else:
                        lost = 0
                    yield key, outcome
        except StoppedError:
            return
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def _tidy(failures: Path, done: Mapping[str, Row]) -> None:
    """Leave the bad replies to what has no row yet, those of earlier runs too."""
    rows = [row for _, row in json_lines(failures, told_half=lambda: None) if row and str(row.get("id")) not in done]
    if rows:
        write_text(failures, as_lines(rows))
    else:
        failures.unlink(missing_ok=True)
