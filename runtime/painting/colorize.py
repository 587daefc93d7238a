"""Colorize pictures: chroma from the engine at a small size, luma from the picture.

The engine sees the picture with a longer side of 16 times the render factor, so time and memory do
not depend on the size of the picture. A higher factor resolves smaller objects, and large ones less
well: the engine was trained on crops of about the size of its default factor.
"""

from __future__ import annotations

import numpy as np

from st.runtime.errors import BadEngine
from st.runtime.painting.chroma import FULL, colored
from st.runtime.painting.controls import Controls
from st.runtime.painting.frames import Frames, fitted_size, largest, pad
from st.runtime.painting.hints import NOTHING, no_palette
from st.runtime.painting.paint_size import scaled
from st.runtime.painting.painter import Painter

RENDER_STEP = 16  # pixels


def render_size(controls: Controls, height: int, width: int) -> tuple[int, int]:
    """(height, width) at which the engine sees a picture, limited to its largest size."""
    metadata = controls.metadata
    longer = RENDER_STEP * (controls.render_factor or metadata.render_factor)
    factor = longer / max(height, width)
    if most := largest(metadata):
        factor = min(factor, most[0] / height, most[1] / width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def colorized(batch: Frames, size: tuple[int, int], controls: Controls, painter: Painter) -> Frames:
    """Colorize pictures (N, H, W, 3) of any colors -> a new array of the same shape and luma.

    size: (height, width) at which the engine sees them.
    Raises BadInput: a hint outside the pictures. BadEngine: the output is not a chroma map.
    """
    metadata, hints = painter.metadata, controls.hints or NOTHING
    small = np.stack([scaled(picture, *size) for picture in batch])
    content = pad(small, *fitted_size(metadata, *size))
    layer = hints.at(size, (batch.shape[1], batch.shape[2]))
    missing = [(0, n - m) for n, m in zip(content.shape[1:3], size, strict=True)]
    palette = no_palette() if hints.palette is None else hints.palette
    inputs = {"hints": np.pad(layer, [(0, 0), (0, 0), *missing]), "palette": palette}
    chroma = painter.run(content, inputs)
    if chroma.shape != (len(batch), 2, *content.shape[1:3]) or not np.isfinite(chroma).all():
        raise BadEngine(
            f"the output of this engine is {chroma.shape} for a picture of {content.shape}, or not"
            " finite: it is damaged or its metadata is wrong"
        )
    maps = np.clip(chroma[:, :, : size[0], : size[1]], -FULL, FULL).transpose(0, 2, 3, 1)
    maps = np.ascontiguousarray(maps, np.float32)
    return np.stack([colored(*parts) for parts in zip(batch, small, maps, strict=True)])
