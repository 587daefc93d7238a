"""Several Stylizers on one open engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from st.runtime import BadControl, StError, Stylizer
from tests.support import toys

FRAME: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.fixture
def tint(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu")


def test_styled_starts_with_the_settings_of_the_original(tint: Stylizer) -> None:
    other = tint.set_style("black", strength=0.5).styled()
    np.testing.assert_array_equal(other(FRAME), tint(FRAME))
    assert (other.styles, other.device, other.metadata) == (tint.styles, tint.device, tint.metadata)


def test_styled_copies_have_their_own_settings(tint: Stylizer) -> None:
    black, mixed = tint.styled("black"), tint.styled({"negative": 1, "black": 1})
    tint.set_style(strength=0)
    mixed.set_style(strength=0.5)
    assert not black(FRAME).any()
    np.testing.assert_array_equal(tint(FRAME), FRAME)
    assert np.abs(mixed(FRAME) - (0.5 * FRAME + 0.25 * (255.0 - FRAME))).max() <= 1


def test_styled_refuses_bad_settings(tint: Stylizer) -> None:
    with pytest.raises(BadControl, match="negative, black"):
        tint.styled("wave")


def test_many_copies_paint_at_once_with_their_own_settings(tint: Stylizer) -> None:
    strengths = np.linspace(0, 1, 8)
    others = [tint.styled("black", float(strength)) for strength in strengths]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for strength, painted in zip(
                strengths, pool.map(lambda paint: paint(FRAME), others), strict=True
            ):
                assert np.abs(painted - (1 - strength) * FRAME).max() <= 1


def test_the_style_encoder_is_opened_once_for_all_copies(tmp_path: Path) -> None:
    engine = toys.code_engine(tmp_path / "code.onnx")
    first = Stylizer(engine, device="cpu")
    other = first.styled(FRAME)
    (tmp_path / "code.encoder.onnx").unlink()
    np.testing.assert_array_equal(first.set_style(FRAME)(FRAME), other(FRAME))


def test_closing_a_copy_keeps_the_original_open(tint: Stylizer) -> None:
    with tint.styled("black") as other:
        assert not other(FRAME).any()
    np.testing.assert_array_equal(tint(FRAME), 255 - FRAME)


def test_closing_the_original_closes_its_copies(tint: Stylizer) -> None:
    other = tint.styled()
    tint.close()
    with pytest.raises(StError, match="closed"):
        other(FRAME)
