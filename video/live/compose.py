"""Operations on live frames other than painting: mirror, compare, scale and fit."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Compare = Literal["", "before-after", "side-by-side"]
COMPARES: tuple[Compare, ...] = ("", "before-after", "side-by-side")


def mirrored(picture: Picture) -> Picture:
    return np.asarray(cv2.flip(picture, 1), np.uint8)


def compared(source: Picture, painted: Picture, how: Compare) -> Picture:
    """Source and painting combined in one picture; all three have the same shape.

    before-after: left half of the source, right half of the painting, a white line between.
    side-by-side: both pictures whole, each fitted into half the width.
    """
    if not how:
        return painted
    height, width = painted.shape[:2]
    half = width // 2
    if how == "before-after":
        both = painted.copy()
        both[:, :half] = source[:, :half]
        both[:, max(0, half - 1) : half + 1] = 255
        return both
    left = fitted(source, (height, max(1, half)))
    right = fitted(painted, (height, max(1, width - half)))
    return np.ascontiguousarray(np.hstack([left, right])[:, :width])


def scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize to (height, width); returns the picture itself if it has that size."""
    if picture.shape[:2] == size:
        return picture
    height, width = size
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    """Fit the whole picture into (height, width), with black bars if the aspect ratio differs."""
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    if abs(inner[0] - size[0]) < 2 and abs(inner[1] - size[1]) < 2:
        return scaled(picture, size)  # a difference of one pixel is rounding: no bar
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    bottom, right = size[0] - inner[0] - top, size[1] - inner[1] - left
    framed = cv2.copyMakeBorder(
        scaled(picture, inner), top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    return np.asarray(framed, np.uint8)
