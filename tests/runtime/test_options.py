"""Which shipped engine a command uses by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from st import engines
from st.runtime.cli.engine_options import engine_for
from st.runtime.cli.image import main


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    """Broad red and ochre strokes."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8) // (1, 2, 8)
    image = Image.fromarray(coarse.astype(np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)
    image.save(tmp_path / "painting.png")
    return tmp_path / "painting.png"


def test_a_style_picture_selects_the_any_style_engine(painting: Path) -> None:
    assert engine_for([]) == engines.DEFAULT
    assert engine_for(["wave", "the_scream:0.5"]) == engines.DEFAULT
    assert engine_for([str(painting)]) == engines.ANY_STYLE
    assert engine_for([f"{painting}:0.3"]) == engines.ANY_STYLE
    assert engine_for(["no_such_style"]) == engines.DEFAULT, "which tells the names there are"


def test_a_style_name_wins_over_a_file_of_that_name(
    painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(painting.parent)
    painting.rename("wave")
    assert engine_for(["wave"]) == engines.DEFAULT


def test_a_style_picture_needs_no_engine_option(painting: Path, tmp_path: Path) -> None:
    y, x = np.mgrid[0:96, 0:128]
    photo = np.stack([y * 2, x, 255 - x], axis=-1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    output = tmp_path / "out.png"
    words = [str(tmp_path / "photo.png"), "-s", str(painting), "-o", str(output)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    painted = np.asarray(Image.open(output))
    red, green, blue = painted.reshape(-1, 3).mean(axis=0)
    assert red > green > blue, "in the painting's colors"
    assert red - blue > 30
