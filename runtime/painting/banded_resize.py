"""Upscale a float map in bands of rows, so that the full-size map is never in memory as a whole."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def enlarged(
    layer: NDArray[np.float32],
    taps: tuple[slice, NDArray[np.float32]],
    width: int,
    across: int = cv2.INTER_CUBIC,
) -> NDArray[np.float32]:
    """Some rows of an enlarged map: (h, w, C) -> (rows, width, C), or (rows, width) of (h, w).

    taps: of these rows, by `row_taps`. Vertical interpolation is bicubic.
    across: OpenCV's flag for the horizontal interpolation.
    """
    source, weights = taps
    part = layer[source]
    columns = (weights @ part.reshape(len(part), -1)).reshape(len(weights), *part.shape[1:])
    large = cv2.resize(columns, (width, len(weights)), interpolation=across)
    return np.asarray(large, np.float32)


def row_taps(top: int, rows: int, height: int, low: int) -> tuple[slice, NDArray[np.float32]]:
    """The interpolation of rows top to top + rows, when `low` rows are enlarged to `height`.

    Returns (the n source rows that are used, their weights as (rows, n)).
    """
    place = (np.arange(top, top + rows) + 0.5) * low / height - 0.5
    first = np.floor(place).astype(np.intp)
    used = slice(max(0, int(first[0]) - 1), min(low, int(first[-1]) + 3))
    weights = np.zeros((rows, used.stop - used.start), np.float32)
    for offset, tap in zip(range(-1, 3), cubic(place - first), strict=True):
        row = (first + offset).clip(0, low - 1) - used.start
        np.add.at(weights, (np.arange(rows), row), tap)  # border taps may share a row
    return used, weights


def cubic(offset: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The four taps of cubic convolution as in OpenCV (Keys, 1981, with a = -3/4); offset: 0..1."""
    a = -0.75

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    far = ((a * (offset + 1) - 5 * a) * (offset + 1) + 8 * a) * (offset + 1) - 4 * a
    inner = [near(offset), near(1 - offset)]
    return [far, *inner, 1 - far - sum(inner)]
