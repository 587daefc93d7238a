"""Optimization profiles: the frame sizes that a TensorRT engine is built for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from st.runtime.engine.describe import format_size
from st.runtime.engine.metadata import MAX_RENDER, Metadata, Size
from st.runtime.errors import BadInput
from st.runtime.painting.colorize import RENDER_STEP
from st.runtime.painting.tiling import TILE
from st.runtime.style_encoder import SHORT_SIDE

BEST, MOST = (720, 1280), (1080, 1920)  # (height, width)
NAMES = ("smallest frame", "frame to optimize for", "largest frame")


@dataclass(frozen=True)
class Profile:
    """Minimum, optimum and maximum frame size, (height, width)."""

    least: Size
    best: Size
    most: Size

    @property
    def fixed(self) -> bool:
        return self.least == self.most


@dataclass(frozen=True)
class Asked:
    """The user's sizes; None for a default of `profile_of`. Raises BadInput: not ascending."""

    least: Size | None = None
    best: Size | None = None
    most: Size | None = None

    def __post_init__(self) -> None:
        given = [
            (name, size)
            for name, size in zip(NAMES, (self.least, self.best, self.most), strict=True)
            if size
        ]
        for (low, small), (high, large) in pairwise(given):
            if small[0] > large[0] or small[1] > large[1]:
                low, high = f"{low} {format_size(small)}", f"{high} {format_size(large)}"
                raise BadInput(f"{low} exceeds {high}: sizes must grow")


def profile_of(metadata: Metadata, asked: Asked) -> Profile:
    """The profile of an engine; its sides are rounded up to the engine's multiple.

    The sizes asked for are those of frames. A style encoder is built for style pictures of up to
    twice its short side, tiles for their own size, and a colorizer for all render factors.
    Raises BadInput: a size that is too small for the engine.
    """
    if metadata.fixed_size:
        return Profile(metadata.fixed_size, metadata.fixed_size, metadata.fixed_size)
    small = _square(metadata.min_size, metadata)
    if metadata.kind == "style-encoder":
        best, most = (_square(side, metadata) for side in (SHORT_SIDE, 2 * SHORT_SIDE))
        return Profile(small, best, most)
    if metadata.kind == "colorizer" and asked == Asked():
        best = _square(RENDER_STEP * metadata.render_factor, metadata)
        return Profile(small, best, _square(RENDER_STEP * MAX_RENDER, metadata))
    if metadata.kind == "tiles":
        tile = _square(TILE + 2 * metadata.halo, metadata)
        return Profile(small, tile, tile)
    return _asked(metadata, asked, small)


def _asked(metadata: Metadata, asked: Asked, small: Size) -> Profile:
    for name, size in zip(NAMES, (asked.least, asked.best, asked.most), strict=True):
        if size and min(size) < metadata.min_size:
            least = f"{metadata.min_size} pixels a side or more"
            raise BadInput(f"{name} {format_size(size)}: this engine takes {least}")
    usual, large = (_each(max, small, _divided(size, metadata.scale)) for size in (BEST, MOST))
    most = asked.most or _each(max, large, asked.best or asked.least or large)
    least = asked.least or _each(min, small, asked.best or most)
    best = asked.best or _each(max, least, _each(min, usual, most))
    return Profile(*(_up(size, metadata.multiple) for size in (least, best, most)))


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
