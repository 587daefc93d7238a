"""Pictures that get colors: chroma from the engine at a small size, luma from the picture.

The engine sees the picture with a longer side of 16 times the render factor, whatever its size, so
time and memory of a run are those of the small one. A higher factor sees smaller things, and large
ones less well: the engine learned on crops of about its own factor's size.
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
    """(height, width) at which the engine sees a picture: by the render factor, and no larger than
    it takes."""
    metadata = controls.metadata
    longer = RENDER_STEP * (controls.render_factor or metadata.render_factor)
    factor = longer / max(height, width)
    if most := largest(metadata):
        factor = min(factor, most[0] / height, most[1] / width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def colorized(batch: Frames, size: tuple[int, int], controls: Controls, painter: Painter) -> Frames:
    """(N, H, W, 3), of any colors -> the same, new, of the same luma.

    size: (height, width) at which the engine sees them.
    Raises BadInput: a hint lies outside the pictures. BadEngine: what it gives is no chroma.
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
            f"this engine made {chroma.shape} of a picture of {content.shape}, or no numbers: it is"
            " damaged or its metadata is wrong"
        )
    maps = np.clip(chroma[:, :, : size[0], : size[1]], -FULL, FULL).transpose(0, 2, 3, 1)
    maps = np.ascontiguousarray(maps, np.float32)
    return np.stack([colored(*parts) for parts in zip(batch, small, maps, strict=True)])
