"""Optimization profiles: the frame sizes that a TensorRT engine is built for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from st.runtime.engine.describe import format_size
from st.runtime.engine.fields import Size
from st.runtime.engine.metadata import MAX_RENDER, Metadata
from st.runtime.errors import BadInput
from st.runtime.painting.colorize import RENDER_STEP
from st.runtime.painting.tiling import TILE
from st.runtime.style_encoder import SHORT_SIDE

OPT_SIZE, MAX_SIZE = (720, 1280), (1080, 1920)  # (height, width)
NAMES = ("smallest frame", "frame to optimize for", "largest frame")


@dataclass(frozen=True)
class Profile:
    """Minimum, optimum and maximum frame size, (height, width)."""

    minimum: Size
    optimum: Size
    maximum: Size

    @property
    def fixed(self) -> bool:
        return self.minimum == self.maximum


@dataclass(frozen=True)
class FrameSizes:
    """The user's sizes; None for a default of `profile_of`. Raises BadInput: not ascending."""

    minimum: Size | None = None
    optimum: Size | None = None
    maximum: Size | None = None

    def __post_init__(self) -> None:
        given = [
            (name, size)
            for name, size in zip(NAMES, (self.minimum, self.optimum, self.maximum), strict=True)
            if size
        ]
        for (low, small), (high, large) in pairwise(given):
            if small[0] > large[0] or small[1] > large[1]:
                low, high = f"{low} {format_size(small)}", f"{high} {format_size(large)}"
                raise BadInput(f"{low} exceeds {high}: sizes must grow")


def profile_of(metadata: Metadata, asked: FrameSizes) -> Profile:
    """The profile of an engine; its sides are rounded up to the engine's multiple.

    The sizes asked for are those of frames. A style encoder is built for style pictures of up to
    twice its short side, tiles for their own size, and a colorizer for all render factors.
    Raises BadInput: a size that is too small for the engine.
    """
    if metadata.fixed_size:
        return Profile(metadata.fixed_size, metadata.fixed_size, metadata.fixed_size)
    small = _square(metadata.min_size, metadata)
    if metadata.kind == "style-encoder":
        optimum, maximum = (_square(side, metadata) for side in (SHORT_SIDE, 2 * SHORT_SIDE))
        return Profile(small, optimum, maximum)
    if metadata.kind == "colorizer" and asked == FrameSizes():
        optimum = _square(RENDER_STEP * metadata.render_factor, metadata)
        return Profile(small, optimum, _square(RENDER_STEP * MAX_RENDER, metadata))
    if metadata.kind == "tiles":
        tile = _square(TILE + 2 * metadata.halo, metadata)
        return Profile(small, tile, tile)
    return _asked(metadata, asked, small)


def _asked(metadata: Metadata, asked: FrameSizes, small: Size) -> Profile:
    for name, size in zip(NAMES, (asked.minimum, asked.optimum, asked.maximum), strict=True):
        if size and min(size) < metadata.min_size:
            needed = f"{metadata.min_size} pixels a side or more"
            raise BadInput(f"{name} {format_size(size)}: this engine takes {needed}")
    usual, large = (
        _each(max, small, _divided(size, metadata.scale)) for size in (OPT_SIZE, MAX_SIZE)
    )
    maximum = asked.maximum or _each(max, large, asked.optimum or asked.minimum or large)
    minimum = asked.minimum or _each(min, small, asked.optimum or maximum)
    optimum = asked.optimum or _each(max, minimum, _each(min, usual, maximum))
    return Profile(*(_up(size, metadata.multiple) for size in (minimum, optimum, maximum)))


def _divided(size: Size, scale: int) -> Size:
    """The input size at which a superresolution engine outputs this size."""
    return size[0] // scale, size[1] // scale


def _square(side: int, metadata: Metadata) -> Size:
    return _up((side, side), metadata.multiple)


def _each(pick: Callable[[int, int], int], one: Size, other: Size) -> Size:
    return pick(one[0], other[0]), pick(one[1], other[1])


def _up(size: Size, multiple: int) -> Size:
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width
