"""Paints one live picture after another at the size that holds the rate."""

from __future__ import annotations

import time
from collections.abc import Callable

from st.runtime.metadata import Metadata
from st.runtime.stylizer import WHOLE_PIXELS
from st.video.adaptive import Resolution, sizes
from st.video.live_picture import Picture, scaled


class LivePainter:
    """(H, W, 3) uint8 RGB -> painted, the same shape. For one thread.

    size: (width, height) that the last picture was painted at.
    """

    def __init__(
        self,
        paint: Callable[[Picture], Picture],
        metadata: Metadata,
        target_fps: float,
        longest: int | None = None,
    ) -> None:
        """longest: paint with this longer side, whatever the rate."""
        self._paint, self._metadata = paint, metadata
        self._target_fps, self._longest = target_fps, longest
        self._of = (0, 0)
        self._resolution: Resolution | None = None
        self.size = (0, 0)

    def __call__(self, picture: Picture) -> Picture:
        """Raises: what painting raises."""
        began = time.monotonic()
        height, width = picture.shape[:2]
        if self._resolution is None or self._of != (width, height):
            self._of = (width, height)
            self._resolution = self._begin(width, height)
        self.size = self._resolution.size
        painted = scaled(self._paint(scaled(picture, self.size)), (width, height))
        self._resolution.observe(time.monotonic() - began)
        return painted

    def _begin(self, width: int, height: int) -> Resolution:
        fixed = self._metadata.fixed_size
        longest = max(width, height)
        if self._longest or fixed:
            # An engine of one size pads smaller pictures to it, so they would gain nothing.
            scale = (self._longest or longest) / longest
            if fixed:
                scale = min(scale, fixed[1] / width, fixed[0] / height)
            scale = min(1.0, scale)
            choices = [(max(1, round(width * scale)), max(1, round(height * scale)))]
        else:
            choices = sizes(width, height, WHOLE_PIXELS)
        return Resolution(choices, self._target_fps)
