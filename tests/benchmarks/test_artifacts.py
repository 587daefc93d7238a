"""Planted faults are found; strokes and plain areas are not reported as faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.artifacts import (
    HORIZON,
    MAX_GRID,
    MAX_HALO,
    MAX_RASTER,
    SIZE,
    blobs,
    grid,
    halo,
    inspect,
    raster,
    seam,
    sky,
    styles_of,
    texture,
)
from benchmarks.pictures import Rgb
from st.runtime import Stylizer
from tests.support.toys import code_engine, identity_engine, tint_engine


def plain(level: int = 128) -> Rgb:
    return np.full((SIZE, SIZE, 3), level, np.uint8)


def noise(deviation: float) -> Rgb:
    values = 128 + np.random.default_rng(1).normal(0, deviation, (SIZE, SIZE, 3))
    return values.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_grid_patterns_are_detected(period: int) -> None:
    painted = plain()
    painted[::period] += 6
    # A line of 6 in one row of `period`: RMS 6 * sqrt((period - 1)) / period.
    expected = 6 * np.sqrt(period - 1) / period
    assert grid(painted)[period] == pytest.approx(expected)
    assert grid(painted)[period] > MAX_GRID
    assert grid(painted.transpose(1, 0, 2))[period] == pytest.approx(expected)


def test_dots_in_one_channel_are_detected_among_strokes() -> None:
    painted = noise(10)
    clean = grid(painted)
    painted[::4, ::4, 0] += 40
    assert grid(painted)[4] > MAX_GRID
    assert max(clean.values()) < MAX_GRID


def test_other_periods_do_not_count_as_a_grid() -> None:
    columns = 128 + 20 * np.sin(np.arange(SIZE) * 2 * np.pi / 12)
    painted = np.broadcast_to(columns[None, :, None], (SIZE, SIZE, 3)).astype(np.uint8)
    assert grid(painted)[2] < 0.1
    assert max(grid(plain(200)).values()) == 0
    assert max(grid(sky()[:HORIZON]).values()) < MAX_GRID


def test_rasters_are_detected_among_strokes() -> None:
    painted = noise(30)[:HORIZON]
    assert raster(painted) < MAX_RASTER
    painted[:, ::4] //= 2
    assert raster(painted) > MAX_RASTER
    assert raster(plain()[:HORIZON]) == 0


def test_halos_are_detected() -> None:
    painted = plain()
    assert halo(painted) == 0
    painted[:, -8:, 2] += 10
    assert halo(painted) == 10
    assert halo(painted) > MAX_HALO


def test_blobs_are_detected() -> None:
    painted = plain()
    assert blobs(painted) == 0
    painted[100:104, 100:104] = 0
    painted[200:206, 50:53] = 255
    assert blobs(painted) == 2
    painted[300, 300] = 0  # one pixel is grain
    painted[150, 100:140] = 0  # this is a stroke
    painted[250:320, 250:320] = 255  # and this a field
    assert blobs(painted) == 2
    painted[350:354, 100:140] = 50  # a stroke with a darker core
    painted[350:354, 110:114] = 0
    assert blobs(painted) == 2
    painted[20:32, 20:32] = 50  # a spot with a soft edge
    painted[23:29, 23:29] = 0
    assert blobs(painted) == 3
    assert blobs(plain(0)) == blobs(plain(255)) == blobs(sky()[:HORIZON]) == 0


def test_inspect_measures_engines_of_named_styles(tmp_path: Path) -> None:
    figures = inspect(Stylizer(identity_engine(tmp_path / "identity.onnx"), device="cpu"), None)
    assert figures["in bounds"] is True
    assert figures["tiled"] is None  # it has no tiles companion
    stylizer = Stylizer(tint_engine(tmp_path / "tint.onnx"), device="cpu")
    assert inspect(stylizer, "negative")["in bounds"] is True


def test_inspect_measures_an_any_style_engine_on_style_pictures(tmp_path: Path) -> None:
    stylizer = Stylizer(code_engine(tmp_path / "any.onnx"), device="cpu")
    assert list(styles_of(stylizer)) == ["a texture"]
    painting = tmp_path / "painting.png"
    Image.fromarray(texture(64, 64)).save(painting)
    ((name, style),) = styles_of(stylizer, [str(painting)]).items()
    row = inspect(stylizer, style, name)
    assert row["style"] == "painting"
    assert row["grid"] == pytest.approx(0, abs=0.1)
    assert styles_of(Stylizer(tint_engine(tmp_path / "tint.onnx"), device="cpu")) == {
        "negative": "negative",
        "black": "black",
    }
    assert seam(stylizer) is None


def test_inspect_reports_an_engine_that_paints_dots() -> None:
    class Faulty:
        """Paints black dots, as networks without enough training do."""

        styles = ()

        def __call__(self, frame: Rgb) -> Rgb:
            painted = frame.copy()
            painted[::64, ::64] = painted[1::64, ::64] = painted[2::64, ::64] = 0
            painted[::64, 1::64] = painted[1::64, 1::64] = painted[2::64, 1::64] = 0
            return painted

        def tiled(self, frame: Rgb, tile: int) -> Rgb:
            return self(frame) // 2

    figures = inspect(Faulty(), None)  # pyright: ignore[reportArgumentType]
    assert figures["in bounds"] is False
    assert isinstance(figures["blobs"], int)
    assert figures["blobs"] > 10
    assert isinstance(figures["tiled"], int)
    assert figures["tiled"] > 2
