"""Pixels at another size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (H, W) or (H, W, 3)


def to_size(pixels: Pixels, width: int, height: int) -> Pixels:
    """By Lanczos' filter, free of aliases; the same array when it has that size already."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def with_short_side(pixels: Pixels, length: int) -> Pixels:
    """Scaled so that the shorter side has that many pixels."""
    height, width = pixels.shape[:2]
    factor = length / min(height, width)
    return to_size(pixels, round(width * factor), round(height * factor))


def with_long_side(pixels: Pixels, length: int) -> Pixels:
    """Scaled so that the longer side has that many pixels, and the shorter one at least 1."""
    height, width = pixels.shape[:2]
    factor = length / max(height, width)
    return to_size(pixels, max(1, round(width * factor)), max(1, round(height * factor)))
