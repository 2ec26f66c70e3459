"""The page of a score or a comparison, in headless Chromium: what a person sees, and what a stranger's text can not do.

Skipped where there is no Chromium; `.ci/run` installs Debian's.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from typer.testing import CliRunner

from training.evaluation.cli import app
from training.evaluation.intervals import wilson
from training.evaluation.report_pictures import Thumbnails
from training.evaluation.result import Scored
from training.evaluation.run_header import Header

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

WIDE, PHONE = (1280, 900), (390, 800)
HOSTILE = {
    "script": "<script>document.title='owned'</script>",
    "picture": "<img src='https://evil.example/x.png' onerror=\"document.title='owned'\">",
    "style": "</style><style>body{display:none;background:url(https://evil.example/y)}</style>",
    "end": "</body></html><iframe src='https://evil.example'></iframe>",
    "template": "{{ 7 * 191 }}{% raw %}",
    "terminal": "\x1b]0;owned\x07\x1b[31mred\x9b2J",
    "order": "abc \u202eevil\u2066 xyz",
    "attribute": "\" onmouseover=\"document.title='owned'",
    "refresh": "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "huge": "a" * 300_000 + " " + "word " * 10_000,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, size: tuple[int, int] = WIDE) -> Iterator[Page]:
    """The page, which must ask nobody for anything, run nothing, and break no rule of its own policy."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    allowed = (file.as_uri(), "data:image/jpeg;base64,")
    page.on("request", lambda request: None if request.url.startswith(allowed) else wrong.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def gqa(folder: Path, answers: dict[str, str], right: dict[str, str], questions: dict[str, str]) -> list[str]:
    """The words that score such answers, as a set in the form of GQA."""
    kinds = {"structural": "query", "semantic": "attr"}
    truth = {
        of: {
            "isBalanced": True, "answer": right[of], "imageId": f"picture {of}", "question": questions[of],
            "types": kinds, "semantic": [], "groups": {"global": None},
        }
        for of in right
    }  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    lines(folder / "answers.jsonl", [{"question_id": of, "text": text} for of, text in answers.items()])
    return ["score", "gqa", str(folder / "answers.jsonl"), "--truth", str(folder / "truth.json")]


def report(folder: Path, words: list[str], name: str = "report.html") -> Path:
    done = CliRunner().invoke(app, [*words, "--report", str(folder / name)])
    assert done.exit_code == 0, done.output
    return folder / name


def shown(page: Page) -> list[str]:
    ids = page.locator("article .id bdi").all()
    return [one.inner_text() for one in ids if one.is_visible()]


@in_chromium
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_a_score_is_seen_with_its_interval_and_its_wrong_rows_first(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    right = {str(number): "red" for number in range(40)}
    answers = {of: "Red." if int(of) % 4 else "blue" for of in right if of != "39"}
    words = gqa(tmp_path, answers, right, {of: f"What colour is {of}?" for of in right})
    (tmp_path / "answers.run.json").write_text("{not json", encoding="utf-8")
    low, high = wilson(29, 40)
    with opened(browser, report(tmp_path, words), size) as page:
        assert page.title() == "gqa: accuracy 72.50"
        assert "39 of 40 questions answered" in page.locator("header").inner_text()
        first = page.locator(".figures tbody tr").first
        assert f"{low:.1f} to {high:.1f}" in first.inner_text()
        room, bar, mark = (first.locator(f"svg .{name}").bounding_box() for name in ("room", "bar", "interval"))
        assert room and bar and mark
        assert bar["width"] / room["width"] == pytest.approx(0.725, abs=0.01)
        assert (mark["x"] - room["x"]) / room["width"] == pytest.approx(low / 100, abs=0.01)
        assert mark["width"] / room["width"] == pytest.approx((high - low) / 100, abs=0.01)
        wrong = [of for of in right if not int(of) % 4]
        assert shown(page)[:11] == [*wrong, "39"]
        page.get_by_text("right 29 of 29").click()
        assert shown(page) == [of for of in right if int(of) % 4 and of != "39"]
        page.keyboard.press("ArrowLeft")  # by keyboard, too
        assert shown(page) == ["39"] and "no answer" in page.locator("main").inner_text()
        assert "answers.run.json can not be read" in page.locator(".facts").inner_text()


@in_chromium
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_what_a_stranger_wrote_stays_text(browser: Browser, tmp_path: Path, size: tuple[int, int]) -> None:
    right = {f"{name} {text[:90]}": text for name, text in HOSTILE.items()}
    answers = {of: HOSTILE[of.split()[0]] for of in right}
    answers[next(iter(right))] = "else" + HOSTILE["script"]
    words = gqa(tmp_path, answers, right, {of: right[of] for of in right})
    header = {one.name: HOSTILE["script"] for one in fields(Header)}
    (tmp_path / "answers.run.json").write_text(json.dumps({**header, "sampling": {"x": HOSTILE["style"]}}))
    file = report(tmp_path, words)
    with opened(browser, file, size) as page:
        page.mouse.move(200, 400)
        assert page.title().startswith("gqa: accuracy")
        assert page.locator("script, img, iframe, article style, [onmouseover]").count() == 0
        assert page.locator("style").count() == 1 and page.locator("article").count() == len(HOSTILE)
        text = page.locator("main").inner_text()
        for name in ("script", "picture", "style", "end", "template", "attribute", "refresh"):
            assert HOSTILE[name] in text
        assert "… and 348,801 more letters" in text  # of the 350,001 of the huge answer
        assert not re.search("[\x1b\x9b\x07\u202e\u2066]", file.read_text(encoding="utf-8"))
        assert page.locator(".facts").inner_text().count(HOSTILE["script"]) == len(header) - 1


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (400, 300), random.Random(seed).randbytes(400 * 300 * 3)).save(path, quality=95)


@in_chromium
def test_pictures_are_small_and_in_the_page_once_each(browser: Browser, tmp_path: Path) -> None:
    right = {str(number): "red" for number in range(6)}
    words = gqa(tmp_path, dict.fromkeys(right, "blue"), right, dict.fromkeys(right, "What is it?"))
    for number in range(2):
        noise(tmp_path / "images" / f"{number}.jpg", number)
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "secret.jpg").write_bytes((tmp_path / "images" / "0.jpg").read_bytes())
    names = ["0.jpg", "0.jpg", "1.jpg", "broken.jpg", "../secret.jpg", "gone.jpg"]
    questions = [{"question_id": int(of), "text": "", "image": name} for of, name in zip(right, names, strict=True)]
    lines(tmp_path / "questions.jsonl", questions)
    words += ["--questions", str(tmp_path / "questions.jsonl"), "--images", str(tmp_path / "images")]
    file = report(tmp_path, words)
    assert file.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 2
    with opened(browser, file) as page:
        found = page.locator(".picture")
        assert found.count() == 3 and "1 pictures can not be opened" in page.locator("body").inner_text()
        box = found.first.bounding_box()
        assert box and (box["width"], box["height"]) == (256, 192)
        assert page.evaluate("getComputedStyle(document.querySelector('.picture')).backgroundImage").startswith('url("')
    plain = report(tmp_path, [*words, "--no-pictures"], "plain.html").read_text(encoding="utf-8")
    assert "data:image" not in plain.replace("img-src data:", "") and "What is it?" in plain


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("artwork/images/7.jpg", Scored("artwork/7\tIs it?", 1, cluster="artwork/7")),  # MME
        ("abc.jpg", Scored("34602", 1, cluster="abc")),  # TextVQA: the picture's name is the id that was asked by
        ("12/image.png", Scored("12", 1)),  # ScienceQA, without its rows
        ("v1_0.png", Scored("v1_0", 1, cluster="v1_0.png")),  # MM-Vet, whose truth names it
    ],
)
def test_each_sets_rows_find_their_pictures(tmp_path: Path, file: str, row: Scored) -> None:
    noise(tmp_path / "images" / file, 0)
    noise(tmp_path / "outside.jpg", 0)
    names = {"artwork/7.jpg": "artwork/images/7.jpg", "abc": "abc.jpg"}
    rows = [{"question_id": of, "image": image, "text": "Is it?"} for of, image in names.items()]
    pictures = Thumbnails(tmp_path / "images", lines(tmp_path / "questions.jsonl", rows))
    assert pictures.file_of(row) == tmp_path / "images" / file
    for strange in ("../outside.jpg", str(tmp_path / "outside.jpg"), "a\0b", "", "x" * 5000):
        assert pictures.file_of(Scored("none", 1, cluster=strange)) is None


