"""Combine the luma of a picture with the chroma that a colorizer predicts.

Luma and chroma (Cb and Cr, -0.5..0.5) are those of BT.709. The result keeps the luma of the
picture: rounding the channels moves luma by less than half a step, so the rounded luma of a
colorized gray picture is the gray itself. Where luma plus chroma leaves 0..255, the chroma of the
pixel is scaled down by one factor, which keeps luma and hue.

A chroma map that is smaller than the picture is upsampled along the picture's edges with the guided
filter: chroma is locally a linear function of luma (He, Sun and Tang, PAMI 2013, eq. 5), whose
coefficients are upsampled (He and Sun, arXiv:1505.00996).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.metadata import BINS
from st.runtime.painting.banded_resize import enlarged, row_taps
from st.runtime.painting.color_transfer import LUMA, fit_gamut
from st.runtime.painting.frames import Frames

CB, CR = 2 * (1 - LUMA[2]), 2 * (1 - LUMA[0])
# (3, 2): what Cb and Cr add to R, G and B. Weighted by LUMA, the sum is 0.
TO_RGB = ((0.0, CR), (-CB * LUMA[2] / LUMA[1], -CR * LUMA[0] / LUMA[1]), (CB, 0.0))
FULL = 0.5  # largest absolute chroma
BAND = 1 << 16  # pixels of the full picture processed at once
WINDOW = 5  # side of the window that a slope is estimated in, pixels of the chroma map
EVEN = 60.0  # variance of luma, of 255²: regularizes slopes in flat windows
STEEPEST = 1 / 255  # largest slope: chroma over luma of 0..255

Chroma = NDArray[np.float32]  # (h, w, 2), Cb and Cr


def luma_of(picture: Frames) -> NDArray[np.float32]:
    """BT.709 luma: (H, W, 3) uint8 -> (H, W) float32, 0..255."""
    weights = np.array([LUMA], np.float32)
    luma = cv2.transform(picture.astype(np.float32), weights)
    return np.asarray(luma, np.float32).reshape(picture.shape[:2])


def chroma_of(picture: Frames) -> Chroma:
    """BT.709 Cb and Cr: (H, W, 3) uint8 -> (H, W, 2) float32, -0.5..0.5."""
    luma = np.array(LUMA)
    rows = [(np.eye(3)[2] - luma) / CB, (np.eye(3)[0] - luma) / CR]
    turned = cv2.transform(picture.astype(np.float32), np.stack(rows).astype(np.float32) / 255)
    return np.asarray(turned, np.float32)


def colored(picture: Frames, small: Frames, chroma: Chroma) -> Frames:
    """Color a picture: its luma with upsampled chroma, (H, W, 3).

    small: (h, w, 3), the picture at the size of the chroma map. chroma: (h, w, 2).
    """
    height, width = picture.shape[:2]
    if chroma.shape[0] >= height and chroma.shape[1] >= width:
        fitted = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_AREA)
        return _to_rgb(luma_of(picture), np.asarray(fitted, np.float32))
    slope, offset = linear_fit(chroma, luma_of(small))
    out = np.empty(picture.shape, np.uint8)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        luma = luma_of(picture[top : top + rows])
        taps = row_taps(top, len(luma), height, len(chroma))
        a, b = (enlarged(layer, taps, width, cv2.INTER_LINEAR) for layer in (slope, offset))
        band = cv2.add(b, cv2.multiply(a, cv2.merge([luma, luma])))
        out[top : top + rows] = _to_rgb(luma, np.asarray(band, np.float32))
    return out


def linear_fit(chroma: Chroma, luma: NDArray[np.float32]) -> tuple[Chroma, Chroma]:
    """Coefficients (a, b), (h, w, 2) each, of the local model chroma ≈ a · luma + b."""

    def mean(layer: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.blur(layer, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
        return blurred.astype(np.float32, copy=False)

    mean_luma, mean_chroma = mean(luma), mean(chroma)
    variance = mean(luma * luma) - mean_luma * mean_luma
    covariance = mean(chroma * luma[..., None]) - mean_chroma * mean_luma[..., None]
    slope = covariance / (variance + np.float32(EVEN))[..., None]
    slope = np.clip(slope, -STEEPEST, STEEPEST).astype(np.float32)
    return mean(slope), mean((mean_chroma - slope * mean_luma[..., None]).astype(np.float32))


def _to_rgb(luma: NDArray[np.float32], chroma: Chroma) -> Frames:
    """Luma (h, w), 0..255, and chroma (h, w, 2) -> RGB (h, w, 3) uint8 with that luma."""
    apart = cv2.transform(chroma, np.array(TO_RGB, np.float32) * 255)
    whole = np.asarray(cv2.add(apart, cv2.merge([luma] * 3), dtype=cv2.CV_16S), np.int16)  # rounded
    outside = np.flatnonzero(whole.view(np.uint16).ravel() > 255)
    if len(outside):
        places = np.unique(outside // 3)
        y, c = luma.reshape(-1, 1)[places], np.asarray(apart, np.float32).reshape(-1, 3)[places]
        whole.reshape(-1, 3)[places] = fit_gamut(y, c)
    return whole.astype(np.uint8)


def palette_of(picture: Frames) -> NDArray[np.float32]:
    """The chroma histogram of a picture, (1, PALETTE): BINS × BINS bins over Cb and Cr that sum to
    1, then a 1 that marks a palette as given.

    Bins are equally wide in the square root of chroma, because most colors are near gray. Counts
    are interpolated bilinearly between neighboring bins.
    """
    chroma = np.clip(chroma_of(picture).reshape(-1, 2) / FULL, -1, 1)
    place = (np.sign(chroma) * np.sqrt(np.abs(chroma)) + 1) * ((BINS - 1) / 2)
    low = np.clip(np.floor(place), 0, BINS - 2).astype(np.intp)
    part = place - low
    code = np.zeros(BINS * BINS)
    for cb in (0, 1):
        for cr in (0, 1):
            share = [part[:, i] if step else 1 - part[:, i] for i, step in enumerate((cb, cr))]
            bins = (low[:, 0] + cb) * BINS + low[:, 1] + cr
            code += np.bincount(bins, share[0] * share[1], BINS * BINS)
    return np.append(code / len(chroma), 1).astype(np.float32)[None]
