"""Super-resolution engines: bicubic reference and histogram matching of the output.

Johnson, Alahi and Fei-Fei, ECCV 2016, section 4.2: "we perform histogram matching between our
network output and the low-resolution input", because a perceptual loss constrains colors weakly.
"""

from __future__ import annotations

import cv2
import numpy as np

from st.runtime.painting.frames import Frames


def enlarged(batch: Frames, scale: int) -> Frames:
    """Enlarge pictures (N, H, W, 3) by bicubic interpolation."""
    size = (batch.shape[2] * scale, batch.shape[1] * scale)
    made = [cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in batch]
    return np.stack(made).astype(np.uint8, copy=False)


def enlarged_painting(painted: Frames, batch: Frames) -> Frames:
    """Match the histogram of each output (N, sH, sW, 3) to its input (N, H, W, 3)."""
    pairs = zip(painted, batch, strict=True)
    return np.stack([match_histogram(*pair) for pair in pairs])


def match_histogram(painted: Frames, picture: Frames) -> Frames:
    """Match the histogram of each channel of `painted` to that of `picture`.

    (H, W, 3) each, of any two sizes; -> the shape of `painted`. The table of 256 values maps each
    value to the one with the same cumulative frequency.
    """
    result = np.empty_like(painted)
    for channel in range(3):
        ours, theirs = (
            np.bincount(x[..., channel].ravel(), minlength=256) / (x.size / 3)
            for x in (painted, picture)
        )
        # Midpoints of the cumulative histograms, so that equal histograms give the identity.
        places = np.cumsum(ours) - ours / 2
        goals = np.cumsum(theirs) - theirs / 2
        used = theirs > 0
        table = np.interp(places, goals[used], np.flatnonzero(used))
        result[..., channel] = np.round(table).astype(np.uint8)[painted[..., channel]]
    return result
