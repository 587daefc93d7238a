"""Paints live frames at a resolution that sustains the target frame rate."""

from __future__ import annotations

import time
from collections.abc import Callable

from st.runtime.engine.metadata import Metadata
from st.video.live.adaptive import Resolution, resolution_for
from st.video.live.compose import Picture, scaled


class LivePainter:
    """Paints (H, W, 3) uint8 RGB frames; the result has the same shape. Not thread-safe.

    size: (height, width) at which the last frame was painted.
    """

    def __init__(
        self,
        paint: Callable[[Picture], Picture],
        metadata: Metadata,
        target_fps: float,
        longest: int | None = None,
    ) -> None:
        """longest: fixed longer side in pixels, regardless of the frame rate; None adapts it."""
        self._paint, self._metadata = paint, metadata
        self._target_fps, self._longest = target_fps, longest
        self._of = (0, 0)
        self._resolution: Resolution | None = None
        self.size = (0, 0)

    def __call__(self, picture: Picture) -> Picture:
        """Raises: any exception of `paint`."""
        if self._metadata.kind == "colorizer":  # resizes internally, keeps full-size luma
            self.size = (picture.shape[0], picture.shape[1])
            return self._paint(picture)
        began = time.monotonic()
        height, width = picture.shape[:2]
        if self._resolution is None or self._of != (height, width):
            self._of = (height, width)
            self._resolution = resolution_for(
                self._metadata, height, width, self._target_fps, self._longest
            )
        self.size = self._resolution.size
        painted = scaled(self._paint(scaled(picture, self.size)), (height, width))
        self._resolution.observe(time.monotonic() - began)
        return painted
