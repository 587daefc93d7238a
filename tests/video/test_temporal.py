"""The flicker filter: it stabilizes moving surfaces and uses the new painting where something
appears."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as some

from st.runtime.errors import BadControl
from st.runtime.painting.optical_flow import inside, warp
from st.video.command import main
from st.video.film.temporal_filter import TemporalFilter
from tests.support.toys import identity_engine
from tests.support.video import clips

Picture = np.ndarray[Any, Any]


def landscape(seed: int, height: int = 96, width: int = 160) -> Picture:
    """A smooth structure that optical flow can follow."""
    noise = np.random.default_rng(seed).random((height // 8, width // 8, 3), dtype=np.float32)
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (large.clip(0, 1) * 255).astype(np.uint8)


def pan(frames: int, step: int = 2) -> list[Picture]:
    """A camera that moves to the right by `step` pixels per frame."""
    wide = landscape(0, width=160 + frames * step)
    return [wide[:, n * step : n * step + 160] for n in range(frames)]


def flickering(source: Picture, seed: int) -> Picture:
    """A painting with different noise in each frame."""
    noise = np.random.default_rng(seed).normal(0, 20, source.shape)
    return (255.0 - source + noise).clip(0, 255).astype(np.uint8)


def unsteadiness(film: list[Picture], step: int) -> float:
    """Mean squared difference between each frame and the previous one, aligned."""
    pairs = itertools.pairwise(film)
    errors = [(b[8:-8, 8 : -8 - step] - a[8:-8, 8 + step : -8]) ** 2 for a, b in pairs]
    return float(np.mean(errors))


def test_a_pan_flickers_less_and_keeps_its_content() -> None:
    film = pan(12)
    painted = [flickering(frame, n) for n, frame in enumerate(film)]
    filtered = TemporalFilter(0.75)
    out = [filtered(s, p) for s, p in zip(film, painted, strict=True)]
    before, after = (unsteadiness([x.astype(float) for x in f], 2) for f in (painted, out))
    assert after < 0.2 * before
    # And nearer to the painting without noise than the flickering one is.
    clean = 255.0 - film[-1]
    errors = [float(((x - clean)[8:-8, 8:-8] ** 2).mean()) for x in (painted[-1], out[-1])]
    assert errors[1] < 0.5 * errors[0]


def test_a_hard_cut_resets_the_filter() -> None:
    filtered = TemporalFilter(0.9)
    first, second = landscape(1), landscape(2)
    filtered(first, flickering(first, 0))
    painted = flickering(second, 1)
    np.testing.assert_array_equal(filtered(second, painted), painted)


def test_uncovered_areas_show_the_new_painting() -> None:
    """A square moves away: the uncovered area shows the new painting."""
    ground = landscape(3)
    before, after = ground.copy(), ground.copy()
    before[30:60, 20:50] = (250, 20, 20)
    after[30:60, 100:130] = (250, 20, 20)
    filtered = TemporalFilter(0.9)
    filtered(before, before)
    painted = 255 - after
    out = filtered(after, painted)
    uncovered = np.s_[36:54, 26:44]
    assert np.abs(out[uncovered].astype(int) - painted[uncovered]).mean() < 8


def test_strength_0_changes_nothing_and_others_are_checked() -> None:
    film = pan(3)
    filtered = TemporalFilter(0)
    for n, frame in enumerate(film):
        painted = flickering(frame, n)
        np.testing.assert_array_equal(filtered(frame, painted), painted)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(BadControl):
            TemporalFilter(wrong)


def test_warp_follows_integer_flow_and_inside_marks_its_limits() -> None:
    picture = landscape(4, 32, 48)
    flow = np.zeros((32, 48, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, -2
    moved = warp(picture, flow)
    np.testing.assert_array_equal(moved[2:, :-3], picture[:-2, 3:])
    beyond = ~inside(flow)
    assert beyond[:2].all()
    assert beyond[:, -3:].all()
    assert not beyond[2:, :-3].any()


@settings(deadline=None, max_examples=15)
@given(
    some.lists(
        some.tuples(some.integers(1, 70), some.integers(1, 70)),
        min_size=2,
        max_size=4,
    )
)
def test_frames_of_any_and_changing_size_are_filtered(sizes: list[tuple[int, int]]) -> None:
    filtered = TemporalFilter(0.75)
    for n, (height, width) in enumerate(sizes):
        source = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
        kept = source.copy()
        out = filtered(source, 255 - source)
        assert out.shape == source.shape
        assert out.dtype == np.uint8
        np.testing.assert_array_equal(source, kept)


def test_the_command_filters_a_video(tmp_path: Path) -> None:
    identity_engine(tmp_path / "identity.onnx")
    source = clips.film(tmp_path / "in.mp4")
    words = [str(source), "--engine", str(tmp_path / "identity.onnx"), "--codec", "lossless"]
    films = []
    for extra in ([], ["--steady", "0.75"]):
        target = tmp_path / f"out{len(films)}.mkv"
        result = CliRunner().invoke(main, [*words, *extra, "-o", str(target)])
        assert result.exit_code == 0, result.output
        films.append([f.to_ndarray(format="rgb24").astype(int) for f in clips.read(target)])
    assert len(films[1]) == len(films[0]) == clips.FRAMES
    difference = max(np.abs(a - b).max() for a, b in zip(*films, strict=True))
    assert 0 < difference < 60
    result = CliRunner().invoke(main, [*words, "--steady", "7", "-o", str(tmp_path / "no.mkv")])
    assert result.exit_code == 2
    assert "--steady: filter strength 7 is outside 0..1" in result.output
