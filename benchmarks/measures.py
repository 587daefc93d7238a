"""What every benchmark means by warping error, beside the style and content distance of
`st.train.measures`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pictures import Rgb


def backward_flow(previous: Rgb, current: Rgb) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where each pixel of `current` was in `previous`, and whether that is known.

    Returns (flow, seen): flow (H, W, 2), pixels in x and y from a place in `current` to its place
    in `previous`, by OpenCV's DIS; seen (H, W) is False where the place lies outside, and where
    the forward flow does not lead back (an occlusion): |there + back|² > 0.01 (|there|² +
    |back|²) + 0.5, the check of Sundaram, Brox and Keutzer, ECCV 2010, eq. 5.
    """
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (previous, current)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = (np.zeros((*gray[0].shape, 2), np.float32) for _ in range(2))
    there = np.asarray(dis.calc(gray[1], gray[0], next(flows)), np.float32)
    back = warp(np.asarray(dis.calc(gray[0], gray[1], next(flows)), np.float32), there)
    apart = np.square(there + back).sum(2)
    size = np.square(there).sum(2) + np.square(back).sum(2)
    y, x = np.indices(gray[0].shape, dtype=np.float32)
    x, y = x + there[..., 0], y + there[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= x.shape[1] - 1) & (y <= x.shape[0] - 1)
    return there, inside & (apart <= 0.01 * size + 0.5)


def warp(image: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """image at (x, y) + flow(x, y), bilinear; (H, W, C) -> same."""
    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    moved = cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return moved.astype(np.float32)


def warping_error(
    previous: Rgb, current: Rgb, flow: NDArray[np.float32], seen: NDArray[np.bool_]
) -> float:
    """Mean squared difference (0..1) of a frame and the one before it moved along, where seen.

    previous, current: painted frames (or the source's own). flow, seen: `backward_flow` of the
    source's frames. NaN when nothing is seen, as across a hard cut.
    """
    if not seen.any():
        return float("nan")
    difference = warp(previous.astype(np.float32), flow) - current
    return float(np.square(difference[seen]).mean(dtype=np.float64)) / 255**2
