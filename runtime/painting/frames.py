"""Check pictures, pad them to sizes that an engine accepts, and crop the result."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.fields import Size
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadInput

Frames = NDArray[np.uint8]


def as_batch(frame: Any) -> Frames:
    """(H, W, 3) or (N, H, W, 3) uint8 to C-contiguous (N, H, W, 3), copied only if necessary.

    Raises BadInput: anything else.
    """
    if not isinstance(frame, np.ndarray):
        raise BadInput(f"a picture must be a NumPy array, not {type(frame).__name__}")
    if frame.dtype != np.uint8 or frame.ndim not in (3, 4) or frame.shape[-1] != 3:
        raise BadInput(
            "a picture must be uint8 of (height, width), (height, width, 3 or 4) or "
            "(frames, height, width, 3), "
            f"not {frame.shape} {frame.dtype}"
        )
    if 0 in frame.shape:
        raise BadInput(f"a picture needs at least one pixel, this one is {frame.shape}")
    return np.ascontiguousarray(frame if frame.ndim == 4 else frame[None])


def fitted_size(metadata: Metadata, height: int, width: int, tiled: bool = False) -> Size:
    """The smallest (height, width) that the engine accepts and that is at least the given size.

    tiled: the picture is painted in tiles, so the largest size of the engine does not matter.
    Raises BadInput: the picture is larger than the engine accepts.
    """
    most = largest(metadata)
    if most and not tiled and (height > most[0] or width > most[1]):
        raise BadInput(
            f"this engine accepts pictures up to {most[1]}×{most[0]}, not {width}×{height}: "
            "scale it down or export the engine for larger ones"
        )
    if metadata.fixed_size:
        return metadata.fixed_size
    step = metadata.multiple
    low, wide = metadata.sizes[0] if metadata.sizes else (metadata.min_size, metadata.min_size)
    return -(-max(height, low) // step) * step, -(-max(width, wide) // step) * step


def largest(metadata: Metadata) -> Size | None:
    """The largest (height, width) that an engine accepts in one run; None for no limit."""
    return metadata.fixed_size or (metadata.sizes and metadata.sizes[1])


def pad(batch: Frames, height: int, width: int) -> Frames:
    """Pad at the bottom and the right by reflection, or by replication in very small pictures.

    (N, H, W, 3) -> (N, height, width, 3); the same array if it has that size.
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
    """Crop to the top left: (N, H, W, 3) -> (N, height, width, 3), C-contiguous."""
    return np.ascontiguousarray(batch[:, :height, :width])


def mix(source: Frames, painted: Frames, strength: float) -> Frames:
    """Write strength * painted + (1 - strength) * source, rounded, into `painted`.

    Both (N, H, W, 3) uint8 and C-contiguous.
    """
    rows = source.shape[0] * source.shape[1]
    flat = painted.reshape(rows, -1)
    cv2.addWeighted(source.reshape(rows, -1), 1 - strength, flat, strength, 0, dst=flat)
    return painted
