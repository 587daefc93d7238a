"""Convert a variable frame rate to a constant one, for outputs without timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

_EARLY = Fraction(1, 4)  # of a frame period


class ConstantRate:
    """Decides how often to repeat each frame so that the video keeps its length.

    A gap (a damaged frame that is missing) is filled with the frame before it.
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate
        self._first: Fraction | None = None
        self._shown = 0
        self._previous = b""

    def frames(self, frame: bytes, seconds: Fraction) -> Iterator[bytes]:
        """The output frames for a frame at time `seconds`: repeats of the previous one, then this
        one, unless the previous frame has the same output time."""
        if self._first is None:
            self._first = seconds
        # Containers round times to milliseconds, so a frame may appear slightly early.
        place = math.floor((seconds - self._first) * self._rate + _EARLY)
        for _ in range(place - self._shown):
            yield self._previous
        if place >= self._shown:
            self._shown, self._previous = place + 1, frame
            yield frame


def time_of(frame: VideoFrame) -> Fraction:
    """The time of a frame of `Film.items`, in seconds; all of these have one."""
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base
