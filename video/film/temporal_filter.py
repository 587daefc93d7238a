"""A temporal filter against flicker, for any engine.

Each painted frame is blended with the previous one, warped by the optical flow of the source
(OpenCV's DIS; Kroeger et al., ECCV 2016). This reduces the error that temporal losses measure
(Ruder, Dosovitskiy and Brox, GCPR 2016, eq. 5). Where the warped source differs from the frame
(disocclusions), the new painting is used. A hard cut resets the filter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadControl
from st.runtime.painting.optical_flow import inside, warp

Picture = NDArray[np.uint8]

FLOW_SIDE = 320  # pixels; longer side of the frames on which motion is estimated
NOISE = 0.03  # of 0..1: differences below this count as equal
SEEN = 0.4  # fraction of the frame that must match the previous one; with less, there is a cut
STILL = 0.25  # pixels; smaller motion is ignored, since each resampling blurs


class TemporalFilter:
    """Filters the painted frames of one video, in order, from one thread.

    strength: weight of the previous painting, 0..1; 0 changes nothing.
    """

    def __init__(self, strength: float = 0.75) -> None:
        """Raises BadControl: a strength outside 0..1."""
        if not 0 <= strength <= 1:
            raise BadControl(f"filter strength {strength:g} is outside 0..1")
        self.strength = strength
        self._source: Picture | None = None  # (h, w, 3), reduced
        self._painted: Picture | None = None
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, source: Picture, painted: Picture) -> Picture:
        """(H, W, 3) uint8 RGB each -> the same shape. The arguments are not modified."""
        now, before = downscale(source), self._source
        kept = self._painted
        if before is None or kept is None:
            pass  # the first frame
        elif before.shape == now.shape and kept.shape == painted.shape:
            painted = self._mixed(before, now, kept, painted)
        self._source, self._painted = now, painted
        return painted

    def _mixed(self, before: Picture, now: Picture, kept: Picture, painted: Picture) -> Picture:
        found = self._flow_and_confidence(before, now)
        if found is None:
            return painted
        flow, confidence = found
        height, width = painted.shape[:2]
        weight = np.asarray(self.strength * cv2.resize(confidence, (width, height)), np.float32)
        scale = np.array([width / now.shape[1], height / now.shape[0]], np.float32)
        large = cv2.resize(flow, (width, height)) * scale
        return blend(painted, warp(kept, large, border=cv2.BORDER_REPLICATE), weight)

    def _flow_and_confidence(
        self, before: Picture, now: Picture
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Optical flow between two reduced source frames, or None across a cut.

        Returns the flow from `now` to `before`, (h, w, 2), and its confidence, (h, w), 0..1.
        """
        gray = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (now, before)]
        flow: NDArray[np.float32] = self._dis.calc(gray[0], gray[1], None)  # type: ignore[call-overload]
        flow[np.abs(flow).max(axis=2) < STILL] = 0
        moved = warp(before, flow, border=cv2.BORDER_REPLICATE)
        difference = np.abs(moved.astype(np.int16) - now).max(axis=2).astype(np.float32) / 255
        confidence = np.exp(-((difference / NOISE) ** 2) / 2, dtype=np.float32)
        confidence[~inside(flow)] = 0
        if float((confidence > 0.5).mean()) < SEEN:
            return None
        return flow, np.asarray(cv2.blur(confidence, (3, 3)), np.float32)

    @property
    def state(self) -> dict[str, Any]:
        """The arrays that the next frame depends on; see `restore`."""
        if self._source is None or self._painted is None:
            return {}
        return {"source": self._source, "painted": self._painted}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another filter."""
        self._source, self._painted = state.get("source"), state.get("painted")


def with_temporal_filter(
    paint: Callable[..., Picture], temporal_filter: TemporalFilter
) -> Callable[..., Picture]:
    """A paint function whose results pass through the filter. Not thread-safe."""

    def paint_and_filter(source: Picture, **choices: Any) -> Picture:
        return temporal_filter(source, paint(source, **choices))

    return paint_and_filter


def downscale(picture: Picture) -> Picture:
    """The picture, reduced to a longer side of at most FLOW_SIDE."""
    height, width = picture.shape[:2]
    factor = min(1.0, FLOW_SIDE / max(height, width))
    size = (max(16, round(width * factor)), max(16, round(height * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def blend(first: Picture, second: Picture, weight: NDArray[np.float32]) -> Picture:
    """first + weight · (second - first), rounded. weight: (H, W), 0..1."""
    return cv2.blendLinear(first, second, 1 - weight, weight).astype(np.uint8, copy=False)
