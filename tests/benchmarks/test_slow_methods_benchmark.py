"""Benchmarks of the slow methods: figures computed by hand, and a run on tiny pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import slow_methods
from benchmarks.slow_methods import (
    FLAT,
    WINDOW,
    Painted,
    at_equal_style,
    changes_of,
    laplacian_distance,
    local_contrast,
    main,
    patch_figures,
    to_tensor,
    washed_out,
)
from st.runtime import BadInput
from st.train.features.squeezenet import SqueezeNet


def picture(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def test_local_contrast_is_the_standard_deviation_of_each_window() -> None:
    rgb = np.repeat(picture()[..., :1], 3, axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(rgb[..., 0] / 255, (WINDOW, WINDOW))
    expected = windows.std(axis=(2, 3))
    found = local_contrast(rgb)
    # The outermost windows of one side may be left out: an even window has no middle.
    assert found.size >= 0.9 * expected.size
    for value in found[:: found.size // 20]:
        assert np.abs(expected - value).min() < 1e-6


def test_washed_out() -> None:
    style = picture(1)
    share, apart = washed_out(style, style)
    assert share == pytest.approx(FLAT, abs=0.01)
    assert apart == 0
    gray = np.full_like(style, 128)
    assert washed_out(gray, style)[0] == 1
    half = ((style.astype(int) + 128) // 2).astype(np.uint8)
    assert washed_out(half, style)[1] == pytest.approx(local_contrast(style).mean() / 2, rel=0.05)


def test_patch_figures_of_a_picture_and_itself() -> None:
    torch.manual_seed(0)
    network = SqueezeNet()
    apart, used = patch_figures(network, picture(), picture())
    assert apart == pytest.approx(0, abs=1e-5)
    assert used > 0.9
    other, some = patch_figures(network, np.full((48, 64, 3), 90, np.uint8), picture())
    assert other > apart
    assert some < used


def test_laplacian_distance_of_a_flat_picture_is_1() -> None:
    content = to_tensor(picture(2, 96, 96))
    assert laplacian_distance(content, content) == 0
    assert laplacian_distance(torch.full_like(content, 0.4), content) == pytest.approx(1, abs=1e-3)


def test_methods_are_compared_at_equal_style() -> None:
    rgb = picture()
    gatys = Painted(rgb, 1.0, [(3.0, 0.1), (2.0, 0.5), (1.0, 0.9)])
    laplacian = Painted(rgb, 1.0, [(5.0, 0.05), (2.0, 0.2)])
    assert at_equal_style(gatys, laplacian) == (2.0, 0.5, 0.2)


def test_settings() -> None:
    given = ["gatys.style_weight=20", "laplacian.pools=2,8:0.5", "gatys.steps=7"]
    assert changes_of(["gatys", "laplacian"], given) == {
        "gatys": {"style_weight": 20.0, "steps": 7},
        "laplacian": {"pools": ("2", "8:0.5")},
    }
    for bad in ("gatys", "gatys.nosuch=1", "nosuch.steps=1", "cnnmrf.steps=2"):
        with pytest.raises(BadInput, match="--set"):
            changes_of(["gatys", "laplacian"], [bad])


def test_the_command_paints_only_missing_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_methods, "load_squeezenet", SqueezeNet)
    for name, seed in (("photo", 0), ("art", 1)):
        Image.fromarray(picture(seed)).save(tmp_path / f"{name}.png")
    pair = ["--pair", str(tmp_path / "photo.png"), str(tmp_path / "art.png")]
    methods = ["--method", "gatys", "--method", "laplacian"]
    arguments = [*pair, *methods, "--size", "64", "--steps", "2", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert [row["method"] for row in rows] == ["(the photograph)", "gatys", "laplacian"]
    assert rows[0]["content"] == 0
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [
        f"photo-art-{name}{suffix}"
        for name in ("gatys", "laplacian")
        for suffix in (".json", ".png")
    ]
    Image.fromarray(picture(1)).save(tmp_path / "out" / "photo-art-gatys.png")
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0, again.output
    assert "at a Gram loss of" in again.stdout
