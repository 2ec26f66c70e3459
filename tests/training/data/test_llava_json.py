"""Published rows are read unchanged; broken ones are named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import DataError
from training.data.llava_json import read_rows

CONFORMANCE = Path(os.environ.get("LLAVA_CONFORMANCE", Path(__file__).parents[4] / "shared" / "conformance"))


def row(*said: str, **more: Any) -> dict[str, Any]:
    turns = [{"from": "gpt" if number % 2 else "human", "value": text} for number, text in enumerate(said)]
    return {"id": "a", "conversations": turns, **more}


def write(path: Path, *rows: Any) -> Path:
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def test_a_list_and_lines_are_the_same(tmp_path: Path) -> None:
    rows = [row("<image>\nWhat is it?", "A cat.", image="cat.jpg"), row("Hello", "Hi.")]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    listed = read_rows(write(tmp_path / "rows.json", *rows))
    assert [(one.turns, one.images) for one in read_rows(lines)] == [(one.turns, one.images) for one in listed]
    first = listed[0]
    assert (first.turns[0].text, first.turns[0].pictures, first.images) == ("What is it?", 1, ("cat.jpg",))
    assert (listed[1].turns[0].pictures, listed[1].images) == (0, ())


@pytest.mark.parametrize("text", ["<image>\nWhat is it?", "What is it?\n<image>", "What <image> is it?"])
def test_one_picture_may_stand_anywhere(tmp_path: Path, text: str) -> None:
    turn = read_rows(write(tmp_path / "rows.json", row(text, "A cat.", image="a.jpg")))[0].turns[0]
    assert (turn.pictures, turn.places) == (1, None)
    assert "<image>" not in turn.text
    assert turn.text.split() == text.replace("<image>", "").split()


def test_white_space_is_kept_where_no_picture_stands(tmp_path: Path) -> None:
    """The original takes it off a text that it takes a picture out of, and off no other."""
    raw = row("<image>\n What? ", " \tThis. ", "  ", "Yes.\n", " And then? ", " No.", image="a.jpg")
    said = [turn.text for turn in read_rows(write(tmp_path / "rows.json", raw))[0].turns]
    assert said == ["What?", " \tThis. ", "  ", "Yes.\n", " And then? ", " No."]


def test_several_pictures_keep_their_places(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "rows.json", row("Is <image> like <image>?", "No.", image=["a.jpg", "b.jpg"])))
    assert rows[0].turns[0].text == "Is  like ?"
    assert rows[0].turns[0].places == (3, 9)


def test_an_answer_to_nothing_is_dropped(tmp_path: Path) -> None:
    raw = row("Hello", "Hi.")
    raw["conversations"].insert(0, {"from": "gpt", "value": "I am first."})
    assert [turn.text for turn in read_rows(write(tmp_path / "rows.json", raw))[0].turns] == ["Hello", "Hi."]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("nothing", "not an object"),
        ({"id": "b"}, "no conversations"),
        ({"id": "b", "conversations": [{"from": "cat", "value": "x"}]}, "turn 0"),
        ({"id": "b", "conversations": [{"from": "human", "value": 3}]}, "turn 0"),
        (row("Hello"), "does not end with an answer"),
        (row("<image>\nHello", "Hi."), "0 pictures"),
        (row("Hello", "Hi.", image="a.jpg"), "1 pictures"),
        (row("<image>", "Hi.", image=7), "no file name"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, broken: Any, says: str) -> None:
    path = write(tmp_path / "rows.json", row("Hello", "Hi."), broken)
    with pytest.raises(DataError, match=r"rows\.json, row 1") as raised:
        read_rows(path)
    assert says in raised.value.cause


@pytest.mark.parametrize(
    ("text", "says"), [("[{]", "not valid JSON"), ("[]", "no rows"), ('{"id": 1}\n{', "row 1|row 0")]
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_rows(path)
    with pytest.raises(DataError, match="no file"):
        read_rows(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "image", "conversations", "from", "value"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, min_size=1, max_size=3))
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = write(tmp_path_factory.mktemp("any") / "rows.json", *rows)
    try:
        read = read_rows(path)
    except DataError:
        return
    assert len(read) == len(rows)


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="the conformance fixtures are not here")
@pytest.mark.parametrize("name", ["label_samples.json", "train_finetune.json", "train_pretrain.json"])
def test_published_files_are_read(name: str) -> None:
    path = CONFORMANCE / "data" / name
    raw = json.loads(path.read_text(encoding="utf-8"))
    rows = read_rows(path)
    assert len(rows) == len(raw)
    for one, source in zip(rows, raw, strict=True):
        said = [turn["value"] for turn in source["conversations"]]
        said = said[1:] if source["conversations"][0]["from"] == "gpt" else said
        assert [turn.text for turn in one.turns[1::2]] == said[1::2]
        assert one.images == ((source["image"],) if isinstance(source.get("image"), str) else ())
