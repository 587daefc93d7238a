"""Paint at another size than the picture's, and restore the picture's size.

Strokes have a fixed size in pixels. A paint size fixes the longer side of what the engine sees, so
that a thumbnail, a print and a video frame get strokes of the same relative size. It also sets the
cost: half the size takes a quarter of the engine's time. A style scale (of engines with named
styles) divides the paint size.

A painting that is smaller than its picture is enlarged, and the detail that was lost by reducing
the picture is added. This is joint upsampling with the linear model of the guided filter (He, Sun
and Tang, PAMI 2013, eq. 5) with coefficients at the small size (He and Sun, arXiv:1505.00996):

    result = up(painting) + up(a) · (gray(picture) - up(gray(small picture)))
    a = cov(gray(small picture), gray(painting)) / (var(gray(small picture)) + FLAT)

The slope `a` is one for all three channels, in 1/64, and is estimated from every second pixel. All
full-size arithmetic is in 8 and 16 bits. At 1280×720 this takes 6 ms of processor time, of which
bicubic enlargement alone is a quarter.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from st.runtime.errors import BadControl, printable
from st.runtime.painting.frames import Frames

MIN_PAINT_SIZE, MAX_PAINT_SIZE = 16, 16_384  # pixels
MIN_SCALE, MAX_SCALE = 0.25, 4.0
WINDOW = 3  # side of the window for a slope, in samples two pixels apart
FLAT = 5.0  # variance, on the scale 0..255²: regularizes slopes in flat areas
MAX_SLOPE = 1.5
UNIT = 64  # integer that stands for a slope of 1
BAND = 1 << 20  # pixels of the full picture at once: bounds memory to 15 MB a thread
MARGIN = 3  # rows of the small picture; bicubic interpolation reaches 2

Gray = NDArray[np.uint8]  # (H, W)
_local = threading.local()


def check_paint_size(size: int | None) -> None:
    """Raises BadControl."""
    if size is not None and (type(size) is not int or not MIN_PAINT_SIZE <= size <= MAX_PAINT_SIZE):
        raise BadControl(
            f"paint size must be {MIN_PAINT_SIZE} to {MAX_PAINT_SIZE} pixels, not {printable(size)}"
        )


def check_style_scale(scale: float) -> None:
    """Raises BadControl."""
    if not isinstance(scale, int | float) or not MIN_SCALE <= scale <= MAX_SCALE:
        raise BadControl(
            f"style scale must be {MIN_SCALE:g} to {MAX_SCALE:g}, not {printable(scale)}"
        )


def painting_size(
    height: int, width: int, paint_size: int | None, scale: float = 1.0
) -> tuple[int, int]:
    """(height, width) at which a picture of this size is painted.

    paint_size: of the longer side, pixels; None for the picture's own. scale: of the style.
    """
    longest = max(height, width)
    factor = (paint_size or longest) / longest / scale
    if factor == 1:
        return height, width
    return max(1, round(height * factor)), max(1, round(width * factor))


def scaled(picture: Frames, height: int, width: int) -> Frames:
    """(H, W, 3) -> (height, width, 3): averaged when smaller, bicubic when larger.

    A reduction by 2.6 is a bilinear one by 1.3 and then the mean of 2×2 pixels, which costs a third
    of OpenCV's area interpolation and shows as little aliasing.
    """
    own = picture.shape[:2]
    if own == (height, width):
        return picture
    if height > own[0] or width > own[1]:
        return _resize(picture, height, width, cv2.INTER_CUBIC)
    whole = min(own[0] // height, own[1] // width)
    picture = _resize(picture, whole * height, whole * width, cv2.INTER_LINEAR)
    return _resize(picture, height, width, cv2.INTER_AREA)


def restore_size(painted: Frames, small: Frames, picture: Frames) -> Frames:
    """The painting at the size of its picture, with the picture's detail.

    painted: (h, w, 3), the painting of `small`. small: (h, w, 3), the picture reduced.
    picture: (H, W, 3). -> (H, W, 3), new.
    """
    height, width = picture.shape[:2]
    if painted.shape[0] >= height and painted.shape[1] >= width:
        return scaled(painted, height, width)
    gray = _gray(small)
    slope = slopes(_gray(_sampled(painted)), _sampled(gray))
    slope = _resize(slope, len(gray), gray.shape[1], cv2.INTER_LINEAR)
    out = np.empty_like(picture)
    for band in bands(height, len(gray), max(1, BAND // width)):
        layers = (painted[band.low], gray[band.low], slope[band.low])
        _restore_band(*layers, picture[band.full], band, out[band.full])
    return out


class Band(NamedTuple):
    """Some rows of a picture, and the rows of the small one that they are enlarged from.

    full: rows of the picture. low: rows of the small picture, with a margin. enlarged: the number
    of rows that `low` is enlarged to. skip: rows of these before those of `full`.
    """

    full: slice
    low: slice
    enlarged: int
    skip: int


def bands(height: int, low: int, most: int) -> Iterator[Band]:
    """Split a picture into bands that, enlarged separately, equal their part of the whole exactly.

    A band begins where a row of the small picture and a row of the picture begin at the same
    position, which happens every height / gcd(height, low) rows.

    height, low: of the picture and the small picture, rows. most: rows of a band, if possible.
    """
    common = math.gcd(height, low)
    period, low_period = height // common, low // common
    count, margin = max(1, most // period), -(-MARGIN // low_period)  # periods
    for first in range(0, common, count):
        last = min(common, first + count)
        above, below = max(0, first - margin), min(common, last + margin)
        yield Band(
            slice(first * period, last * period),
            slice(above * low_period, below * low_period),
            (below - above) * period,
            (first - above) * period,
        )


def _restore_band(
    painted: Frames, gray: Gray, slope: NDArray[np.int16], picture: Frames, band: Band, out: Frames
) -> None:
    """`restore_size` of some rows, into `out`; painted, gray and slope are the rows `band.low`."""
    rows, width = picture.shape[:2]

    def enlarged(layer: NDArray, name: str, how: int) -> NDArray:
        shape = (band.enlarged, width, *layer.shape[2:])
        large = _scratch(name, shape, layer.dtype)
        cv2.resize(layer, (width, band.enlarged), dst=large, interpolation=how)
        return large[band.skip : band.skip + rows]

    large = enlarged(painted, "painted", cv2.INTER_CUBIC)
    reduced = enlarged(gray, "gray", cv2.INTER_CUBIC)
    steep = enlarged(slope, "slope", cv2.INTER_LINEAR)
    own = _scratch("own", (rows, width), np.uint8)
    detail = _scratch("detail", (rows, width), np.int16)
    cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY, dst=own)
    cv2.subtract(own, reduced, dst=detail, dtype=cv2.CV_16S)
    cv2.multiply(detail, steep, dst=detail, scale=1 / UNIT)
    channels = cv2.merge([detail] * 3, dst=_scratch("channels", (rows, width, 3), np.int16))
    cv2.add(large, channels, dst=out, dtype=cv2.CV_8U)


def _scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """An uninitialized array that the thread reuses: allocating new memory would take as long as
    the arithmetic."""
    size = math.prod(shape)
    kept: dict[str, NDArray] = _local.__dict__
    if name not in kept or kept[name].size < size:
        kept[name] = np.empty(size, dtype)
    return kept[name][:size].reshape(shape)


def slopes(painted: Gray, gray: Gray) -> NDArray[np.int16]:
    """The slope of the painting's gray over the picture's around each pixel: (h, w) in 1/UNIT."""
    x, y = gray.astype(np.float32), painted.astype(np.float32)
    mean_x, mean_y = _mean(x), _mean(y)
    variance = _mean(cv2.multiply(x, x)) - mean_x * mean_x
    covariance = _mean(cv2.multiply(x, y)) - mean_x * mean_y
    slope = covariance / (variance + np.float32(FLAT))
    return np.rint(UNIT * slope.clip(-MAX_SLOPE, MAX_SLOPE)).astype(np.int16)


def _sampled(layer: Frames | Gray) -> NDArray[np.uint8]:
    """Every second pixel, both ways; sizes are rounded up."""
    height, width = (-(-side // 2) for side in layer.shape[:2])
    return _resize(layer, height, width, cv2.INTER_NEAREST)


def _mean(layer: NDArray[np.float32] | cv2.typing.MatLike) -> NDArray[np.float32]:
    blurred = cv2.blur(layer, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32)


def _gray(picture: Frames) -> Gray:
    """(H, W, 3) -> (H, W), with the weights of BT.601, for which OpenCV has fast code."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _resize(layer: NDArray, height: int, width: int, how: int) -> NDArray:
    if layer.shape[:2] == (height, width):
        return layer
    return np.asarray(cv2.resize(layer, (width, height), interpolation=how), layer.dtype)
