"""Color transfer between content and painting, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from st.runtime import BadControl, Stylizer
from st.runtime.painting.color_transfer import (
    COLORS,
    LUMA,
    luma_and_chroma,
    matched,
    recolor,
    transport,
)
from tests.support import toys

KEEPING = [color for color in COLORS if color != "style"]
sides = some.integers(1, 12)
pictures = some.builds(
    lambda seed, shape, low, high: (
        np.random.default_rng(seed).integers(low, high + 1, (2, *shape, 3)).astype(np.uint8)
    ),
    some.integers(0, 999),
    some.tuples(sides, sides),
    some.integers(0, 127),
    some.integers(128, 255),
)


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    return rgb @ np.array(LUMA)


@given(pair=pictures)
@settings(max_examples=100, deadline=None)
def test_luminance_keeps_the_paintings_luma_and_the_contents_hue(
    pair: NDArray[np.uint8],
) -> None:
    painted, content = pair
    kept = luma_and_chroma(painted, content)
    assert kept.shape == painted.shape
    assert np.abs(luma(kept) - luma(painted)).max() <= 0.5001
    chroma = content - luma(content)[..., None]
    own = kept - luma(kept)[..., None]
    # A factor of at most 1 for all three channels, 1 where there is room.
    factor = (own * chroma).sum(-1) / np.maximum((chroma**2).sum(-1), 1e-9)
    apart = np.abs(own - np.clip(factor, 0, 1)[..., None] * chroma)
    assert apart.max() <= 1.01
    whole = luma(painted)[..., None] + chroma
    room = ((whole >= 0) & (whole <= 255)).all(-1)
    assert np.abs(own - chroma)[room].max(initial=0) <= 1.01


@pytest.mark.parametrize("color", KEEPING)
@given(
    content=arrays(
        np.uint8, some.tuples(sides, sides, some.just(3)), elements=some.integers(0, 255)
    )
)
@settings(max_examples=50, deadline=None)
def test_an_unchanged_picture_keeps_its_colors(color: str, content: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(recolor(content, content, color), content)


def test_only_keeps_the_contents_luma() -> None:
    random = np.random.default_rng(1)
    painted, content = random.integers(80, 180, (2, 9, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(
        recolor(painted, content, "only"), recolor(content, painted, "luminance")
    )


def test_matched_colors_have_the_contents_mean_and_covariance() -> None:
    random = np.random.default_rng(2)
    mix = np.array([[30, 8, 0], [15, 15, 0], [0, 8, 15]])

    def cloud(order: list[int]) -> NDArray[np.uint8]:
        values = random.normal(size=(100, 90, 3)) @ mix * 0.7 + 128
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., order]

    painted, content = cloud([2, 0, 1]), cloud([0, 1, 2])
    result = matched(painted, content).reshape(-1, 3).astype(float)
    wanted = content.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(result.mean(0), wanted.mean(0), atol=0.2)
    np.testing.assert_allclose(np.cov(result.T), np.cov(wanted.T), atol=6)


def test_transport_is_symmetric_and_exact() -> None:
    random = np.random.default_rng(3)
    own, wanted = (m @ m.T + 50 * np.eye(3) for m in random.normal(0, 30, (2, 3, 3)))
    turn = transport(own, wanted)
    np.testing.assert_allclose(turn, turn.T, atol=1e-9)
    np.testing.assert_allclose(turn @ own @ turn, wanted, rtol=0.01, atol=1)


@pytest.mark.parametrize("color", KEEPING)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_paintings_and_contents(color: str, value: int) -> None:
    flat = np.full((6, 5, 3), value, np.uint8)
    content = np.random.default_rng(4).integers(0, 256, (6, 5, 3), np.uint8)
    for pair in ((flat, content), (content, flat), (flat, flat)):
        result = recolor(*pair, color)
        assert result.shape == flat.shape
        assert result.dtype == np.uint8
    gray = recolor(content, flat, "luminance")
    assert np.ptp(gray, axis=2).max() <= 1  # no chroma to be had


def test_a_stylizer_keeps_colors(tmp_path: Path) -> None:
    tint = Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu")
    frame = np.random.default_rng(5).integers(60, 200, (2, 24, 32, 3)).astype(np.uint8)
    painted = tint.set_color("luminance")(frame)
    assert np.abs(luma(painted) - luma(255 - frame)).max() <= 0.5001
    half = tint.set_style(strength=0.5)(frame)
    assert np.abs(half - (painted / 2 + frame / 2)).max() <= 0.5001
    with pytest.raises(BadControl, match="style, luminance, histogram, only"):
        tint.set_color("sepia")
