"""Adapt the paint resolution to a target frame rate.

Painting time is roughly proportional to the number of pixels. The controller drops at once to a
size that fits the time budget. It rises only after a calm period, and only to a size with time to
spare, so that it does not oscillate. After a rise that had to be undone, it waits twice as long.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from st.runtime.engine.metadata import Metadata
from st.runtime.stylizer import WHOLE_PIXELS

SMALLEST = 144  # pixels; minimum shorter side: smaller paintings are not recognizable
STEP = 8  # sizes are multiples of this, which engines accept without padding
BEGIN = 640 * 360  # pixels of the first frames, small enough to appear soon on any machine
# Ratio of the sides of one size to those of the next larger one. With ROOM, painting takes at least
# two thirds of the frame period, unless the size is the largest. At twice the step it took 0.56.
RATIO = 2**-0.125
FULL, ROOM = 0.97, 0.8  # fractions of the frame period: above FULL is too slow, below ROOM is safe
WINDOW = 8  # frames whose median painting time is used
IGNORED = 2  # frames not measured after a change: many engines prepare for a new size
CALM = 2.0  # seconds without a change before a rise
MAX_CALM = 64.0


def sizes(height: int, width: int, max_pixels: int | None = None) -> list[tuple[int, int]]:
    """Paint sizes (height, width) for a picture, largest first.

    The first is the picture's own size if `max_pixels` allows it."""
    found: list[tuple[int, int]] = []
    scale = 1.0
    while not found or min(height, width) * scale >= SMALLEST:
        size = (height, width) if scale == 1 else (_step(height * scale), _step(width * scale))
        allowed = max_pixels is None or size[0] * size[1] <= max_pixels
        if (allowed or min(size) <= SMALLEST) and size not in found:
            found.append(size)
        scale *= RATIO
    return found


def _step(side: float) -> int:
    return max(STEP, round(side / STEP) * STEP)


class Resolution:
    """Chooses the paint size of the next frames from the times of the last ones."""

    def __init__(self, sizes: list[tuple[int, int]], target_fps: float) -> None:
        """sizes: (height, width), largest first."""
        self._sizes = sizes
        self._pixels = [height * width for height, width in sizes]
        self._budget = 1 / target_fps
        fitting = [i for i, pixels in enumerate(self._pixels) if pixels <= BEGIN]
        self._at = fitting[0] if fitting else len(sizes) - 1
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._skip = IGNORED
        self._calm = 0.0  # seconds of painting since the last change
        self._wanted_calm = CALM
        self._rose = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the next frame to paint."""
        return self._sizes[self._at]

    def observe(self, seconds: float) -> None:
        """Report the painting time of the last frame at `size`, in seconds."""
        if self._skip:
            self._skip -= 1
            return
        self._recent.append(seconds)
        self._calm += max(seconds, self._budget)
        took = median(self._recent)
        if len(self._recent) >= WINDOW // 2 and took > FULL * self._budget:
            self._fall(took)
        elif len(self._recent) == WINDOW and self._calm >= self._wanted_calm:
            self._rise(took)

    def _fall(self, took: float) -> None:
        if self._at + 1 == len(self._sizes):
            return
        if self._rose:
            self._wanted_calm = min(MAX_CALM, 2 * self._wanted_calm)
        self._rose = False
        smaller = range(self._at + 1, len(self._sizes))
        self._go(next((i for i in smaller if self._fits(i, took)), smaller[-1]))

    def _rise(self, took: float) -> None:
        if self._rose:  # the last rise held
            self._wanted_calm = max(CALM, self._wanted_calm / 2)
        self._rose = False
        larger = next((i for i in range(self._at) if self._fits(i, took)), None)
        if larger is None:
            self._calm = 0.0
            return
        self._rose = True
        self._go(larger)

    def _fits(self, index: int, took: float) -> bool:
        return took * self._pixels[index] / self._pixels[self._at] <= ROOM * self._budget

    def _go(self, index: int) -> None:
        self._at = index
        self._recent.clear()
        self._skip = IGNORED
        self._calm = 0.0


def resolution_for(
    metadata: Metadata, height: int, width: int, target_fps: float, longest: int | None = None
) -> Resolution:
    """The paint sizes for pictures of this size that suit the engine.

    longest: fixed longer side in pixels, regardless of the frame rate.
    """
    fixed = metadata.fixed_size
    if not longest and not fixed:
        return Resolution(sizes(height, width, WHOLE_PIXELS), target_fps)
    # An engine with a fixed size pads smaller pictures to it, so they would not be faster.
    scale = (longest or max(height, width)) / max(height, width)
    if fixed:
        scale = min(scale, fixed[0] / height, fixed[1] / width)
    scale = min(1.0, scale)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return Resolution([size], target_fps)
