"""benchmarks.large_pictures with small pictures."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks import large_pictures, machine


@pytest.mark.parametrize("megapixels", [0.1, 12, 48])
def test_sizes_have_the_requested_megapixels(megapixels: float) -> None:
    height, width = large_pictures.size_of(megapixels)
    assert height % 8 == width % 8 == 0
    assert width / height == pytest.approx(4 / 3, rel=0.03)
    assert height * width / 1e6 == pytest.approx(megapixels, rel=0.05)


def test_whole_and_tiled_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.matrix_rate, "__defaults__", (64, 0.01))
    words = ["--engine", "paintings-light", "--megapixels", "0.1", "--json"]
    result = CliRunner().invoke(large_pictures.main, words)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["painted"] for row in rows] == ["whole", "tiled"]
    height, width = large_pictures.size_of(0.1)
    assert all(row["picture"] == f"{width}×{height}" for row in rows)
    assert all(row["processor s"] > 0 and row["MiB"] > 20 for row in rows)
