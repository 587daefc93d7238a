"""The painting pipeline: the order in which all settings are applied to a picture.

1. Scale the picture to the size at which it is painted (paint_size).
2. Pad it to a size that the engine takes, run the engine, crop (frames).
3. Restore the size of the picture (paint_size).
4. Transfer colors (color_transfer).
5. Mix with the picture by the strength, if the engine has no strength input (frames).
6. Blend the styles of the regions (regions).

Steps 1 to 5 are done for each style separately, so each region equals the same part of the whole
picture in its style, and what is not painted equals the picture exactly. A colorizer replaces steps
1 to 3 (colorize). A super-resolution engine has no steps 1 and 3: its output gets the histogram of
the picture, and steps 4 and 5 use the picture enlarged by bicubic interpolation (upscale).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadEngine
from st.runtime.painting.color_transfer import recolor
from st.runtime.painting.colorize import colorized, render_size
from st.runtime.painting.controls import Controls
from st.runtime.painting.frames import Frames, crop, fitted_size, mix, pad
from st.runtime.painting.noise import draw_noise
from st.runtime.painting.paint_size import painting_size, restore_size, scaled
from st.runtime.painting.painter import Painter
from st.runtime.painting.regions import compose
from st.runtime.painting.upscale import enlarged, enlarged_painting


def size_of_painting(controls: Controls, height: int, width: int) -> tuple[int, int]:
    """(height, width) at which the engine sees a picture of this size, without padding."""
    if controls.metadata.kind == "colorizer":
        return render_size(controls, height, width)
    return painting_size(height, width, controls.paint_size, controls.painting_scale)


def paint(
    batch: Frames, controls: Controls, painter: Painter, masks: Sequence[NDArray[Any]] | None = None
) -> Frames:
    """Paint (N, H, W, 3) uint8 into a new array of the same shape, or an enlarged one.

    masks: masks for these pictures, which replace those of the regions.
    Raises BadControl: no style is set, or the number of masks is not that of the regions.
    """
    regions = controls.regions
    if regions is None:
        return paint_style(batch, controls, painter)
    plan = regions.plan(batch.shape[1], batch.shape[2], masks)
    paintings = []
    for number in plan.styles:
        rest = number == len(regions.values)
        if rest and not regions.painted_rest:
            paintings.append(batch)
            continue
        values = None if rest else regions.values[number]
        own = controls if values is None else controls.with_style(values)
        paintings.append(paint_style(batch, own, painter))
    pictures = [compose([p[i] for p in paintings], plan) for i in range(len(batch))]
    return np.stack(pictures)


def paint_style(batch: Frames, controls: Controls, painter: Painter) -> Frames:
    """Steps 1 to 5, in one style."""
    controls.check_style()
    scale = painter.metadata.scale
    if scale > 1:
        painted = enlarged_painting(run_engine(batch, controls, painter), batch)
        batch = enlarged(batch, scale)
        return finished(painted, batch, controls)
    if controls.mix == 0:
        return batch.copy()
    height, width = batch.shape[1:3]
    size = size_of_painting(controls, height, width)
    if painter.metadata.kind == "colorizer":
        return finished(colorized(batch, size, controls, painter), batch, controls)
    small = batch
    if size != (height, width):
        small = np.stack([scaled(picture, *size) for picture in batch])
    painted = run_engine(small, controls, painter)
    if small is not batch:
        pairs = zip(painted, small, batch, strict=True)
        painted = np.stack([restore_size(*pair) for pair in pairs])
    return finished(painted, batch, controls)


def finished(painted: Frames, batch: Frames, controls: Controls) -> Frames:
    """Steps 4 and 5; both (N, H, W, 3)."""
    if controls.color != "style":
        pairs = zip(painted, batch, strict=True)
        painted = np.stack([recolor(*pair, controls.color) for pair in pairs])
    if controls.mix < 1:
        mix(batch, painted, controls.mix)
    return painted


def run_engine(batch: Frames, controls: Controls, painter: Painter) -> Frames:
    """Step 2."""
    metadata, (height, width) = painter.metadata, batch.shape[1:3]
    content = pad(batch, *fitted_size(metadata, height, width, painter.tiled))
    inputs = controls.inputs
    if metadata.noise:
        noise = draw_noise(controls.seed, metadata.noise, *content.shape[1:3])
        inputs = {**inputs, "noise": noise}
    painted = painter.run(content, inputs)
    expected = (len(content), *(metadata.scale * side for side in content.shape[1:3]), 3)
    if painted.shape != expected:
        raise BadEngine(
            f"this engine made {painted.shape} of a picture of {content.shape}: it is damaged "
            "or its metadata is wrong"
        )
    return crop(painted, metadata.scale * height, metadata.scale * width)
