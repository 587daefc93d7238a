"""Whose colors a painting has: the style's, the content's, or the style's on the content's forms.

Gatys et al., "Preserving color in neural artistic style transfer", arXiv:1606.05897, both ways, and
the reverse of the first:

luminance  the content's chroma under the painting's luma (section 3.2)
histogram  the painting by one linear map, so that its colors have the content's mean and
           covariance (section 3.1); made on the painting, it works with every engine
only       the painting's chroma under the content's luma: nothing but the colors changes

A pixel is its luma, a linear form of R'G'B' with BT.709's weights (sRGB's primaries), plus its
chroma, what is left of the three. All is computed in float32 and rounded once. Where luma and
chroma together leave 0..255, chroma gives way by one factor for all three, so luma and hue are
kept; clipping would change both.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadControl, printable
from st.runtime.painting.frames import Frames

COLORS = ("style", "luminance", "histogram", "only")
LUMA = (0.2126, 0.7152, 0.0722)
BAND = 1 << 15  # pixels at once: what they need stays in the processor's cache
SAMPLE = 1 << 16  # pixels that mean and covariance are taken from
NOISE = 1 / 12  # variance that rounding alone gives a channel


def check_color(color: str) -> None:
    """Raises BadControl."""
    if color not in COLORS:
        raise BadControl(f"color {printable(color, 40)!r}: choose from {', '.join(COLORS)}")


def recolor(painted: Frames, content: Frames, color: str) -> Frames:
    """The painting in those colors. Both (H, W, 3) -> (H, W, 3), new unless color is "style"."""
    if color == "luminance":
        return luma_and_chroma(painted, content)
    if color == "only":
        return luma_and_chroma(content, painted)
    if color == "histogram":
        return matched(painted, content)
    return painted


def luma_and_chroma(light: Frames, color: Frames) -> Frames:
    """The luma of one picture, the chroma of the other; both (H, W, 3)."""
    out = np.empty(light.shape, np.uint8)
    rows = max(1, BAND // light.shape[1])
    weights = np.array([LUMA], np.float32)
    for top in range(0, len(light), rows):
        band = slice(top, top + rows)
        # Chroma stays and luma moves: the other picture and the difference of lumas.
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
    """The same for pixels, (N, 3), whose luma leaves no room for all of the chroma."""
    weights = np.array(LUMA, np.float32)
    luma = (light @ weights)[:, None]
    chroma = color - (color @ weights)[:, None]
    # The largest factor that keeps every channel inside; luma itself is inside.
    above = np.maximum(chroma.max(axis=1, keepdims=True), 1e-6)
    below = np.maximum(-chroma.min(axis=1, keepdims=True), 1e-6)
    room = np.minimum((255 - luma) / above, luma / below)
    return np.clip(np.rint(luma + np.minimum(room, 1) * chroma), 0, 255).astype(np.int16)


def matched(painted: Frames, content: Frames) -> Frames:
    """The painting moved so that its colors have the content's mean and covariance."""
    own, wanted = moments(painted), moments(content)
    turn = transport(own[1], wanted[1])
    shift = wanted[0] - turn @ own[0]
    # In float inside, rounded and bounded once.
    return np.asarray(cv2.transform(painted, np.column_stack([turn, shift])), np.uint8)


def moments(picture: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (3,) and covariance (3, 3) of the colors, from every so many-th pixel."""
    flat = picture.reshape(-1, 3)
    # An odd step walks over all columns, so that no column is counted for its neighbors.
    values = flat[:: (len(flat) // SAMPLE) | 1].astype(np.float64)
    mean = values.mean(axis=0)
    apart = values - mean
    return mean, apart.T @ apart / len(values)


def transport(own: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric T with T own T = wanted, which moves colors least (Monge and Kantorovich).

    Both (3, 3) covariances; each gets what rounding gives, so that none is singular.
    """
    noise = NOISE * np.eye(3)
    root, inverse = _roots(own + noise, NOISE)
    return inverse @ _roots(root @ (wanted + noise) @ root, NOISE**2)[0] @ inverse


def _roots(
    matrix: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A matrix's symmetric square root and that one's inverse. least: what its eigenvalues are at
    least, whatever rounding made of them."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.sqrt(np.maximum(values, least))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T
