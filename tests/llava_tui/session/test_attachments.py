"""The tray opens pictures in the background, keeps their order, and forgets what was taken out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from llava_engine.errors import PictureError
from llava_engine.pictures.opening import Picture
from llava_tui.session.attachments import AT_ONCE, Attachment, AttachmentTray, FailedAttachment, Source, thumbnail
from tests.fakes.fake_picture import fake_picture


class Gallery:
    """Opens "name" as a picture of that name, once its gate is open; "bad…" can not be opened."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = {}
        self.threads: set[int] = set()
        self.most = self.now = 0
        self.kept: list[str] = []
        self._lock = threading.Lock()

    def open(self, source: Source) -> Picture:
        name = str(source)
        with self._lock:
            self.threads.add(threading.get_ident())
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            if name in self.gates:
                assert self.gates[name].wait(5)
            if name.startswith("bug"):
                raise RuntimeError("a bug")
            if name.startswith("bad"):
                raise PictureError(f"{name} is not a picture.", "Give a picture.")
            return fake_picture(name)
        finally:
            with self._lock:
                self.now -= 1

    def keep(self, picture: Picture) -> None:
        self.kept.append(picture.name)


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


def poll_until(
    tray: AttachmentTray, enough: Callable[[list[Attachment | FailedAttachment]], bool]
) -> list[Attachment | FailedAttachment]:
    results: list[Attachment | FailedAttachment] = []
    deadline = time.monotonic() + 20
    while not enough(results):
        assert time.monotonic() < deadline
        results += tray.poll()
        time.sleep(0.001)
    return results


def settled(tray: AttachmentTray) -> list[Attachment | FailedAttachment]:
    return poll_until(tray, lambda _: not tray.opening)


def names(tray: AttachmentTray) -> list[tuple[int, str]]:
    return [(attachment.number, attachment.picture.name) for attachment in tray.ready]


def test_pictures_are_numbered_opened_elsewhere_and_kept(gallery: Gallery) -> None:
    tray = AttachmentTray(gallery.open, gallery.keep)
    assert [tray.add("a"), tray.add("b")] == [1, 2]
    assert tray.opening == (1, 2)
    assert tray.ready == ()
    settled(tray)
    assert names(tray) == [(1, "a"), (2, "b")]
    assert sorted(gallery.kept) == ["a", "b"]
    assert threading.get_ident() not in gallery.threads


def test_the_order_is_that_of_adding_whichever_is_open_first(gallery: Gallery) -> None:
    gallery.gates["slow"] = threading.Event()
    tray = AttachmentTray(gallery.open, gallery.keep)
    tray.add("slow")
    tray.add("fast")
    (first,) = poll_until(tray, lambda results: len(results) == 1)
    assert first.number == 2
    assert tray.opening == (1,)
    gallery.gates["slow"].set()
    settled(tray)
    assert names(tray) == [(1, "slow"), (2, "fast")]


@pytest.mark.parametrize(("source", "kind"), [("bad", PictureError), ("bug", RuntimeError)])
def test_one_that_can_not_be_opened_leaves_the_tray_and_says_why(
    gallery: Gallery, source: str, kind: type[Exception]
) -> None:
    tray = AttachmentTray(gallery.open, gallery.keep)
    tray.add("a")
    tray.add(source)
    results = settled(tray)
    (failed,) = [result for result in results if isinstance(result, FailedAttachment)]
    assert failed.number == 2
    assert isinstance(failed.error, kind)
    assert names(tray) == [(1, "a")]
    assert tray.add("c") == 3


def test_one_taken_out_while_it_is_opened_never_comes(gallery: Gallery) -> None:
    gate = gallery.gates["slow"] = threading.Event()
    tray = AttachmentTray(gallery.open, gallery.keep)
    tray.remove(tray.add("slow"))
    tray.remove(99)
    assert tray.opening == ()
    tray.add("other")
    gate.set()
    settled(tray)
    assert names(tray) == [(2, "other")]


def test_after_a_clear_numbers_begin_again_and_nothing_old_comes(gallery: Gallery) -> None:
    gate = gallery.gates["slow"] = threading.Event()
    tray = AttachmentTray(gallery.open, gallery.keep)
    tray.add("slow")
    tray.clear()
    assert tray.add("new") == 1
    gate.set()
    settled(tray)
    time.sleep(0.01)
    assert tray.poll() == []
    assert names(tray) == [(1, "new")]


def test_only_a_few_are_opened_at_the_same_time(gallery: Gallery) -> None:
    tray = AttachmentTray(gallery.open, gallery.keep)
    for number in range(8):
        tray.add(str(number))
    settled(tray)
    assert len(tray.ready) == 8
    assert gallery.most <= AT_ONCE


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1600, 400), (800, 200)), ((400, 1600), (200, 800)), ((300, 200), (300, 200)), ((4000, 1), (800, 1))],
)
def test_a_thumbnail_keeps_the_shape_within_800_pixels(size: tuple[int, int], expected: tuple[int, int]) -> None:
    small = thumbnail(fake_picture("x", "blue", size))
    assert small.size == expected
    assert small.mode == "RGB"
    assert small.getpixel((0, 0)) == (0, 0, 255)
