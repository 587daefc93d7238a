"""Optical flow between consecutive frames, with occlusions, and the warping error along it."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.uint8, np.float32)

# Minimum fraction of pixels with consistent flow; with less, there is a cut. Real cuts had at most
# 0.05, the fastest motion at least 0.55.
MIN_SEEN = 0.25


def backward_flow(
    previous: NDArray[np.uint8], current: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The backward flow from `current` to `previous`, and where it is reliable.

    Frames (H, W, 3), RGB. Returns (flow, seen). flow (H, W, 2): displacement in x and y, in
    pixels, from `current` to `previous`, by OpenCV's DIS. seen (H, W): False where the flow leaves
    the picture, and in occlusions, where the forward flow does not lead back: |there + back|² >
    0.01 (|there|² + |back|²) + 0.5, the check of Sundaram, Brox and Keutzer, ECCV 2010, eq. 5.
    """
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (previous, current)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = (np.zeros((*gray[0].shape, 2), np.float32) for _ in range(2))
    there = np.asarray(dis.calc(gray[1], gray[0], next(flows)), np.float32)
    back = warp(np.asarray(dis.calc(gray[0], gray[1], next(flows)), np.float32), there)
    apart = np.square(there + back).sum(2)
    size = np.square(there).sum(2) + np.square(back).sum(2)
    return there, inside(there) & (apart <= 0.01 * size + 0.5)


def inside(flow: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (x, y) + flow(x, y) lies in the picture: (H, W, 2) -> (H, W)."""
    x, y = _places(flow)
    return (x >= 0) & (y >= 0) & (x <= x.shape[1] - 1) & (y <= x.shape[0] - 1)


def warp(
    image: NDArray[Number],
    flow: NDArray[np.float32],
    interpolation: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_CONSTANT,
) -> NDArray[Number]:
    """Sample an image at (x, y) + flow(x, y): (H, W) or (H, W, C) -> the same shape and type.

    flow: (H, W, 2), pixels. interpolation, border: OpenCV's constants.
    """
    moved = cv2.remap(image, *_places(flow), interpolation, borderMode=border)
    return moved.astype(image.dtype, copy=False)


def _places(flow: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(x, y) + flow(x, y) as two arrays (H, W)."""
    height, width = flow.shape[:2]
    columns = flow[..., 0] + np.arange(width, dtype=np.float32)
    rows = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return columns, rows


def warping_error(
    previous: NDArray[np.uint8],
    current: NDArray[np.uint8],
    flow: NDArray[np.float32],
    seen: NDArray[np.bool_],
) -> float:
    """Mean squared difference, 0..1, between a frame and the warped previous one, where `seen`.

    previous, current: painted frames (or the source's own). flow, seen: `backward_flow` of the
    source frames. NaN if `seen` is False everywhere, as across a hard cut.
    """
    if not seen.any():
        return float("nan")
    difference = warp(previous.astype(np.float32), flow) - current
    return float(np.square(difference[seen]).mean(dtype=np.float64)) / 255**2
