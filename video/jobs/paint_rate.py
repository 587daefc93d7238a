"""Choose the size at which a video is painted, so that it is painted as fast as it plays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st.runtime.stylizer import Stylizer
from st.runtime.system.cpus import usable_cpus
from st.video.jobs.segment_store import stored_plan

# Of the video's size. Fractions of small numbers: `restore_size` then works in small bands.
FRACTIONS = (Fraction(1), Fraction(3, 4), Fraction(2, 3), Fraction(1, 2))
MIN_SIDE = 480  # pixels of the longer side: below it, strokes cover faces
CODEC = 18e-9  # seconds of processor time per pixel to decode and encode, at default settings
FRAMES = 2  # measured frames of each worker, after one to warm up


@dataclass(frozen=True)
class Choice:
    """paint_size: longer side in pixels; None: the video's own size. fps: the estimated frame rate;
    None if the size was chosen by an earlier, interrupted run."""

    paint_size: int | None
    fps: float | None


def choose_size(
    stylizer: Stylizer, height: int, width: int, fps: float, workers: int, target: Path | None
) -> Choice:
    """The largest size that reaches `fps` frames per second, or else the smallest candidate.

    Each candidate is measured by painting on the same number of threads as the video. The processor
    time of decoding and encoding is added. A video that was interrupted keeps its
    size, so that its finished segments remain valid.

    height, width: of the video. target: the video to write, or None for a pipe.
    """
    sizes = candidates(height, width)
    if target is not None and (plan := stored_plan(target)):
        for size in sizes:
            if stylizer.styled().set_paint_size(size).identity in plan:
                return Choice(size, None)
    codec = CODEC * height * width / usable_cpus()

    def rate(size: int | None) -> float:
        trial = stylizer.styled().set_paint_size(size)
        return 1 / (_seconds_per_frame(trial, height, width, workers) + codec)

    return first_fast_enough(sizes, fps, rate)


def candidates(height: int, width: int) -> list[int | None]:
    """Paint sizes for a video of this size, the largest first."""
    longest = max(height, width)
    smaller = [round(longest * part) for part in FRACTIONS[1:]]
    return [None, *(size for size in smaller if size >= MIN_SIDE)]


def first_fast_enough(
    sizes: Sequence[int | None], fps: float, rate: Callable[[int | None], float]
) -> Choice:
    """The first size whose rate is at least `fps`, or the last one."""
    choice = Choice(None, None)
    for size in sizes:
        choice = Choice(size, rate(size))
        if choice.fps is not None and choice.fps >= fps:
            break
    return choice


def _seconds_per_frame(stylizer: Stylizer, height: int, width: int, workers: int) -> float:
    """Seconds between two frames, when `workers` of them are painted at a time."""
    random = np.random.default_rng(0)
    frame: NDArray[np.uint8] = random.integers(0, 256, (height, width, 3), np.uint8)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(stylizer, [frame] * max(2, workers)))  # compiles, allocates
        began = time.perf_counter()
        list(pool.map(stylizer, [frame] * (FRAMES * workers)))
        return (time.perf_counter() - began) / (FRAMES * workers)
