"""Colorized videos: luma is preserved, colors are stable, and a cut resets the filter."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from st.runtime import Stylizer
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadControl
from st.runtime.painting.chroma import chroma_of, colored, luma_of
from st.video.command import main
from st.video.film.chroma_filter import ChromaFilter, temporal_filter_for
from st.video.film.temporal_filter import TemporalFilter
from tests.support import toys
from tests.support.video import clips

Picture = np.ndarray[Any, Any]
COLORIZER = Metadata(
    "color", kind="colorizer", inputs=("content", "hints", "palette"), render_factor=10
)


def landscape(seed: int, height: int = 96, width: int = 160) -> Picture:
    """A smooth gray structure that optical flow can follow."""
    noise = np.random.default_rng(seed).random((height // 8, width // 8), dtype=np.float32)
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.repeat((large.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def pan(frames: int, step: int = 2) -> list[Picture]:
    wide = landscape(0, width=160 + frames * step)
    return [np.ascontiguousarray(wide[:, n * step : n * step + 160]) for n in range(frames)]


def unsure(source: Picture, seed: int) -> Picture:
    """The frame in a color that changes from frame to frame."""
    own = np.random.default_rng(seed).normal(0, 0.05, 2)
    chroma = np.broadcast_to(own.astype(np.float32), (*source.shape[:2], 2))
    return colored(source, source, np.ascontiguousarray(chroma))


def flicker(film: list[Picture]) -> float:
    """Mean change of the mean chroma from frame to frame."""
    means = [chroma_of(frame)[8:-8, 8:-8].mean(axis=(0, 1)) for frame in film]
    return float(np.mean([np.abs(b - a).sum() for a, b in itertools.pairwise(means)]))


def test_colors_of_a_pan_flicker_less_and_luma_is_kept() -> None:
    film = pan(12)
    painted = [unsure(frame, n) for n, frame in enumerate(film)]
    steady = ChromaFilter()
    out = [steady(s, p) for s, p in zip(film, painted, strict=True)]
    assert flicker(out) < 0.4 * flicker(painted)
    for frame, made in zip(film, out, strict=True):
        np.testing.assert_array_equal(np.rint(luma_of(made)), frame[..., 0])
    np.testing.assert_array_equal(out[0], painted[0])


def test_grain_is_not_taken_for_motion() -> None:
    """The noise of an old video must not make its colors flicker, as it would with the filter for
    paintings."""
    random = np.random.default_rng(0)
    still = landscape(3)
    grains = [random.normal(0, 9, (*still.shape[:2], 1)) for _ in range(12)]
    film = [(still + grain).clip(0, 255).astype(np.uint8) for grain in grains]
    painted = [unsure(frame, n) for n, frame in enumerate(film)]
    color, painting = ChromaFilter(0.85), TemporalFilter(0.85)
    ours = [color(s, p) for s, p in zip(film, painted, strict=True)]
    theirs = [painting(s, p) for s, p in zip(film, painted, strict=True)]
    assert flicker(ours) < 0.4 * flicker(painted)
    assert flicker(ours) < 0.7 * flicker(theirs)


def test_a_hard_cut_resets_the_filter() -> None:
    steady = ChromaFilter(0.95)
    first, second = landscape(1), landscape(2)
    steady(first, unsure(first, 0))
    painted = unsure(second, 1)
    np.testing.assert_array_equal(steady(second, painted), painted)


def test_the_filter_continues_from_its_state() -> None:
    film = pan(6)
    painted = [unsure(frame, n) for n, frame in enumerate(film)]
    whole, first, second = (ChromaFilter() for _ in range(3))
    expected = [whole(s, p) for s, p in zip(film, painted, strict=True)]
    assert first.state == {}
    for s, p in zip(film[:3], painted[:3], strict=True):
        first(s, p)
    second.restore(first.state)
    for s, p, e in zip(film[3:], painted[3:], expected[3:], strict=True):
        np.testing.assert_array_equal(second(s, p), e)


def test_the_filter_depends_on_the_engine_kind() -> None:
    assert temporal_filter_for(Metadata("wave"), None) is None
    assert type(temporal_filter_for(Metadata("wave"), 0.5)) is TemporalFilter
    assert type(temporal_filter_for(COLORIZER, None)) is ChromaFilter
    assert temporal_filter_for(COLORIZER, 0) is None
    for metadata in (COLORIZER, Metadata("wave")):
        with pytest.raises(BadControl, match="is outside"):
            temporal_filter_for(metadata, 1.5)


@pytest.mark.parametrize("steady", [None, "0"])
def test_a_gray_format_video_is_colorized(tmp_path: Path, steady: str | None) -> None:
    film = pan(9)
    source, target = tmp_path / "old.mkv", tmp_path / "new.mkv"
    write_gray(source, film)
    engine = toys.color_engine(tmp_path / "color.onnx")
    asked = [str(source), "-o", str(target), "--engine", str(engine), "--codec", "lossless"]
    result = CliRunner().invoke(main, asked + (["--steady", steady] if steady else []))
    assert result.exit_code == 0, result.output
    before, after = (
        [np.asarray(frame.to_ndarray(format="rgb24")) for frame in clips.read(path)]
        for path in (source, target)
    )
    assert len(after) == len(before) == 9
    for old, new in zip(before, after, strict=True):
        assert np.abs(luma_of(new) - luma_of(old)).max() <= 1.5  # YUV's rounding, twice
        assert np.abs(chroma_of(new)).mean() > 0.02
    if steady == "0":  # as the Stylizer alone does it
        paint = Stylizer(engine)
        assert np.abs(after[4].astype(int) - paint(before[4])).max() <= 3


def write_gray(path: Path, film: list[Picture]) -> None:
    """Write FFV1 with a single channel."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = film[0].shape[1], film[0].shape[0], "gray"
        for picture in film:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[..., 0]), "gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
