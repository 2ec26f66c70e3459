"""A file of lines that a kill cut anywhere goes on with whole lines, and loses none that was whole."""

from __future__ import annotations

import json
from pathlib import Path

from training.evaluation.line_file import LineFile, line, mend

ROWS = [{"id": number, "text": f"é\u2028 {number}"} for number in range(3)]
WHOLE = "".join(map(line, ROWS)).encode()


def test_a_line_after_a_kill_begins_one_of_its_own(tmp_path: Path) -> None:
    path, last = tmp_path / "lines.jsonl", {"id": "new"}
    for cut in range(len(WHOLE) + 1):
        path.write_bytes(WHOLE[:cut])
        half = mend(path)
        with LineFile.opened(path) as lines:
            lines.write(last)
        rows = [json.loads(one) for one in path.read_bytes().split(b"\n") if one]
        ends = [len("".join(map(line, ROWS[:count])).encode()) for count in range(len(ROWS) + 1)]
        whole = sum(cut >= end - 1 for end in ends[1:])  # a line is whole before its newline is there
        assert rows == [*ROWS[:whole], last] and half == (cut not in ends and cut + 1 not in ends)
