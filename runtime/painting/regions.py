"""Regions: several styles in one picture, blended by masks.

A mask is white where its style paints. Every style paints the whole picture, because normalization
makes each pixel depend on all others: painting only the box of a region would give other colors. A
style whose mask is black everywhere is not painted.

Where masks overlap, their styles are averaged by weight; what no mask covers is the rest. Weights
are integers, so the order of the regions does not matter, and a pixel of a single style equals that
style's painting exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.painting.frames import Frames

FULL = (
    4095  # weight of a white pixel: sums of MAX_REGIONS products with a byte are exact in float32
)
MAX_REGIONS = 15  # regions
MAX_FEATHER = 4096
UNSEEN = FULL // 64  # a rest that is below this everywhere is a rounding error of the masks
TILE = 128  # side of a piece, pixels

Mask = str | Path | NDArray[Any]
Values = NDArray[np.float32]


Share = tuple[int, NDArray[np.uint16] | None]  # index into the styles of a plan; weights (h, w)


@dataclass(frozen=True)
class Piece:
    """A tile of the picture and the styles in it; weights are None for a single style."""

    place: tuple[slice, slice]
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Plan:
    """Which style paints which pieces, at one size.

    styles: indices of the regions that are painted; the index after the last region is the rest.
    """

    styles: tuple[int, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class Regions:
    """Styles and their masks.

    given: the style of each region as it was set; None for the style of the whole picture.
    values: the same as weights (1, S) or style code (1, K).
    masks: (h, w) uint8, or float32 0..1, of any size; they are resized to the picture.
    feather: feather radius of the edges, pixels.
    painted_rest: whether the rest is painted in the style of the whole picture or left as it is.
    """

    given: tuple[Any, ...]
    values: tuple[Values | None, ...]
    masks: tuple[NDArray[Any], ...]
    feather: float = 0.0
    painted_rest: bool = False

    @cached_property
    def _plans(self) -> dict[tuple[int, int], Plan]:
        return {}

    def encoded(self, encode: Callable[[Any], Values]) -> Regions:
        """The same regions with newly encoded styles."""
        values = tuple(None if style is None else encode(style) for style in self.given)
        return replace(self, values=values)

    def plan(self, height: int, width: int, masks: Sequence[NDArray[Any]] | None = None) -> Plan:
        """The plan for pictures of this size; the last one is cached.

        masks: masks of one video frame, which replace those of the regions.
        Raises BadControl: their number differs from that of the regions.
        """
        if masks is not None:
            if len(masks) != len(self.masks):
                raise BadControl(f"{len(masks)} masks for {len(self.masks)} regions")
            return make_plan(masks, self.feather, height, width)
        plan = self._plans.get((height, width))
        if plan is None:
            plan = make_plan(self.masks, self.feather, height, width)
            self._plans.clear()
            self._plans[height, width] = plan
        return plan


def make_regions(
    pairs: Iterable[tuple[Any, Mask]],
    feather: float,
    painted_rest: bool,
    encode: Callable[[Any], Values],
) -> Regions:
    """Regions of (style, mask) pairs. encode: returns the weights or the code of a style.

    Raises BadControl: too many regions, or a bad feather radius. BadInput: a bad mask. Also what
    `encode` raises.
    """
    if not isinstance(feather, int | float) or not 0 <= feather <= MAX_FEATHER:
        raise BadControl(f"feather must be 0 to {MAX_FEATHER} pixels, not {printable(feather)}")
    listed = list(pairs)
    if not 1 <= len(listed) <= MAX_REGIONS:
        raise BadControl(f"{len(listed)} regions: 1 to {MAX_REGIONS} can be painted")
    masks = tuple(as_mask(mask) for _, mask in listed)
    given = tuple(style for style, _ in listed)
    values = tuple(None if style is None else encode(style) for style in given)
    return Regions(given, values, masks, float(feather), painted_rest)


def as_mask(mask: Mask) -> NDArray[Any]:
    """A mask from a picture file or an array, (h, w) uint8 or float32 0..1.

    Colors count by their brightness; transparent pixels are black.
    Raises BadInput: not a mask, or an empty one.
    """
    if isinstance(mask, str | Path):
        from st.runtime.pictures.io import read_picture

        picture = read_picture(mask)
        gray = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)
        if picture.alpha is not None:
            gray = cv2.multiply(gray, picture.alpha, scale=1 / 255)
        return np.asarray(gray, np.uint8)
    if not isinstance(mask, np.ndarray) or mask.ndim not in (2, 3) or 0 in mask.shape:
        raise BadInput("a mask must be a picture's file or an array (height, width)")
    if mask.ndim == 3:
        if mask.shape[2] == 3 and mask.dtype == np.uint8:
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(mask), cv2.COLOR_RGB2GRAY))
        if mask.shape[2] != 1:
            raise BadInput(f"a mask must be (height, width), not {mask.shape} {mask.dtype}")
        mask = mask[..., 0]
    if mask.dtype == bool:
        return mask.astype(np.uint8) * np.uint8(255)
    if mask.dtype == np.uint8:
        return mask.copy()
    if mask.dtype.kind == "f" and np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1:
        return mask.astype(np.float32)
    raise BadInput("a mask must hold booleans, bytes, or numbers from 0 to 1")


def make_plan(masks: Sequence[NDArray[Any]], feather: float, height: int, width: int) -> Plan:
    """Raises BadInput: as `as_mask` does."""
    weights = [shape_weights(mask, feather, height, width) for mask in masks]
    rest = FULL - np.sum(weights, axis=0, dtype=np.int32)
    if rest.max() >= UNSEEN:
        weights.append(np.maximum(rest, 0).astype(np.uint16))
    styles = tuple(number for number, weight in enumerate(weights) if weight.any())
    places = [
        (slice(top, top + TILE), slice(left, left + TILE))
        for top in range(0, height, TILE)
        for left in range(0, width, TILE)
    ]
    return Plan(styles, tuple(make_piece(place, [weights[s] for s in styles]) for place in places))


def make_piece(place: tuple[slice, slice], weights: Sequence[NDArray[np.uint16]]) -> Piece:
    parts = [weight[place] for weight in weights]
    here = [number for number, part in enumerate(parts) if part.any()]
    if len(here) == 1:
        return Piece(place, ((here[0], None),))
    return Piece(place, tuple((number, parts[number].copy()) for number in here))


def shape_weights(
    mask: NDArray[Any], feather: float, height: int, width: int
) -> NDArray[np.uint16]:
    """Resize and feather a mask: (h, w) -> (height, width), 0..FULL."""
    values = mask.astype(np.float32) / (255 if mask.dtype == np.uint8 else 1)
    if values.shape != (height, width):
        smaller = height < values.shape[0] or width < values.shape[1]
        values = cv2.resize(
            values, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        )
    if feather > 0:
        # Two box filters give a smooth edge that ends within `feather` pixels. Their side is odd,
        # so that the edge does not move.
        side = 2 * max(1, round(feather / 4)) + 1
        for _ in range(2):
            values = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    return np.rint(np.clip(values, 0, 1) * FULL).astype(np.uint16)


def compose(paintings: Sequence[Frames], plan: Plan) -> Frames:
    """Blend paintings (H, W, 3), given in the order of the plan's styles."""
    if len(paintings) == 1:
        return paintings[0]
    out = np.empty_like(paintings[0])
    for piece in plan.pieces:
        out[piece.place] = _mixed(paintings, piece)
    return out


def _mixed(paintings: Sequence[Frames], piece: Piece) -> NDArray[Any]:
    """The rounded weighted mean of a piece; exact, because the sums fit into float32."""
    total = painted = None
    for number, weights in piece.shares:
        source = paintings[number][piece.place]
        if weights is None:
            return source
        weight = weights.astype(np.float32)
        weight = cv2.merge([weight, weight, weight])
        part = cv2.multiply(source, weight, dtype=cv2.CV_32F)
        painted = part if painted is None else cv2.add(painted, part)
        total = weight if total is None else cv2.add(total, weight)
    assert painted is not None  # every piece has a style
    assert total is not None
    return np.asarray(cv2.divide(painted, total, dtype=cv2.CV_8U))
