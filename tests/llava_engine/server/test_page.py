"""The page, in headless Chromium over a real port: what a person does there, and what a stranger can not.

Skipped where there is no Chromium; `.ci/run` installs Debian's.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from llava_engine.server.app import make_app
from llava_engine.server.service import Service
from llava_engine.server.serving import listen
from llava_engine.server.settings import Settings
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, Step
from tests.fakes.fake_picture import png_bytes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

WIDE, PHONE = (1280, 800), (390, 780)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(engine: FakeEngine, **settings: Any) -> Iterator[str]:
    """The server over a scripted engine, on a port of its own."""
    service = Service(Settings(**settings))
    service.ready(engine)
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(make_app(service, lambda line: None, "text"), log_config=None, lifespan="off")
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        service.cancel_all()
        thread.join(10)
        service.close()


@contextmanager
def opened(browser: Browser, at: str, size: tuple[int, int] = WIDE, colours: str = "light") -> Iterator[Page]:
    """The page, which must not have an error of its own, nor ask anything of anybody else."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=colours)  # type: ignore[arg-type]
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((at, "data:")) else wrong.append(request.url))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(at)
    expect(page.locator("#model")).to_contain_text("fake")
    yield page
    context.close()
    assert wrong == []


def fake(*answers: list[Step]) -> FakeEngine:
    return FakeEngine(*answers, card=replace(FAKE_CARD, slots=2))


def ask(page: Page, text: str) -> None:
    page.fill("#prompt", text)
    page.keyboard.press("Enter")


def ended(page: Page, answers: int) -> None:
    expect(page.locator(".assistant .actions")).to_have_count(answers)


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize(("size", "colours"), [(WIDE, "light"), (PHONE, "dark")])
def test_a_picture_is_dropped_asked_about_and_answered(browser: Browser, size: tuple[int, int], colours: str) -> None:
    engine = fake(["A red ", "circle, ", HOSTILE], ["Yes."])
    with served(engine) as at, opened(browser, at, size, colours) as page:
        drop_picture(page, "circle.png")
        expect(page.locator("#attached li")).to_contain_text("1. circle.png")
        ask(page, "What is it?")
        ended(page, 1)
        assert page.locator(".assistant .words").inner_text() == f"A red circle, {HOSTILE}"
        assert page.title() == "fake · llava" and page.locator(".assistant img, .assistant script").count() == 0
        assert [picture.data for picture in engine.conversations[0].pictures] == [png_bytes()]
        expect(page.locator("#meter-text")).to_contain_text("of 2,048 tokens")
        ask(page, "Sure?")
        ended(page, 2)
        said = [(one.role, one.text, len(one.pictures)) for one in engine.conversations[1].messages]
        assert said == [("user", "What is it?", 1), ("assistant", f"A red circle, {HOSTILE}", 0), ("user", "Sure?", 0)]
        assert no_sideways_scroll(page)


def drop_picture(page: Page, name: str) -> None:
    page.evaluate(
        """([bytes, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            document.dispatchEvent(new DragEvent("dragenter", { dataTransfer: transfer, bubbles: true }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }""",
        [list(png_bytes()), name],
    )


def test_pictures_are_pasted_and_chosen_several_to_a_turn_and_taken_out(browser: Browser) -> None:
    engine = fake(["Two."])
    with served(engine) as at, opened(browser, at) as page:
        page.evaluate(
            """(bytes) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
                document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
            }""",
            list(png_bytes()),
        )
        expect(page.locator("#attached li")).to_have_count(1)
        kinds = {"b.png": "image/png", "notes.txt": "text/plain", "c.png": "image/png"}
        files = [{"name": name, "mimeType": kind, "buffer": png_bytes()} for name, kind in kinds.items()]
        page.set_input_files("#files", files)  # type: ignore[arg-type]
        expect(page.locator("#attached li")).to_have_count(3)
        expect(page.locator("#status")).to_have_text("No picture: notes.txt")
        page.get_by_role("button", name="Take out picture 2, b.png").click()
        ask(page, "How many?")
        ended(page, 1)
        assert len(engine.conversations[0].pictures) == 2
        assert page.locator(".user figcaption").all_inner_texts() == ["1. pasted.png", "2. c.png"]


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_an_answer_is_stopped_and_made_anew(browser: Browser, how: str) -> None:
    gate = threading.Event()
    engine = fake(["One ", gate, "never"], ["Again."])
    with served(engine) as at, opened(browser, at) as page:
        ask(page, "Say it")
        expect(page.locator(".assistant .words")).to_have_text("One ")
        if how == "button":
            page.click("#stop")
        else:
            page.keyboard.press("Escape")
        expect(page.locator(".assistant .note")).to_have_text("Stopped.")
        page.get_by_role("button", name="Regenerate").click()
        expect(page.locator(".assistant .words")).to_have_text("Again.")
        assert len(engine.conversations[1].messages) == 1


