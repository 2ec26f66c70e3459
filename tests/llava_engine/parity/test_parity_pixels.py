"""Odd pictures: what the original makes of them, and what the engine makes of them by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_engine.parity.pixels import Mode, opened, patch_count, pixels
from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.pictures.test_processing import CLIP, noise

TOWER = Preprocessing.from_config(CLIP)
PINPOINTS = ((56, 112), (112, 56), (112, 112))
MODES: list[Mode] = ["square", "pad", "anyres"]


def default(path: Path, mode: Mode) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    views = TOWER.as_original(mode, PINPOINTS).views(open_picture(path))
    return views if mode == "anyres" else views[0]


def same(first: object, second: object) -> bool:
    a, b = np.asarray(first), np.asarray(second)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=1e-5))


@pytest.mark.parametrize("mode", MODES)
def test_a_turned_photograph(tmp_path: Path, mode: Mode) -> None:
    image, path = noise(80, 60), tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert same(pixels(opened(path), TOWER, mode, PINPOINTS), pixels(image, TOWER, mode, PINPOINTS))
    assert same(default(path, mode), pixels(image.transpose(Image.Transpose.ROTATE_270), TOWER, mode, PINPOINTS))


@pytest.mark.parametrize("mode", MODES)
def test_transparency(tmp_path: Path, mode: Mode) -> None:
    image, path = noise(80, 60).convert("RGBA"), tmp_path / "half.png"
    image.paste((255, 0, 0, 0), (0, 0, 40, 60))  # red that nobody sees
    image.save(path)
    dropped, seen = noise(80, 60), noise(80, 60)
    dropped.paste((255, 0, 0), (0, 0, 40, 60))
    seen.paste((255, 255, 255), (0, 0, 40, 60))
    assert same(pixels(opened(path), TOWER, mode, PINPOINTS), pixels(dropped, TOWER, mode, PINPOINTS))
    assert same(default(path, mode), pixels(seen, TOWER, mode, PINPOINTS))


def test_sixteen_bits(tmp_path: Path) -> None:
    grey, path = np.asarray(noise(80, 60).convert("L")), tmp_path / "deep.png"
    Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    assert not same(pixels(opened(path), TOWER, "square"), default(path, "square"))
    assert same(default(path, "square"), pixels(Image.fromarray(grey), TOWER, "square"))


@pytest.mark.parametrize("mode", ["square", "keep"])
def test_a_line_is_taken_for_channels(tmp_path: Path, mode: Mode) -> None:
    path = tmp_path / "line.png"
    noise(40, 1).save(path)
    with pytest.raises(ValueError, match="one pixel high"):
        pixels(opened(path), TOWER, mode)
    assert default(path, "square").shape == (3, 56, 56)
    noise(1, 40).save(path)
    assert same(pixels(opened(path), TOWER, "square"), default(path, "square"))
    noise(60, 3).save(path)
    assert not same(pixels(opened(path), TOWER, "square"), default(path, "square"))


@pytest.mark.parametrize(("bands", "error"), [("L", TypeError), ("LA", TypeError), ("1", TypeError), ("P", None)])
def test_bands_that_were_not_turned_into_rgb(tmp_path: Path, bands: str, error: type[Exception] | None) -> None:
    image, path = noise(80, 60).convert("L").convert(bands), tmp_path / "bands.png"
    image.save(path)
    converted = pixels(opened(path), TOWER, "pad")
    if error:
        with pytest.raises(error):
            pixels(opened(path, convert=False), TOWER, "pad")
    else:  # pasted onto a ground with another palette
        assert not same(pixels(opened(path, convert=False), TOWER, "pad"), converted)
    assert same(default(path, "pad"), converted)
    nearest = bands in ("1", "P")
    tiles = pixels(opened(path, convert=False), TOWER, "anyres", PINPOINTS)
    assert same(tiles, pixels(opened(path), TOWER, "anyres", PINPOINTS)) is not nearest


def test_keep_has_a_shape_of_its_own() -> None:
    assert pixels(noise(300, 100), TOWER, "keep").shape == (3, 149, 447)
    assert patch_count(pixels(noise(300, 100), TOWER, "keep")) == 10 * 31
    assert patch_count(pixels(noise(900, 25), TOWER, "keep")) == 0
    with pytest.raises(ValueError, match="must be"):
        pixels(noise(900, 2), TOWER, "keep")


def test_tiles_heed_no_towers_filter() -> None:
    """The original fits a picture by Pillow's usual filter, and the tower's own then has nothing left to resize."""
    bilinear = Preprocessing.from_config(CLIP | {"resample": 2})
    views = bilinear.as_original("anyres", PINPOINTS).views(noise(80, 60))
    assert same(views, pixels(noise(80, 60), bilinear, "anyres", PINPOINTS))
    assert same(views, TOWER.as_original("anyres", PINPOINTS).views(noise(80, 60)))
    padded = bilinear.as_original("pad").pixels(noise(80, 60))
    assert same(padded, pixels(noise(80, 60), bilinear, "pad"))
    assert not same(padded, TOWER.as_original("pad").pixels(noise(80, 60)))
