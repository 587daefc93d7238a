"""Convert a variable frame rate to a constant one, for outputs without timestamps."""

from __future__ import annotations

import math
from fractions import Fraction

_EARLY = Fraction(1, 4)  # of a frame period


class ConstantRate:
    """Decides how often to repeat each frame so that the film keeps its length.

    A gap (a damaged frame that is missing) is filled with the frame before it.
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate
        self._first: Fraction | None = None
        self._shown = 0

    def repeats(self, seconds: Fraction) -> tuple[int, bool]:
        """For a frame at time `seconds`: (how often to repeat the previous frame first, whether to
        show this one). It is not shown if the previous frame has the same output time."""
        if self._first is None:
            self._first = seconds
        # Containers round times to milliseconds, so a frame may appear slightly early.
        place = math.floor((seconds - self._first) * self._rate + _EARLY)
        gap = max(0, place - self._shown)
        shown = place >= self._shown
        self._shown = max(self._shown, place + 1)
        return gap, shown
