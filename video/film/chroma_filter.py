"""Flicker filter for colorized videos: warps chroma along the motion and keeps the source's luma.

It works like `st.video.film.temporal_filter`, but on chroma alone, at a reduced size. The change of
the reduced chroma is added to the full-size chroma, so colors keep the edges of the frame. Motion
is estimated on blurred frames, since grain and scratches of an old video are not motion. A hard cut
resets the filter.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.metadata import Metadata
from st.runtime.painting.chroma import TO_RGB, chroma_of
from st.runtime.painting.color_transfer import luma_and_chroma
from st.runtime.painting.optical_flow import warp
from st.video.film.temporal_filter import Picture, TemporalFilter, downscale

DEFAULT_STRENGTH = 0.85
GRAIN = 1.5  # standard deviation of the blur, in pixels of the reduced frame


class ChromaFilter(TemporalFilter):
    """Stabilizes the colors of colorized frames; luma is the source's.

    strength: 0 changes nothing; at 1, a surface keeps its first color as long as it is visible.
    """

    def __init__(self, strength: float = DEFAULT_STRENGTH) -> None:
        """Raises BadControl: a strength outside 0..1."""
        super().__init__(strength)
        self._chroma: NDArray[np.float32] | None = None

    def __call__(self, source: Picture, painted: Picture) -> Picture:
        """Filter one frame. source, painted: (H, W, 3) uint8 RGB; the result has the same shape."""
        now, before = denoise(downscale(source)), self._source
        height, width = now.shape[:2]
        small = cv2.resize(painted, (width, height), interpolation=cv2.INTER_AREA)
        own = chroma_of(np.asarray(small, np.uint8))
        kept, mixed = self._chroma, own
        if before is not None and kept is not None and before.shape == now.shape:
            found = self._flow_and_confidence(before, now)
            if found is not None:
                flow, confidence = found
                weight = self.strength * confidence[..., None]
                mixed = own + weight * (warp(kept, flow, border=cv2.BORDER_REPLICATE) - own)
        self._source, self._chroma = now, mixed.astype(np.float32, copy=False)
        if mixed is own:
            return painted
        change = cv2.transform(mixed - own, np.array(TO_RGB, np.float32) * 255)
        large = cv2.resize(change, (painted.shape[1], painted.shape[0]))
        colored = np.asarray(cv2.add(painted, large, dtype=cv2.CV_8U), np.uint8)
        return luma_and_chroma(source, colored)

    @property
    def state(self) -> dict[str, Any]:
        """As `TemporalFilter.state`."""
        if self._source is None or self._chroma is None:
            return {}
        return {"source": self._source, "chroma": self._chroma}

    def restore(self, state: dict[str, Any]) -> None:
        self._source, self._chroma = state.get("source"), state.get("chroma")


def denoise(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), GRAIN), np.uint8)


def temporal_filter_for(metadata: Metadata, strength: float | None) -> TemporalFilter | None:
    """The filter for an engine's videos, or None. Only colorizers have a default strength.

    Raises BadControl: a strength outside 0..1.
    """
    if metadata.kind == "colorizer":
        strength = DEFAULT_STRENGTH if strength is None else strength
        return ChromaFilter(strength) if strength else None
    return TemporalFilter(strength) if strength else None
