"""Color conversion without a codec."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as some

from st.runtime.pictures.hdr import pq_to_light
from st.video.film import yuv
from st.video.film.color import Converter, Tags
from st.video.film.tone_map import cube
from tests.support.video import clips

# BT.709 and BT.601 codes of some colors, limited range, computed by hand from H.273.
KNOWN = [
    (1, (40, 200, 60), (150, 83, 63)),
    (6, (40, 200, 60), (133, 90, 68)),
    (1, (255, 255, 255), (235, 128, 128)),
    (1, (0, 0, 0), (16, 128, 128)),
    (9, (255, 0, 0), (74, 97, 240)),
]


@pytest.mark.parametrize(("number", "rgb", "codes"), KNOWN)
def test_known_colors_are_decoded_exactly(
    number: int, rgb: tuple[int, ...], codes: tuple[int, ...]
) -> None:
    picture = np.full((4, 6, 3), rgb, np.uint8)
    frame = yuv.to_yuv(picture, "yuv420p", number, full=False)
    got = [int(plane[1, 1]) for plane in clips.planes(frame)]
    assert np.abs(np.subtract(got, codes)).max() <= 1
    assert np.abs(yuv.to_rgb(frame, number, full=False).astype(int) - rgb).max() <= 2


@given(
    some.sampled_from(yuv.PIXEL_FORMATS),
    some.sampled_from([1, 6, 9]),
    some.booleans(),
    some.integers(1, 33),
    some.integers(1, 33),
    some.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_any_picture_survives_encoding(
    pixel_format: str, number: int, full: bool, width: int, height: int, seed: int
) -> None:
    """YUV -> RGB -> YUV for colors inside the RGB cube, with the sharpest chroma edges."""
    noise = np.random.default_rng(seed)
    frame = VideoFrame(width, height, pixel_format)
    for index, plane in enumerate(frame.planes):
        # Luma in the middle and chroma near gray stay within RGB's cube.
        low, high = ((100, 150), (100, 156))[index > 0]
        values = yuv.pixels(plane)
        values[:] = noise.integers(low, high, values.shape, np.uint8)
    rgb = yuv.to_rgb(frame, number, full)
    assert rgb.shape == (height, width, 3)
    back = yuv.to_yuv(rgb, pixel_format, number, full)
    for before, after in zip(clips.planes(frame), clips.planes(back), strict=True):
        assert np.abs(before - after).max() <= 1


@pytest.mark.parametrize(
    "pixels", ["yuv420p10le", "yuv422p10le", "yuv444p12le", "nv12", "gbrp", "yuva420p"]
)
def test_other_pixel_formats_survive_encoding(pixels: str) -> None:
    tags = Tags(0, 2, 1, 1) if pixels == "gbrp" else Tags(1, 1, 1, 1)
    source = VideoFrame.from_ndarray(clips.scene(3, 96, 128))
    frame = source.reformat(format=pixels, src_color_range=2, dst_colorspace=1, dst_color_range=1)
    if pixels == "gbrp":
        frame = source.reformat(format=pixels)
    tags.stamp(frame)
    before = [plane.copy() for plane in clips.planes(frame)]
    converter = Converter()
    opened = converter.open(frame, 96, 128)
    assert np.abs(opened.rgb.astype(int) - clips.scene(3, 96, 128)).mean() < 2
    back = converter.to_frame(opened.rgb, opened, pixels, tags)
    for one, two in zip(before, clips.planes(back), strict=True):
        assert np.abs(one - two).max() <= 2


def test_tone_curve_is_monotonic_and_keeps_gray_gray() -> None:
    for transfer in (16, 18):
        table = cube(transfer)
        gray = np.array([table[i, i, i] for i in range(len(table))])
        assert np.ptp(gray, axis=1).max() < 0.01
        assert (np.diff(gray[:, 0]) >= -1e-9).all()
        assert gray[0].max() < 0.01
        assert gray[-1].min() > 0.99
    # Diffuse white, 58 % of PQ, is 203 cd/m2 (BT.2408).
    assert pq_to_light(np.array([0.58]))[0] == pytest.approx(1, abs=0.02)


def test_an_untagged_video_stays_untagged(tmp_path: Path) -> None:
    from tests.support.video.golden import stylize

    source = clips.film(tmp_path / "in.mp4", tags=None, frames=3)
    stylize(source, tmp_path / "out.mp4", quality=0)
    before, after = clips.read(source)[0], clips.read(tmp_path / "out.mp4")[0]
    assert after.colorspace == before.colorspace == 2
    for one, two in zip(clips.planes(before), clips.planes(after), strict=True):
        assert np.abs(one - two).max() <= 2
    # A new size changes what players guess, so then the matrix is named.
    stylize(source, tmp_path / "small.mp4", size=32)
    with av.open(str(tmp_path / "small.mp4")) as film:
        assert film.streams.video[0].codec_context.colorspace == 6
