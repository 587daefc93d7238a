"""Pictures as engines take them: checked, padded to the sizes they take, and cropped again."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadInput
from st.runtime.metadata import Metadata

Frames = NDArray[np.uint8]


def as_batch(frame: Any) -> Frames:
    """(H, W, 3) or (N, H, W, 3) uint8 as C-contiguous (N, H, W, 3); copied only if it must be.

    Raises BadInput: anything else; the message says what is expected.
    """
    if not isinstance(frame, np.ndarray):
        raise BadInput(f"a picture must be a NumPy array, not {type(frame).__name__}")
    if frame.dtype != np.uint8 or frame.ndim not in (3, 4) or frame.shape[-1] != 3:
        raise BadInput(
            "a picture must be (height, width, 3) or (frames, height, width, 3), uint8, RGB, "
            f"not {frame.shape} {frame.dtype}"
        )
    if 0 in frame.shape:
        raise BadInput(f"a picture needs at least one pixel, this one is {frame.shape}")
    return np.ascontiguousarray(frame if frame.ndim == 4 else frame[None])


def fitted_size(metadata: Metadata, height: int, width: int) -> tuple[int, int]:
    """The least (height, width) that the engine takes and that holds a picture of this size.

    Raises BadInput: the engine takes one size only, and the picture is larger.
    """
    if metadata.fixed_size:
        most_height, most_width = metadata.fixed_size
        if height > most_height or width > most_width:
            raise BadInput(
                f"this engine takes pictures up to {most_width}×{most_height}, "
                f"not {width}×{height}: scale it down or export the engine for any size"
            )
        return metadata.fixed_size
    step = metadata.multiple
    fitted = (-(-max(side, metadata.min_size) // step) * step for side in (height, width))
    return next(fitted), next(fitted)


def pad(batch: Frames, height: int, width: int) -> Frames:
    """Pad at the bottom and the right by reflection, or with the edge where that is too small.

    (N, H, W, 3) -> (N, height, width, 3); the same array when nothing is missing.
    """
    down, right = height - batch.shape[1], width - batch.shape[2]
    if not down and not right:
        return batch
    padded = np.empty((len(batch), height, width, 3), np.uint8)
    for source, target in zip(batch, padded, strict=True):
        rows = cv2.copyMakeBorder(source, 0, down, 0, 0, _border(down, batch.shape[1]))
        cv2.copyMakeBorder(rows, 0, 0, 0, right, _border(right, batch.shape[2]), dst=target)
    return padded


def _border(missing: int, side: int) -> int:
    return cv2.BORDER_REFLECT_101 if missing < side else cv2.BORDER_REPLICATE


def crop(batch: Frames, height: int, width: int) -> Frames:
    """The top left of each picture, (N, H, W, 3) -> (N, height, width, 3), C-contiguous."""
    return np.ascontiguousarray(batch[:, :height, :width])


def mix(source: Frames, painted: Frames, strength: float) -> Frames:
    """strength * painted + (1 - strength) * source, rounded, into `painted`; both C-contiguous."""
    rows = source.shape[0] * source.shape[1]
    flat = painted.reshape(rows, -1)
    cv2.addWeighted(source.reshape(rows, -1), 1 - strength, flat, strength, 0, dst=flat)
    return painted
