"""The color benchmark: its measures against known values, and a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks import machine
from benchmarks.color import colorfulness, judge, main, psnr, tinted, without_color
from st.runtime.painting.chroma import luma_of
from st.train.data.files import held_out
from tests.support.toys import color_engine, identity_engine


def photograph(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 216, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC))


def test_measures() -> None:
    picture = photograph(0)
    assert psnr(picture, picture) == float("inf")
    # Every value off by 10: 10 · log10(255² / 100).
    assert psnr(np.full((4, 4, 3), 110, np.uint8), np.full((4, 4, 3), 100, np.uint8)) == (
        pytest.approx(28.13, abs=0.01)
    )
    assert colorfulness(without_color(picture)) == 0
    # One color all over: no spread, so 0.3 · √(rg² + yb²) of (200, 100, 50).
    flat = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    assert colorfulness(flat) == pytest.approx(0.3 * np.hypot(100, 100))
    # Two halves, red and green: the deviation of R - G is 200, that of yellow and blue 0.
    halves = np.zeros((2, 4, 3), np.uint8)
    halves[0, :, 0] = halves[1, :, 1] = 200
    assert colorfulness(halves) == pytest.approx(200 + 0.3 * 100)
    found = judge(without_color(picture), picture)
    assert found.luma == 0
    assert found.colorfulness == 0
    tint = tinted(without_color(picture), np.array([0.05, 0.0]))
    np.testing.assert_array_equal(np.rint(luma_of(tint)), without_color(picture)[..., 0])
    off = judge(tint, without_color(picture))
    assert off.blue == pytest.approx(0.05 * 255, abs=0.5)
    assert off.red == pytest.approx(0, abs=0.5)
    plain = np.minimum(without_color(picture), 240)
    assert judge(plain + np.uint8(9), plain).luma == 9


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(12):
        Image.fromarray(photograph(seed)).save(photos / f"p{seed}.png")
    held = sum(held_out(path, 3) for path in photos.iterdir())
    assert 0 < held < 12
    engine, sheet = color_engine(tmp_path / "toy.onnx"), tmp_path / "sheet.jpg"
    shared = ["--content", str(photos), "--hold-out", "3", "--size", "64"]
    result = CliRunner().invoke(main, [str(engine), *shared, "--sheet", str(sheet), "--json"])
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout)
    assert table["title"] == f"colors of {held} photographs"
    rows = {row["colored by"]: row for row in table["rows"]}
    assert set(rows) == {"nobody (gray)", "the mean color", "toy", "the photograph"}
    assert rows["nobody (gray)"]["colorfulness"] == 0
    assert rows["toy"]["colorfulness"] > 1
    assert rows["toy"]["luma off"] == 0
    assert rows["the mean color"]["PSNR, dB"] >= rows["nobody (gray)"]["PSNR, dB"]
    with Image.open(sheet) as image:
        assert image.size == (3 * 192, min(held, 12) * 192)
    other = CliRunner().invoke(main, [str(identity_engine(tmp_path / "i.onnx")), *shared])
    assert other.exit_code == 2
    assert "not a colorizer" in other.output
