"""Frames of a varying rate to a constant one, for outputs that have no timestamps."""

from __future__ import annotations

import math
from fractions import Fraction

_EARLY = Fraction(1, 4)  # of a frame


class ConstantRate:
    """Decides how often each frame is repeated so that the film keeps its length.

    A gap (a damaged frame that is missing) is filled with the frame before it.
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate
        self._first: Fraction | None = None
        self._shown = 0

    def repeats(self, seconds: Fraction) -> tuple[int, bool]:
        """For a frame at `seconds`: how often the one before it is shown again first, and whether
        this one is shown at all (False where two fall into one place)."""
        if self._first is None:
            self._first = seconds
        # Containers round times to milliseconds: a frame may seem to come a little early.
        place = math.floor((seconds - self._first) * self._rate + _EARLY)
        gap = max(0, place - self._shown)
        shown = place >= self._shown
        self._shown = max(self._shown, place + 1)
        return gap, shown
