"""A result as text: what was scored by which rule, what is missing, and the figures with their 95 % intervals."""

from __future__ import annotations

from training.evaluation.result import Figure, Result

_NAMED = 5  # ids of a list, the others counted


def as_text(result: Result) -> str:
    """For a terminal: a line that says what it is, a line for each thing that is not as it should be, the table."""
    width = max((len(figure.name) for figure in result.figures), default=0)
    lines = [_line(figure, width) for figure in result.figures]
    return "\n".join([headline(result), *troubles(result), "", *lines])


def as_markdown(result: Result) -> str:
    """The same as a Markdown table."""
    lines = ["| | % | 95 % | n |", "|---|---|---|---|"]
    for figure in result.figures:
        name = figure.name.replace("|", "\\|")
        of = "" if figure.of is None else f"{figure.of:,}"
        lines.append(f"| {name} | {number_text(figure.value)} | {interval_text(figure)} | {of} |")
    return "\n".join([headline(result), "", *(f"- {line}" for line in troubles(result)), "", *lines]) + "\n"


def headline(result: Result) -> str:
    """The set, the rule, and how much of it was answered."""
    coverage = result.coverage
    return f"{result.set}, rule {result.rule}: {coverage.answered:,} of {coverage.wanted:,} questions answered"


def troubles(result: Result) -> list[str]:
    """A line for each kind of row that is not as it should be; empty when all is well."""
    coverage = result.coverage
    said = {
        "missing, counted as wrong": coverage.missing,
        "answered more than once, the last counts": coverage.duplicate,
        "unknown, left out": coverage.unknown,
        "not read by the rule, counted as wrong": result.unread,
        "without a judge's grade in some run, left out of it": result.left_out,
    }
    lines = [f"{len(ids):,} {what}: {_some(ids)}" for what, ids in said.items() if ids]
    return [*lines, *(["The last line was cut off, and is left out."] if coverage.half else [])]


def _some(ids: tuple[str, ...]) -> str:
    rest = len(ids) - _NAMED
    return ", ".join(one.replace("\t", " ") for one in ids[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def _line(figure: Figure, width: int) -> str:
    right = ""
    if figure.of is not None:
        whole = figure.right is not None and figure.right == int(figure.right) and figure.rows
        right = f"  {int(figure.right or 0):,} of {figure.of:,}" if whole else f"  of {figure.of:,}"
    return f"{figure.name:<{width}}  {number_text(figure.value):>8}  {interval_text(figure):>13}{right}".rstrip()


def number_text(value: float | None) -> str:
    """A value with two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def interval_text(figure: Figure) -> str:
    """Its 95 % interval; "" where it has none."""
    found = figure.interval
    return f"{found[0]:.1f} to {found[1]:.1f}" if found else ""
