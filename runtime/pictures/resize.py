"""Sizes of pictures: parsing them and resizing to them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from st.runtime.errors import BadInput, printable

Pixels = NDArray[np.uint8]  # (H, W) or (H, W, 3)
MAX_SIDE = 65_535


def parse_size(text: str, most: int = MAX_SIDE) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT", each 1 to `most` pixels. Raises BadInput."""
    found = re.fullmatch(r"([0-9]{1,6})[xX×]([0-9]{1,6})", text)
    width, height = map(int, found.groups()) if found else (0, 0)
    if not (1 <= width <= most and 1 <= height <= most):
        raise BadInput(f"{printable(text, 40)}: give WIDTHxHEIGHT, such as 1280x720")
    return height, width


def to_size(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize with a Lanczos filter; an array of that size already is returned as it is."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def with_short_side(pixels: Pixels, length: int) -> Pixels:
    """Resize so that the shorter side has `length` pixels."""
    height, width = pixels.shape[:2]
    factor = length / min(height, width)
    return to_size(pixels, round(height * factor), round(width * factor))


def with_long_side(pixels: Pixels, length: int) -> Pixels:
    """Resize so that the longer side has `length` pixels, and the shorter one at least 1."""
    height, width = pixels.shape[:2]
    factor = length / max(height, width)
    return to_size(pixels, max(1, round(height * factor)), max(1, round(width * factor)))