def test_two_hundred_rows_of_the_longest_texts_and_pictures_fit_into_five_megabytes(tmp_path: Path) -> None:
    right = {str(number): "\U0001f600" * 5000 for number in range(300)}
    answers = {of: '"' * 5000 if int(of) < 280 else right[of] for of in right}
    words = gqa(tmp_path, answers, right, dict.fromkeys(right, "&" * 9000))
    picture = tmp_path / "images" / "0.jpg"
    noise(picture, 0)
    for of in right:
        (tmp_path / "images" / f"picture {of}").write_bytes(picture.read_bytes())
    file = report(tmp_path, [*words, "--images", str(tmp_path / "images")])
    text = file.read_text(encoding="utf-8")
    assert 4_000_000 < file.stat().st_size <= 5_000_000
    assert text.count("<article") == 200 and "pictures are left out" in text
    assert text.count('<article class="r4">') == 20  # wrong ones are more than 200, and some right ones are there


@in_chromium
def test_a_comparison_shows_what_changed(browser: Browser, tmp_path: Path) -> None:
    right = {str(number): "red" for number in range(10)}
    b = {of: "red" if of in "012" else "blue" for of in right}
    gqa(tmp_path, b, right, dict.fromkeys(right, "What?"))
    (tmp_path / "answers.jsonl").rename(tmp_path / "b.jsonl")
    a = {of: "red" if of in "0789" else "blue" for of in right}
    gqa(tmp_path, a, right, dict.fromkeys(right, "What?"))
    words = ["compare", "gqa", str(tmp_path / "answers.jsonl"), str(tmp_path / "b.jsonl"), "--truth",
             str(tmp_path / "truth.json")]  # fmt: skip
    with opened(browser, report(tmp_path, words)) as page:
        assert page.title() == "gqa: A accuracy 40.00, B accuracy 30.00"
        assert page.locator("h2").inner_text() == "5 of 5 rows that changed"
        assert "only A 3 · only B 2" in page.locator("header").inner_text()
        page.get_by_text("A is better 3 of 3").click()
        assert shown(page) == ["7", "8", "9"]
        page.get_by_text("B is better 2 of 2").click()
        assert shown(page) == ["1", "2"]
