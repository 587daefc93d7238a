"""Golden clips, and the differences after an engine that does not change the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from st.video.jobs.job import Callbacks, Job, Painter, Result, open_reader, perform
from tests.support.video import clips

VARIABLE = [0, 512, 700, 1500, 1536, 2600, 4000, 4100, 5000, 6144, 6700, 8000]
BT709, BT601, FULL = (1, 1, 1, 1), (6, 1, 6, 6), (1, 2, 1, 1)
BT2020 = (9, 1, 9, 14)

# name -> (suffix of the clip, how it is made, codec to write)
GOLDEN: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "bt709": (".mp4", {"tags": BT709}, None),
    "bt601": (".mp4", {"tags": BT601}, None),
    "full-range": (".mp4", {"tags": FULL}, None),
    "10-bit": (
        ".mkv",
        {
            "codec": "libx265",
            "pixels": "yuv420p10le",
            "tags": BT2020,
            "options": {"x265-params": "log-level=none:lossless=1", "preset": "ultrafast"},
        },
        "hevc",
    ),
    "rotated": (".mp4", {"rotation": 90}, None),
    "variable-rate": (".mp4", {"times": VARIABLE, "frames": len(VARIABLE)}, None),
    "odd-size": (".mp4", {"size": (63, 47), "pixels": "yuv444p"}, None),
    "wide-pixels": (".mp4", {"aspect": Fraction(32, 27)}, None),
    "two-sounds": (
        ".mkv",
        {"sounds": 2, "subtitles": "subrip", "chapters": True, "attachment": b"a font"},
        None,
    ),
    "no-sound": (".mp4", {}, None),
    "alpha": (
        ".mkv",
        {"codec": "ffv1", "pixels": "bgra", "alpha": True, "tags": (0, 2, 1, 13)},
        None,
    ),
    "cut": (".mkv", {"sounds": 1, "frames": 48}, None),
    "interlaced": (".mp4", {"interlaced": True}, None),
}
LIMIT = 2  # levels of 255
# x265 is not lossless at quality 0, and bwdif interpolates half of the lines of an interlaced
# video: the colors of these clips are compared as means over squares of this many samples.
SQUARE = {"10-bit": 8, "interlaced": 8}


def make(name: str, folder: Path) -> Path:
    suffix, how, _ = GOLDEN[name]
    source = clips.film(folder / f"in{suffix}", **how)
    if name == "cut":
        whole = source.read_bytes()
        source.write_bytes(whole[: len(whole) * 6 // 10])
    return source


def stylize(
    source: Path,
    target: Path,
    paint: Callable[[np.ndarray], np.ndarray] = lambda frame: frame,
    lines: list[str] | None = None,
    settings: str | None = None,
    **choices: Any,
) -> Result:
    job = Job(source, **choices)
    reader = open_reader(job)
    try:
        warn = (lines if lines is not None else []).append
        return perform(job, reader, target, Painter(paint, 2, settings), Callbacks(warn))
    finally:
        reader.close()


def repainted(name: str, source: Path, settings: str | None = None) -> tuple[Path, list[str]]:
    """The output for a golden clip, lossless where the codec allows it, and the warnings."""
    codec = GOLDEN[name][2]
    lines: list[str] = []
    target = source.with_stem("out")
    quality = None if name == "alpha" else 0  # lossless, in H.264
    stylize(source, target, lines=lines, settings=settings, codec=codec, quality=quality)
    return target, lines


def losses(name: str, source: Path, target: Path, lines: list[str]) -> Iterator[str]:
    """Descriptions of the properties that were not preserved."""
    before, after = clips.read(source), clips.read(target)
    times = [float(f.time or 0) for f in before], [float(f.time or 0) for f in after]
    if len(before) != len(after):
        yield f"{len(after)} frames of {len(before)}"
    elif max(abs(one - two) for one, two in zip(*times, strict=True)) > 0.0006:
        yield f"times {times[1]} of {times[0]}"
    if {(f.width, f.height) for f in after} != {(before[0].width, before[0].height)}:
        yield "another size"
    for what in ("rotation", "colorspace", "color_range", "color_primaries", "color_trc"):
        if getattr(after[0], what) != getattr(before[0], what):
            yield f"{what} {getattr(after[0], what)} of {getattr(before[0], what)}"
    if bool(lines) != (name == "interlaced"):
        yield f"said: {lines}"
    with av.open(str(source)) as one, av.open(str(target)) as two:
        yield from _container_losses(name, one, two)


def _container_losses(name: str, one: Any, two: Any) -> Iterator[str]:
    if two.metadata["title"] != one.metadata["title"]:
        yield "another title"
    lasts = one.duration if name != "cut" else None  # whose header still tells of the whole
    if lasts is not None and abs(two.duration - lasts) > av.time_base / clips.RATE + 1:
        yield f"lasts {two.duration} µs of {lasts}"
    if [c["metadata"] for c in two.chapters()] != [c["metadata"] for c in one.chapters()]:
        yield "other chapters"
    if [s.type for s in two.streams] != [s.type for s in one.streams]:
        yield f"streams {[s.type for s in two.streams]}"
        return
    for a, b in zip(one.streams, two.streams, strict=True):
        if b.metadata.get("language") != a.metadata.get("language"):
            yield f"stream {b.index}: another language"
        if b.disposition != a.disposition:
            yield f"stream {b.index}: another disposition"
    ratio = one.streams.video[0].sample_aspect_ratio
    if two.streams.video[0].sample_aspect_ratio != ratio:
        yield "another pixel aspect"
    fonts = [[bytes(s.data) for s in film.streams.attachments] for film in (one, two)]
    if fonts[0] != fonts[1]:
        yield "other attachments"


def color_error(name: str, source: Path, target: Path) -> float:
    """The largest difference of any sample, or of the mean over a `SQUARE`, in levels of 255."""
    pairs = zip(clips.read(source), clips.read(target), strict=False)
    return max(_frame_error(one, two, SQUARE.get(name, 1)) for one, two in pairs)


def _frame_error(one: VideoFrame, two: VideoFrame, side: int) -> float:
    pairs = zip(clips.planes(one), clips.planes(two), strict=True)
    return max(float(np.abs(_means(p - q, side)).max()) for p, q in pairs)


def _means(plane: np.ndarray, side: int) -> np.ndarray:
    height, width = (n // side * side for n in plane.shape)
    squares = plane[:height, :width].reshape(height // side, side, width // side, side)
    return squares.mean(axis=(1, 3))
