"""Golden clips through an engine that changes nothing: the output equals the input."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.video import clips
from tests.support.video.golden import GOLDEN, LIMIT, color_error, losses, make, repainted, stylize


@pytest.fixture(params=["at once", "in parts"])
def settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Video settings for both code paths, which must preserve everything."""
    monkeypatch.setattr("st.video.jobs.segments.SEGMENT_FRAMES", 7)
    return None if request.param == "at once" else "an engine that paints nothing"


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_clips_keep_streams_times_and_colors(
    name: str, settings: str | None, tmp_path: Path
) -> None:
    source = make(name, tmp_path)
    target, lines = repainted(name, source, settings)
    assert list(losses(name, source, target, lines)) == []
    assert color_error(name, source, target) <= LIMIT


def test_sound_and_subtitles_are_copied_bit_for_bit(settings: str | None, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", sounds=2, subtitles="subrip")
    stylize(source, tmp_path / "out.mkv", settings=settings)
    for kind, number in (("audio", 0), ("audio", 1), ("subtitle", 0)):
        assert clips.packets(tmp_path / "out.mkv", kind, number) == clips.packets(
            source, kind, number
        )


def test_mp4_sound_keeps_its_priming(settings: str | None, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", sounds=1)
    stylize(source, tmp_path / "out.mp4", settings=settings)
    waves = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as film:
            frames = list(film.decode(audio=0))
            waves.append((frames[0].time, np.concatenate([f.to_ndarray()[0] for f in frames])))
    assert waves[0][0] == waves[1][0]
    np.testing.assert_array_equal(waves[0][1], waves[1][1])


def test_rotated_videos_are_painted_upright(tmp_path: Path) -> None:
    """A phone's video: the engine gets upright frames, and the file keeps its rotation."""
    source = clips.film(tmp_path / "in.mp4", rotation=-90)
    shapes = set()

    def paint(frame: np.ndarray) -> np.ndarray:
        shapes.add(frame.shape)
        frame = frame.copy()
        frame[:8] = 255  # the top, for a viewer
        return frame

    stylize(source, tmp_path / "out.mp4", paint, quality=1)
    stylize(source, tmp_path / "frames", paint)
    assert shapes == {(clips.WIDTH, clips.HEIGHT, 3)}
    first = clips.read(tmp_path / "out.mp4")[0]
    assert first.rotation == -90
    stored = first.to_ndarray(format="rgb24")
    # Turned clockwise to be seen, so the stored left edge is the seen top.
    assert stored[:, :6].min() > 240
    assert stored[:, -6:].max() < 240
    upright = clips.read(tmp_path / "frames" / "00001.png")[0].to_ndarray(format="rgb24")
    assert upright.shape == (clips.WIDTH, clips.HEIGHT, 3)
    assert upright[:6].min() == 255


def test_alpha_survives_in_prores_vp9_and_pictures(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", codec="ffv1", pixels="bgra", alpha=True, tags=None)
    veil = clips.read(source)[0].to_ndarray(format="rgba")[..., 3]
    for name in ("out.mov", "out.mkv"):
        stylize(source, tmp_path / name)
        kept = clips.read(tmp_path / name)[0].to_ndarray(format="rgba")[..., 3]
        assert np.abs(kept.astype(int) - veil).max() <= 4, name
    # FFmpeg's own VP9 decoder drops alpha: st reads it back by libvpx.
    stylize(source, tmp_path / "out.webm")
    stylize(tmp_path / "out.webm", tmp_path / "frames")
    kept = clips.read(tmp_path / "frames" / "00001.png")[0].to_ndarray(format="rgba")[..., 3]
    assert np.abs(kept.astype(int) - veil).max() <= 8
    lines: list[str] = []
    stylize(source, tmp_path / "out.mp4", lines=lines)
    assert len(lines) == 1
    assert "transparency" in lines[0]


def test_hdr_becomes_sdr_with_matching_tags(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none", "preset": "ultrafast"}
    for transfer in (16, 18):
        source = clips.film(
            tmp_path / "in.mkv",
            codec="libx265",
            pixels="yuv420p10le",
            tags=(9, 1, 9, transfer),
            frames=3,
            options=options,
        )
        lines: list[str] = []
        seen: list[float] = []

        def paint(frame: np.ndarray, means: list[float] = seen) -> np.ndarray:
            means.append(frame.mean())
            return frame

        stylize(source, tmp_path / "out.mp4", paint, lines)
        frame = clips.read(tmp_path / "out.mp4")[0]
        tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        assert tags == (1, 1, 1, 1)
        assert len(lines) == 1
        assert 60 < np.mean(seen) < 230


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "prores", "lossless"])
def test_codecs_and_their_quality(codec: str, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", frames=6)
    suffix = ".mov" if codec == "prores" else ".mkv"
    sizes = []
    for quality in (None,) if codec == "lossless" else (2, 30):
        target = tmp_path / f"{quality}{suffix}"
        noise = np.random.default_rng(0).integers(0, 255, (clips.HEIGHT, clips.WIDTH, 3), np.uint8)
        stylize(source, target, lambda frame, n=noise: n, codec=codec, quality=quality)
        assert len(clips.read(target)) == 6
        sizes.append(target.stat().st_size)
    if codec == "lossless":
        np.testing.assert_array_equal(
            clips.read(tmp_path / "None.mkv")[0].to_ndarray(format="rgb24"), noise
        )
    else:
        assert sizes[0] > 1.2 * sizes[1]


def test_size_keeps_the_display_aspect_ratio(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4", aspect=Fraction(32, 27), frames=3)
    stylize(source, tmp_path / "long.mp4", size=32)
    stylize(source, tmp_path / "wide.mp4", size=(24, 64))
    with av.open(str(tmp_path / "long.mp4")) as film:
        video = film.streams.video[0]
        assert (video.width, video.height) == (32, 24)
        assert video.sample_aspect_ratio == Fraction(32, 27)
    with av.open(str(tmp_path / "wide.mp4")) as film:
        assert film.streams.video[0].sample_aspect_ratio == Fraction(16, 27)


def test_tracks_that_a_container_cannot_hold_are_converted_or_reported(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mkv", sounds=1, subtitles="ass", attachment=b"font")
    lines: list[str] = []
    stylize(source, tmp_path / "out.mp4", lines=lines)
    assert len(lines) == 2, lines
    assert sum("converted" in line for line in lines) == 1
    assert sum("left out" in line for line in lines) == 1
    texts = [data for _, data in clips.packets(tmp_path / "out.mp4", "subtitle")]
    assert [t[2:] for t in texts if len(t) > 2] == [b"line 0", b"line 1"]
    lines.clear()
    stylize(source, tmp_path / "out.webm", lines=lines)
    with av.open(str(tmp_path / "out.webm")) as film:
        assert film.streams.audio[0].codec_context.name == "opus"
        sound = sum(f.samples for f in film.decode(audio=0)) / 48000
    assert sound == pytest.approx(1, abs=0.05)
