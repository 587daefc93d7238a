"""The same look at any size: a picture painted at another size than its own, and brought back.

Strokes have a size in pixels, so a print painted whole has finer ones than its thumbnail. With a
look size the longer side of what the engine sees is always that many pixels, and with a style scale
(for engines with named styles) that many divided by the scale.

A painting smaller than its picture is enlarged and given the picture's detail back. Around each
pixel of the small painting every channel is taken for a linear function of the small picture's luma
(the model of He, Sun and Tang's guided filter, PAMI 2013, eq. 5, and coefficients at the small size
as in He and Sun, arXiv:1505.00996). The painting's own strokes stay as they are, enlarged; what the
small picture could not show of the full one is added with the slope of that function. Scaled down
again, it is the small painting.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadControl, printable
from st.runtime.painting.frames import Frames

MIN_PAINT_SIZE, MAX_PAINT_SIZE = 16, 16_384  # pixels
MIN_SCALE, MAX_SCALE = 0.25, 4.0
WINDOW = 5  # pixels of the small painting that a slope is taken from
FLAT = 5.0  # variance of luma, of 255², under which a window has little to say
STEEPEST = 1.5  # slope
BAND = 1 << 16  # pixels of the full picture at once
LUMA = np.array([[0.2126, 0.7152, 0.0722]], np.float32)


def check_paint_size(size: int | None) -> None:
    """Raises BadControl."""
    if size is not None and (type(size) is not int or not MIN_PAINT_SIZE <= size <= MAX_PAINT_SIZE):
        raise BadControl(
            f"look size must be {MIN_PAINT_SIZE} to {MAX_PAINT_SIZE} pixels, not {printable(size)}"
        )


def check_style_scale(scale: float) -> None:
    """Raises BadControl."""
    if not isinstance(scale, int | float) or not MIN_SCALE <= scale <= MAX_SCALE:
        raise BadControl(
            f"style scale must be {MIN_SCALE:g} to {MAX_SCALE:g}, not {printable(scale)}"
        )


def painting_size(
    height: int, width: int, look_size: int | None, scale: float = 1.0
) -> tuple[int, int]:
    """(height, width) at which a picture of that size is painted."""
    longest = max(height, width)
    factor = (look_size or longest) / longest / scale
    if factor == 1:
        return height, width
    return max(1, round(height * factor)), max(1, round(width * factor))


def scaled(picture: Frames, height: int, width: int) -> Frames:
    """(H, W, 3) -> (height, width, 3): by areas when smaller, bicubic when larger."""
    if picture.shape[:2] == (height, width):
        return picture
    smaller = height < picture.shape[0] or width < picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def restore_size(painted: Frames, small: Frames, picture: Frames) -> Frames:
    """The painting at the picture's size.

    small: what was painted, (h, w, 3), the picture scaled. painted: of its shape.
    picture: (H, W, 3). -> (H, W, 3).
    """
    height, width = picture.shape[:2]
    if painted.shape[0] >= height and painted.shape[1] >= width:
        return scaled(painted, height, width)
    luma = luma_of(small)
    layers = [painted.astype(np.float32), luma[..., None], slopes(painted, luma)]
    out = np.empty(picture.shape, np.uint8)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        part = picture[top : top + rows]
        taps = row_taps(top, len(part), height, len(small))
        large, large_luma, slope = (enlarged(layer, taps, width) for layer in layers)
        detail = cv2.subtract(luma_of(part), large_luma)
        added = cv2.multiply(slope, cv2.merge([detail] * 3))
        out[top : top + rows] = cv2.add(large, added, dtype=cv2.CV_8U)
    return out


def luma_of(picture: Frames) -> NDArray[np.float32]:
    """(H, W, 3) -> (H, W), 0..255."""
    luma = cv2.transform(picture.astype(np.float32), LUMA)
    return np.asarray(luma, np.float32).reshape(picture.shape[:2])


def slopes(painted: Frames, luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each channel over the luma of what was painted, within a window: (h, w, 3)."""
    values = painted.astype(np.float32)

    def mean(layer: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.blur(layer, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
        return blurred.astype(np.float32, copy=False)

    middle = mean(luma)
    variance = mean(luma * luma) - middle * middle
    together = mean(values * luma[..., None]) - mean(values) * middle[..., None]
    steep = together / (variance + np.float32(FLAT))[..., None]
    return np.clip(steep, -STEEPEST, STEEPEST).astype(np.float32)


def enlarged(
    layer: NDArray[np.float32],
    taps: tuple[slice, NDArray[np.float32]],
    width: int,
    across: int = cv2.INTER_CUBIC,
) -> NDArray[np.float32]:
    """Some rows of a layer at the full size, bicubic: (h, w, C) -> (rows, width[, C]).

    In bands, so that no picture of floats is ever whole in memory.
    """
    source, weights = taps
    part = layer[source]
    columns = (weights @ part.reshape(len(part), -1)).reshape(len(weights), *part.shape[1:])
    large = cv2.resize(columns, (width, len(weights)), interpolation=across)
    return np.asarray(large, np.float32)


def row_taps(top: int, rows: int, height: int, low: int) -> tuple[slice, NDArray[np.float32]]:
    """How rows top … top + rows, of `height`, are made of `low` ones.

    Returns the rows that are used, n of them, and their weights, (rows, n).
    """
    place = (np.arange(top, top + rows) + 0.5) * low / height - 0.5
    first = np.floor(place).astype(np.intp)
    used = slice(max(0, int(first[0]) - 1), min(low, int(first[-1]) + 3))
    weights = np.zeros((rows, used.stop - used.start), np.float32)
    for offset, tap in zip(range(-1, 3), cubic(place - first), strict=True):
        row = (first + offset).clip(0, low - 1) - used.start
        np.add.at(weights, (np.arange(rows), row), tap)  # at the border several taps are one row's
    return used, weights


def cubic(offset: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The four taps of cubic convolution, as OpenCV has them (a = -3/4); offset: 0..1."""
    a = -0.75

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    far = ((a * (offset + 1) - 5 * a) * (offset + 1) + 8 * a) * (offset + 1) - 4 * a
    inner = [near(offset), near(1 - offset)]
    return [far, *inner, 1 - far - sum(inner)]
