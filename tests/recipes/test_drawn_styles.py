"""Style pictures made by rule: their look in figures, and that the seed determines them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from recipes import drawn_styles
from recipes.drawn_styles import PATTERNS, SIDE, colored, drawing, ink, pattern, pencil
from tests.support import photos


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_fill_their_range(kind: drawn_styles.Callable) -> None:
    levels = kind(np.random.default_rng(3))
    assert levels.shape == (SIDE, SIDE)
    assert levels.min() >= 0
    assert levels.max() <= 1
    assert levels.std() > 0.05, "a picture, not a color"


def test_a_third_is_black_on_white_and_the_rest_in_many_colors() -> None:
    made = [pattern(np.random.default_rng(n), n) for n in range(45)]
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in made)
    spread = np.array([np.ptp(picture.mean((0, 1))) for picture in made])  # between the channels
    assert 8 <= (spread < 0.08).sum() <= 30
    hues = np.array([picture.mean((0, 1)) for picture in made])
    assert hues.std(0).min() > 0.1


def test_drawings_are_lines_on_paper() -> None:
    photograph = np.asarray(Image.open(photos.photograph()).convert("RGB"), np.float32) / 255
    gray = photograph.mean(2)
    for seed in range(6):
        for rule in (pencil, ink):
            lines = rule(gray, np.random.default_rng(seed))
            assert 0 <= lines.min() < 0.5 < lines.max() <= 1
    even = np.full_like(gray, 0.8)
    assert pencil(even, np.random.default_rng(0)).min() > 0.99, "no lines where nothing is"
    made = [drawing(photograph, np.random.default_rng(seed)) for seed in range(12)]
    paper = [np.median(picture) for picture in made]
    assert np.mean(np.array(paper) > 0.7) > 0.5


def test_colors_keep_the_order_of_levels_in_black_on_white() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(8, 0)
    found = [colored(ramp, np.random.default_rng(seed)) for seed in range(30)]
    gray = [picture for picture in found if np.ptp(picture, axis=2).max() < 0.1]
    assert len(gray) >= 5
    assert all(picture[:, -1].mean() > picture[:, 0].mean() + 0.5 for picture in gray)


def test_the_command_is_deterministic(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    Image.open(photos.photograph()).convert("RGB").save(photographs / "one.png")
    for name in ("a", "b"):
        arguments = [str(photographs), str(tmp_path / name), "--patterns", "9", "--drawings", "5"]
        result = CliRunner().invoke(drawn_styles.main, arguments)
        assert result.exit_code == 0, result.output
        assert "wrote 10 style pictures" in result.output
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 10
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert Image.open(tmp_path / "a" / "drawing_0000.jpg").mode == "RGB"
