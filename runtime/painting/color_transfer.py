"""Color transfer between a painting and its content.

Both ways of Gatys et al., "Preserving color in neural artistic style transfer", arXiv:1606.05897,
and the reverse of the first:

luminance  the chroma of the content with the luma of the painting (section 3.2)
histogram  the painting under a linear map that gives its colors the mean and covariance of the
           content's (section 3.1); it is applied to the painting, so it works with every engine
only       the chroma of the painting with the luma of the content: only the colors change

Luma is the weighted sum of R'G'B' with the weights of BT.709, whose primaries sRGB has. Chroma is
the difference of each channel from luma. Everything is computed in float32 and rounded once. Where
luma plus chroma leaves 0..255, the chroma of the pixel is scaled down by one factor, which keeps
luma and hue; clipping would change both.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadControl, printable
from st.runtime.painting.frames import Frames

COLORS = ("style", "luminance", "histogram", "only")
LUMA = (0.2126, 0.7152, 0.0722)
BAND = 1 << 15  # pixels processed at once, so that intermediate results stay in the cache
SAMPLE = 1 << 16  # pixels from which mean and covariance are estimated
NOISE = 1 / 12  # variance of the rounding error of a channel


def check_color(color: str) -> None:
    """Raises BadControl."""
    if color not in COLORS:
        raise BadControl(f"color {printable(color, 40)!r}: choose from {', '.join(COLORS)}")


def recolor(painted: Frames, content: Frames, color: str) -> Frames:
    """Transfer colors. Both (H, W, 3) -> (H, W, 3), new unless `color` is "style"."""
    if color == "luminance":
        return luma_and_chroma(painted, content)
    if color == "only":
        return luma_and_chroma(content, painted)
    if color == "histogram":
        return matched(painted, content)
    return painted


def luma_and_chroma(light: Frames, color: Frames) -> Frames:
    """The luma of `light` with the chroma of `color`; both (H, W, 3)."""
    out = np.empty(light.shape, np.uint8)
    rows = max(1, BAND // light.shape[1])
    weights = np.array([LUMA], np.float32)
    for top in range(0, len(light), rows):
        band = slice(top, top + rows)
        # Adding the difference of lumas to all channels changes luma only.
        apart = cv2.subtract(light[band], color[band], dtype=cv2.CV_32F)
        change = cv2.transform(apart, weights)
        moved = cv2.add(color[band], cv2.merge([change] * 3), dtype=cv2.CV_16S)
        outside = np.flatnonzero(moved.view(np.uint16).ravel() > 255)
        if len(outside):
            places = np.unique(outside // 3)
            flat = (picture[band].reshape(-1, 3)[places] for picture in (light, color))
            moved.reshape(-1, 3)[places] = _within(*flat)
        np.copyto(out[band], moved, casting="unsafe")
    return out


def _within(light: Frames, color: Frames) -> NDArray[np.int16]:
    """`luma_and_chroma` of pixels (N, 3) whose result would leave 0..255."""
    weights = np.array(LUMA, np.float32)
    luma = (light @ weights)[:, None]
    chroma = color - (color @ weights)[:, None]
    return fit_gamut(luma, chroma)


def fit_gamut(luma: NDArray[Any], chroma: NDArray[Any]) -> NDArray[np.int16]:
    """luma + chroma as integers 0..255; chroma is scaled down by one factor per pixel if necessary.

    luma: (N, 1), 0..255. chroma: (N, 3), each channel minus luma. -> (N, 3).
    """
    above = np.maximum(chroma.max(axis=1, keepdims=True), 1e-6)
    below = np.maximum(-chroma.min(axis=1, keepdims=True), 1e-6)
    room = np.minimum((255 - luma) / above, luma / below).clip(0, 1)
    return np.clip(np.rint(luma + room * chroma), 0, 255).astype(np.int16)


def matched(painted: Frames, content: Frames) -> Frames:
    """The painting with the mean and covariance of the content's colors."""
    own, wanted = moments(painted), moments(content)
    matrix = transport(own[1], wanted[1])
    shift = wanted[0] - matrix @ own[0]
    # OpenCV computes in float and rounds and clips once.
    return np.asarray(cv2.transform(painted, np.column_stack([matrix, shift])), np.uint8)


def moments(picture: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (3,) and covariance (3, 3) of the colors, from a regular sample of pixels."""
    flat = picture.reshape(-1, 3)
    # With an even step, the sample of most pictures would miss every second column.
    values = flat[:: (len(flat) // SAMPLE) | 1].astype(np.float64)
    mean = values.mean(axis=0)
    apart = values - mean
    return mean, apart.T @ apart / len(values)


def transport(own: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric T with T own T = wanted, the optimal transport of normal distributions.

    own, wanted: (3, 3) covariances. The variance of rounding is added, so that none is singular.
    """
    noise = NOISE * np.eye(3)
    root, inverse = _roots(own + noise, NOISE)
    return inverse @ _roots(root @ (wanted + noise) @ root, NOISE**2)[0] @ inverse


def _roots(
    matrix: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The symmetric square root of a matrix, and its inverse.

    least: lower bound of the eigenvalues, against rounding errors.
    """
    values, vectors = np.linalg.eigh(matrix)
    values = np.sqrt(np.maximum(values, least))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T
