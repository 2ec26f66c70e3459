"""A score or a comparison as one page to look at: figures with their intervals as bars, and rows, wrong ones first.

One file that needs nothing else and asks nobody: styles and pictures are inside, there is no script, the filters are
plain CSS. Whatever a model or a file says is escaped, cut to some length, and may not load, run or reorder anything:
the page's own Content-Security-Policy allows one style by its hash, and pictures that are in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from llava_engine.files.atomic import write_text
from llava_engine.terminal_safe import strip_control
from training.evaluation.compare import Comparison
from training.evaluation.report_pictures import Thumbnail, Thumbnails
from training.evaluation.result import Figure, Result, Scored
from training.evaluation.result_text import headline, interval_text, number_text, troubles
from training.evaluation.run_header import header_file, read_header

MOST_ROWS = 200
MOST_BYTES = 5_000_000

_AROUND = 1000  # bytes of the page around a picture, in each of its rows
_LEAST_OF_A_KIND = 25  # rows, so that no filter is empty where there is something to see
_ASKED, _SHORT, _SAID, _SAID_OF_TWO = 600, 200, 1200, 800  # letters; a row of five takes 12 KB at most


@dataclass(frozen=True)
class Kind:
    """One answer to "how did it end": a filter of the page.

    Attributes:
        name: shown.
        mark: "bad", "good" or "half": its colour.
        total: how many rows are so.
    """

    name: str
    mark: str
    total: int


@dataclass(frozen=True)
class Row:
    """A question: which kind of `Page.kinds` it is, what is known of it, and its picture's place on the page."""

    kind: int
    scored: Scored
    fields: tuple[tuple[str, str], ...]
    picture: int | None = None

    @property
    def shown_id(self) -> str:
        """Its id, as it may stand on a page."""
        return _cut(self.scored.id, _SHORT)


