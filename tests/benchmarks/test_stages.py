"""benchmarks.stages with a toy engine: rows, sizes, and quality measures against their
definitions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import machine, stages, video
from st.runtime.bench.clips import drifting
from tests.support.toys import tint_engine


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round, small matrices, and a short measurement of the matmul rate."""
    monkeypatch.setattr(stages, "ROUNDS", 1)
    monkeypatch.setattr(stages, "PRODUCT", 64)
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))


@pytest.mark.usefixtures("quick")
def test_every_stage_has_a_row(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    video.write_film(clip, drifting((64, 96), 6))
    engine = tint_engine(tmp_path / "tint.onnx")
    words = [clip, "--engine", engine, "--device", "cpu", "--size", "96x64", "--frames", 6]
    words += ["--preset", "default", "--preset", "ultrafast", "--json"]
    result = CliRunner().invoke(stages.main, [*map(str, words)])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["stage"] for row in rows] == [
        "reference",
        "decoding",
        "colors",
        "colors",
        "painting",
        "encoding",
        "encoding",
    ]
    assert all(row["ms"] > 0 for row in rows)
    usual, quickest = rows[-2:]
    assert usual["what"] == "x264, default"
    assert 0 < usual["kB"] < quickest["kB"]
    for row in (usual, quickest):
        assert 30 < row["PSNR"] < 60
        assert 0.9 < row["SSIM"] < 1
    assert all(row["PSNR"] is None for row in rows[:-2])


def test_quality_of_equal_and_of_shifted_pictures() -> None:
    random = np.random.default_rng(0)
    picture = random.uniform(0, 255, (40, 50)).astype(np.float32)
    assert stages.ssim(picture, picture) == pytest.approx(1, abs=1e-4)
    assert stages.ssim(picture, 255 - picture) < 0
    assert stages.psnr(255.0**2) == pytest.approx(0)
    assert stages.psnr(255.0**2 / 1000) == pytest.approx(30)


def test_psnr_of_a_uniform_shift_matches_the_formula() -> None:
    one, two = np.full((32, 32), 100, np.float32), np.full((32, 32), 120, np.float32)
    small = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + small) / (100**2 + 120**2 + small)
    assert stages.ssim(one, two) == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("quick")
def test_bad_sizes_give_one_line() -> None:
    result = CliRunner().invoke(stages.main, ["--size", "63x64"])
    assert result.exit_code == 2
    assert "--size: both sides must be multiples of 4" in result.output
