"""What every benchmark means by warping error, beside the style and content distance of
`st.train.measures` and the flow of `st.train.flow`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.pictures import Rgb
from st.train.flow import warp


def warping_error(
    previous: Rgb, current: Rgb, flow: NDArray[np.float32], seen: NDArray[np.bool_]
) -> float:
    """Mean squared difference (0..1) of a frame and the one before it moved along, where seen.

    previous, current: painted frames (or the source's own). flow, seen: `backward_flow` of the
    source's frames. NaN when nothing is seen, as across a hard cut.
    """
    if not seen.any():
        return float("nan")
    difference = warp(previous.astype(np.float32), flow) - current
    return float(np.square(difference[seen]).mean(dtype=np.float64)) / 255**2