@dataclass(frozen=True)
class Bar:
    """A figure; width, low and high are per cent of the bar's room."""

    name: str
    value: str
    interval: str
    of: str
    width: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Page:
    """All that is on it.

    Attributes:
        title: of it.
        lines: what is to be known first.
        facts: what answered: names, and a value for each answer file.
        bars: the figures.
        kinds: the filters.
        rows: those that are shown.
        what: they are.
        notes: what is not as it should be on the page itself.
    """

    title: str
    lines: tuple[str, ...]
    facts: tuple[tuple[str, ...], ...]
    bars: tuple[Bar, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[Row, ...]
    what: str = "rows"
    notes: tuple[str, ...] = ()


def of_result(result: Result, answers: Path) -> Page:
    """A score of the answers of a file."""
    names = (("wrong", "bad"), ("unread", "bad"), ("no answer", "bad"), ("partly right", "half"), ("right", "good"))
    unread, answered = set(result.unread), any(row.said is not None for row in result.rows)

    def kind(row: Scored) -> int:
        if answered and row.said is None:
            return 2
        if row.score > 0:
            return 4 if row.score == 1 else 3
        return 1 if row.id in unread else 0

    rows = [Row(kind(row), row, _fields(row, (("answer", row),), _SAID)) for row in result.rows]
    scale = _scale(result.figures)
    return _page(
        f"{result.set}: {_value(result)}",
        (headline(result), *troubles(result)),
        _facts((answers,)),
        tuple(_bar(figure, scale) for figure in result.figures),
        names,
        rows,
    )


def of_comparison(found: Comparison, a: Path, b: Path) -> Page:
    """Two answer files, and the rows whose score is another."""
    rows = [
        Row(int(other.score > one.score), one, _fields(one, (("A", one), ("B", other)), _SAID_OF_TWO))
        for one, other in found.changed
    ]
    scale = _scale((*found.a.figures, *found.b.figures))
    theirs = {figure.name: figure for figure in found.b.figures}
    pairs = [
        (name, figure)
        for one in found.a.figures
        for name, figure in ((f"{one.name} · A", one), (f"{one.name} · B", theirs.get(one.name)))
        if figure is not None
    ]
    page = _page(
        f"{found.a.set}: A {_value(found.a)}, B {_value(found.b)}",
        found.summary,
        _facts((a, b)),
        tuple(replace(_bar(figure, scale), name=_cut(name, _SHORT)) for name, figure in pairs),
        (("A is better", "half"), ("B is better", "half")),
        rows,
    )
    return replace(page, what="rows that changed")


def write_report(path: Path, page: Page, pictures: Thumbnails | None = None) -> None:
    """Write it whole; of the pictures so many as `MOST_BYTES` leave room for. Raises StorageError."""
    drawn: list[Thumbnail] = []
    if pictures is not None:
        room = MOST_BYTES - len(_render(page, ()).encode())
        places: dict[Path, int | None] = {}
        rows, notes, broken, left_out = [], [], 0, 0
        for row in page.rows:
            file = pictures.file_of(row.scored)
            if file is not None and file not in places:
                places[file] = None
                made = pictures.open(file)
                size = 0 if made is None else len(_style_of(len(drawn), made)) + _AROUND
                broken += made is None
                left_out += size > room
                if made is not None and size <= room:
                    room -= size
                    places[file] = len(drawn)
                    drawn.append(made)
            rows.append(replace(row, picture=None if file is None else places[file]))
        if page.rows and not places:
            notes.append("None of these rows has a picture in the folder of pictures.")
        if broken:
            notes.append(f"{broken:,} pictures can not be opened.")
        if left_out:
            notes.append(f"{left_out:,} pictures are left out: the page would be too large.")
        page = replace(page, rows=tuple(rows), notes=tuple(notes))
    write_text(path, _render(page, drawn))


# ---- what is on the page ----


def _page(
    title: str,
    lines: Sequence[str],
    facts: tuple[tuple[str, ...], ...],
    bars: tuple[Bar, ...],
    names: Sequence[tuple[str, str]],
    rows: Sequence[Row],
) -> Page:
    by_kind = [[row for row in rows if row.kind == place] for place in range(len(names))]
    kinds = tuple(Kind(name, mark, len(found)) for (name, mark), found in zip(names, by_kind, strict=True))
    shown = [row for found in _chosen(by_kind) for row in found]
    return Page(strip_control(title), tuple(strip_control(line) for line in lines), facts, bars, kinds, tuple(shown))


def _chosen(by_kind: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """At most `MOST_ROWS` of them: a few of each kind, then of the first kinds what there is; spread over the set."""
    counts = [min(len(rows), _LEAST_OF_A_KIND) for rows in by_kind]
    for place, rows in enumerate(by_kind):
        counts[place] += min(len(rows) - counts[place], MOST_ROWS - sum(counts))
    return [
        [rows[number * len(rows) // count] for number in range(count)]
        for rows, count in zip(by_kind, counts, strict=True)
    ]


def _fields(row: Scored, said: Sequence[tuple[str, Scored]], most: int) -> tuple[tuple[str, str], ...]:
    fields = [("question", _cut(row.question, _ASKED)), ("right is", _cut(row.truth, _SHORT))]
    for name, one in said:
        fields.append((name, "no answer" if one.said is None else _cut(one.said, most)))
        if one.read is not None and one.read != one.said:
            fields.append((f"{name} read as" if len(said) > 1 else "read as", _cut(one.read, _SHORT)))
    return tuple((name, value) for name, value in fields if value.strip())


def _facts(files: Sequence[Path]) -> tuple[tuple[str, ...], ...]:
    """The answer files, and what their run headers say where they have them."""
    columns: list[dict[str, Any]] = []
    for file in files:
        try:
            header = read_header(file)
            said = {} if header is None else {name: value for name, value in asdict(header).items() if value != ""}
        except DataError:
            said = {"run": f"{header_file(file).name} can not be read"}
        columns.append({"answers": file.name, **said})
    names = list(dict.fromkeys(name for column in columns for name in column))
    return tuple((name, *(_cut(_plain(column.get(name, "")), _ASKED) for column in columns)) for name in names)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(result: Result) -> str:
    first = result.figures[0]
    return f"{first.name} {number_text(first.value)}"


def _scale(figures: Sequence[Figure]) -> float:
    """What the whole width of a bar stands for: 100 per cent, or the most points."""
    return max([100.0, *(figure.value or 0.0 for figure in figures)])


def _bar(figure: Figure, scale: float) -> Bar:
    def part(value: float | None) -> float | None:
        return None if value is None else round(100 * min(max(value / scale, 0.0), 1.0), 2)

    low, high = figure.interval or (None, None)
    of = "" if figure.of is None else f"{figure.of:,}"
    name = _cut(figure.name, _SHORT)
    return Bar(name, number_text(figure.value), interval_text(figure), of, part(figure.value), part(low), part(high))


def _cut(text: str, most: int) -> str:
    rest = len(text) - most
    return strip_control(text) if rest <= 0 else f"{strip_control(text[:most])} … and {rest:,} more letters"


# ---- the file ----


def _style_of(place: int, picture: Thumbnail) -> str:
    data = base64.b64encode(picture.jpeg).decode()
    return (
        f".p{place}{{width:{picture.width}px;aspect-ratio:{picture.width}/{picture.height};"
        f'background-image:url("data:image/jpeg;base64,{data}")}}\n'
    )


def _render(page: Page, pictures: Sequence[Thumbnail]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (here / "report.css").read_text(encoding="utf-8")
    style += "".join(_style_of(place, picture) for place, picture in enumerate(pictures))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    found = environment.get_template("report.html").render(page=page, style=style, style_hash=digest)
    return found + "\n"
