"""Paint size, which fixes the relative stroke size, and style scale."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from st import engines
from st.runtime import BadControl, StyleCode, Stylizer
from st.runtime.engine.metadata import Metadata
from st.runtime.painting import paint_size
from st.runtime.painting.banded_resize import enlarged, row_taps
from st.runtime.painting.paint_size import bands, painting_size, restore_size, scaled
from st.runtime.style_encoder import MAX_PIXELS, as_style
from tests.support import toys


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """Ramps, an edge and fine lines: (H, W, 3)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / height, x / width
    lines = 0.5 + 0.5 * np.sin(2 * np.pi * 40 * x)
    disc = (np.hypot(y - 0.5, x - 0.4) < 0.25).astype(np.float32)
    rgb = np.dstack([x, 0.3 + 0.5 * disc, 0.6 * y + 0.3 * lines])
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def paint(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A painting with its own strokes: the negative of the picture, with stripes."""
    stripes = 30 * np.sin(np.arange(rgb.shape[1]) / 2)[None, :, None]
    return np.clip(np.rint(220 - 0.7 * rgb + stripes), 0, 255).astype(np.uint8)


def test_sizes() -> None:
    assert painting_size(300, 400, None) == (300, 400)
    assert painting_size(300, 400, 800) == (600, 800)
    assert painting_size(300, 400, 400, 2.0) == (150, 200)
    assert painting_size(1, 4000, 16) == (1, 16)


@given(
    height=some.integers(1, 50),
    width=some.integers(1, 50),
    low=some.integers(1, 20),
    across=some.integers(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_outputs_have_the_size_of_the_input(height: int, width: int, low: int, across: int) -> None:
    picture, small = scene(height, width), scene(low, across)
    result = restore_size(small, small, picture)
    assert result.shape == picture.shape


def test_rows_are_enlarged_as_opencv_enlarges_the_whole() -> None:
    low = np.random.default_rng(0).random((13, 17, 3), np.float32)
    expected = cv2.resize(low, (50, 40), interpolation=cv2.INTER_CUBIC)
    found = [enlarged(low, row_taps(top, 8, 40, 13), 50) for top in range(0, 40, 8)]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


@given(
    height=some.integers(1, 400),
    low=some.integers(1, 400),
    most=some.integers(1, 100),
)
@settings(max_examples=100, deadline=None)
def test_bands_cover_each_row_once(height: int, low: int, most: int) -> None:
    found = list(bands(height, low, most))
    rows = [row for band in found for row in range(band.full.start, band.full.stop)]
    assert rows == list(range(height))
    for band in found:
        assert 0 <= band.low.start < band.low.stop <= low
        assert band.enlarged * low == (band.low.stop - band.low.start) * height
        assert band.skip + band.full.stop - band.full.start <= band.enlarged


@pytest.mark.parametrize("low", [(160, 213), (161, 215), (96, 128)])
def test_painting_in_bands_is_bit_identical(
    low: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = scene(480, 640)
    small = scaled(picture, *low)
    whole = restore_size(paint(small), small, picture)
    monkeypatch.setattr(paint_size, "BAND", 640 * 50)
    np.testing.assert_array_equal(restore_size(paint(small), small, picture), whole)


def test_threads_do_not_share_scratch_memory() -> None:
    pictures = [scene(240, 320) + np.uint8(n) for n in range(4)]
    smalls = [scaled(picture, 120, 160) for picture in pictures]
    work = [(paint(small), small, picture) for small, picture in zip(smalls, pictures, strict=True)]
    alone = [restore_size(*one) for one in work]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            found = list(pool.map(lambda one: restore_size(*one), work))
            np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("size", [(100, 150), (120, 160), (60, 81), (23, 31), (240, 320)])
def test_reducing_averages_pixels(size: tuple[int, int]) -> None:
    """Lines that are finer than the new pixels become their mean, without aliasing."""
    lines = np.zeros((240, 320, 3), np.uint8)
    lines[:, ::2] = 200
    reduced = scaled(lines, *size).astype(float)
    assert reduced.shape[:2] == size
    assert abs(reduced.mean() - 100) < 3
    if size[1] <= 160:
        assert np.abs(reduced - 100).max() <= 55


def test_an_upscaled_painting_scaled_down_equals_the_small_one() -> None:
    picture = scene(480, 640)
    small = scaled(picture, 120, 160)
    painted = paint(small)
    large = restore_size(painted, small, picture)
    again = scaled(large, 120, 160)
    assert np.abs(again.astype(int) - painted).mean() < 2.5


def test_detail_lost_by_reducing_is_restored() -> None:
    """Where the painting follows the picture, it also does so at full size."""
    picture = cv2.GaussianBlur(scene(480, 640), (0, 0), 1)
    small = scaled(picture, 160, 213)
    expected = 255 - 0.7 * picture.astype(float)
    painted = np.rint(255 - 0.7 * small.astype(float)).astype(np.uint8)
    plain = cv2.resize(painted, (640, 480), interpolation=cv2.INTER_CUBIC)
    ours = restore_size(painted, small, picture)
    luma = np.array([0.2126, 0.7152, 0.0722])
    before, after = (np.square((p - expected) @ luma).mean() for p in (plain, ours))
    assert after < 0.3 * before


def test_a_thumbnail_previews_the_print() -> None:
    """The shipped engine on a picture and on its reduction by four: equal with a paint size."""
    if engines.find(engines.DEFAULT) is None:
        pytest.skip("no shipped engine in this checkout")
    thumbnail = scene(180, 240)
    photo = scaled(thumbnail, 720, 960)
    with Stylizer(device="cpu", threads=1) as stylizer:

        def apart() -> float:
            small = stylizer(thumbnail).astype(int)
            return float(np.abs(scaled(stylizer(photo), 180, 240) - small).mean())

        before = apart()
        assert apart() == before
        stylizer.set_paint_size(480)
        assert apart() < 0.1 * before


def test_named_styles_are_scaled_by_the_paintings_size(tmp_path: Path) -> None:
    sizes = []
    stylizer = Stylizer(toys.identity_engine(tmp_path / "identity.onnx"), device="cpu")
    backend = stylizer._engine.backend
    run = backend.run

    def watched(inputs: dict, outputs: list) -> list:  # type: ignore[type-arg]
        sizes.append(inputs["content"].shape[1:3])
        return run(inputs, outputs)

    backend.run = watched  # type: ignore[method-assign]
    frame = scene(60, 80)
    assert stylizer.set_style(scale=2)(frame).shape == frame.shape
    assert stylizer.set_style(scale=0.5)(np.stack([frame, frame])).shape == (2, 60, 80, 3)
    stylizer.set_style(scale=1).set_paint_size(160)(frame)
    stylizer.set_paint_size(80)(frame)
    assert sizes[0] == (30, 40)
    assert sizes[1] == (120, 160)
    assert sizes[-2:] == [(120, 160), (60, 80)]
    np.testing.assert_array_equal(stylizer.set_paint_size(None)(frame), frame)


def test_large_prints_are_painted_small_instead_of_in_tiles(tmp_path: Path) -> None:
    path = toys.identity_engine(tmp_path / "identity.onnx")
    stylizer = Stylizer(path, device="cpu", whole_pixels=5000).set_paint_size(80)
    frame = scene(300, 400)  # no tiles companion is there
    assert stylizer(frame).shape == frame.shape


def test_a_style_picture_is_scaled_before_it_is_encoded(tmp_path: Path) -> None:
    metadata = Metadata("add", kind="style-encoder", inputs=("style",), multiple=8, code_size=3)
    style = scene(600, 800)
    assert as_style(style, metadata).shape == (1, 512, 680, 3)
    assert as_style(style, metadata, 0.5).shape == (1, 256, 336, 3)
    assert as_style(style, metadata, 2).shape == (1, 1024, 1360, 3)
    largest = as_style(style, metadata, 4).shape
    assert MAX_PIXELS * 0.9 < largest[1] * largest[2] <= MAX_PIXELS
    fixed = Metadata("add", "style-encoder", ("style",), code_size=3, fixed_size=(64, 96))
    for scale in (0.25, 1, 3):
        assert as_style(style, fixed, scale).shape == (1, 64, 96, 3)


def test_changing_the_scale_encodes_the_style_again(tmp_path: Path) -> None:
    code = Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu")
    # The middle of the picture is what a style picture of four times the size leaves: white.
    style = np.zeros((1200, 1200, 3), np.uint8)
    style[200:1000, 200:1000] = 100
    frame = np.zeros((4, 4, 3), np.uint8)
    whole = code.set_style(style)(frame)[0, 0, 0]
    scaled_up = code.set_style(scale=4)(frame)[0, 0, 0]
    assert whole < 50
    assert scaled_up > 70
    assert code.set_style(scale=1)(frame)[0, 0, 0] == whole
    assert code.set_style(style, scale=4)(frame)[0, 0, 0] == scaled_up
    saved = StyleCode(np.zeros(3, np.float32), "mean")
    assert code.encode_style(style).values[0] > 70
    assert code.set_style(saved)(frame)[0, 0, 0] == 0
    for bad in ({"scale": 2}, {"style": saved, "scale": 2}, {"style": {saved: 1}, "scale": 2}):
        with pytest.raises(BadControl, match="keeps the scale"):
            code.set_style(**bad)
    assert code.set_style(saved, scale=1)(frame)[0, 0, 0] == 0
    mask = np.ones((1, 1), bool)
    code.set_style(style, scale=1).set_regions([(style, mask)]).set_style(scale=4)
    assert code(frame)[0, 0, 0] == scaled_up


@pytest.mark.parametrize("size", [15, 16_385, 100.5, "100", float("nan")])
def test_bad_paint_sizes_are_refused(tmp_path: Path, size: int) -> None:
    stylizer = Stylizer(toys.identity_engine(tmp_path / "identity.onnx"), device="cpu")
    with pytest.raises(BadControl, match="paint size"):
        stylizer.set_paint_size(size)


@pytest.mark.parametrize("scale", [0.2, 5, float("nan"), "2"])
def test_bad_scales_are_refused(tmp_path: Path, scale: float) -> None:
    stylizer = Stylizer(toys.identity_engine(tmp_path / "identity.onnx"), device="cpu")
    with pytest.raises(BadControl, match="style scale"):
        stylizer.set_style(scale=scale)