def test_an_earlier_message_is_changed_by_keyboard_alone(browser: Browser) -> None:
    engine = fake(["First."], ["Second."], ["Third."])
    with served(engine) as at, opened(browser, at) as page:
        drop_picture(page, "a.png")
        expect(page.locator("#attached li")).to_have_count(1)
        ask(page, "one")
        ended(page, 1)
        ask(page, "two")
        ended(page, 2)
        page.keyboard.press("ArrowUp")
        expect(page.locator("#prompt")).to_have_value("two")
        page.keyboard.press("Escape")
        expect(page.locator("#prompt")).to_have_value("")
        page.keyboard.press("Shift+Tab")  # the way back leads to the last answer's buttons
        while page.evaluate("document.activeElement.textContent") != "Edit":
            page.keyboard.press("Shift+Tab")
        while page.evaluate("document.activeElement.closest('.turn')?.querySelector('.words')?.textContent") != "one":
            page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#attached li")).to_have_count(1)
        ask(page, "one, better")
        expect(page.locator(".assistant .words")).to_have_text(["Third."])
        [message] = engine.conversations[2].messages
        assert message.text == "one, better" and len(message.pictures) == 1


def test_settings_reach_the_engine_and_are_kept(browser: Browser) -> None:
    engine = fake(["Yes."])
    with served(engine) as at, opened(browser, at) as page:
        page.click("#show-settings")
        for name, value in (("temperature", "0.5"), ("top_p", "0.9"), ("max_tokens", "7"), ("seed", "3")):
            page.fill(f"#{name}", value)
        page.fill("#system", "Be short.")
        page.select_option("#preprocess", "crop")
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        page.reload()
        expect(page.locator("#model")).to_contain_text("fake")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        drop_picture(page, "a.png")
        expect(page.locator("#attached li")).to_have_count(1)
        ask(page, "Hello")
        ended(page, 1)
    sampling, asked = engine.samplings[0], engine.conversations[0]
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens, sampling.seed) == (0.5, 0.9, 7, 3)
    assert asked.system == "Be short."
    width, height = asked.pictures[0].size
    assert width == height


def test_votes_are_kept_where_the_server_keeps_them(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    with served(fake(["Yes."]), votes=file) as at, opened(browser, at) as page:
        ask(page, "Is it?")
        ended(page, 1)
        page.get_by_role("button", name="Bad").click()
        expect(page.get_by_role("button", name="Bad")).to_have_attribute("aria-pressed", "true")
    [line] = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert (row["type"], row["state"]["messages"]) == ("downvote", [["user", "Is it?"], ["assistant", "Yes."]])
    with served(fake(["Yes."])) as at, opened(browser, at) as page:
        ask(page, "Is it?")
        ended(page, 1)
        assert page.get_by_role("button", name="Bad").count() == 0


def test_what_goes_wrong_is_said_where_it_happened_and_can_be_tried_again(browser: Browser) -> None:
    with served(fake(["Half of", RuntimeError("no more")], ["Whole."])) as at, opened(browser, at) as page:
        ask(page, "Say it")
        expect(page.locator(".assistant .error")).not_to_be_empty()
        assert page.locator(".assistant .words").inner_text() == "Half of"
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".assistant .words")).to_have_text("Whole.")


def test_a_key_is_asked_for_and_nothing_is_read_without_it(browser: Browser) -> None:
    with served(fake(["Yes."]), key="secret word") as at:
        assert httpx.get(f"{at}/v1/models").status_code == 401
        context = browser.new_context()
        page = context.new_page()
        page.goto(at)
        expect(page.locator("#key-form")).to_be_visible()
        page.fill("#key", "secret word")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_contain_text("fake")
        ask(page, "Hello")
        ended(page, 1)
        assert "secret" not in page.content()
        context.close()


def test_another_page_reads_nothing(browser: Browser) -> None:
    engine = fake(["Yes."])
    with served(engine) as at, served(fake()) as elsewhere:
        context = browser.new_context()
        page = context.new_page()
        page.goto(elsewhere)
        seen = page.evaluate(
            """async (at) => {
                const tries = [
                    fetch(`${at}/v1/models`),
                    fetch(`${at}/v1/chat/completions`, { method: "POST", body: '{"messages": []}' }),
                ];
                return (await Promise.allSettled(tries)).map((one) => one.status);
            }""",
            at,
        )
        context.close()
        assert seen == ["rejected", "rejected"] and engine.conversations == []
        assert httpx.get(f"{at}/", headers={"Host": "evil.example"}).status_code == 421


def test_everything_has_a_name_for_a_screen_reader(browser: Browser) -> None:
    with served(fake(["Yes."])) as at, opened(browser, at) as page:
        page.click("#show-settings")
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("button, input:not([hidden]), textarea, select")].filter((one) => {
                const label = one.labels?.length ? one.labels[0].textContent : "";
                return !(one.getAttribute("aria-label") || one.textContent.trim() || label.trim());
            }).map((one) => one.outerHTML)"""
        )
        assert unnamed == []
        assert page.locator("[role=log]").count() == 1 and page.locator("[role=status]").count() == 1
