"""User hints for a colorizer: colors at points, strokes, a palette.

Zhang et al., "Real-time user-guided image colorization with learned deep priors", SIGGRAPH 2017.
Hints set chroma only; lightness comes from the picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.engine.metadata import PALETTE
from st.runtime.errors import BadControl, BadInput, printable
from st.runtime.painting.chroma import chroma_of, palette_of
from st.runtime.painting.frames import Frames

MAX_POINTS = 1000
PALETTE_SIDE = 256  # longer side to which a palette picture is reduced, pixels
COLORFUL = 24  # minimum of max(RGB) - min(RGB), of 255, in strokes without alpha
DRAWN = 0.02  # minimum coverage of a pixel by a stroke, at the engine's size
DOT = 100  # the radius of a point is the longer side divided by this

Place = float | str  # pixels, or "40%"


@dataclass(frozen=True)
class Point:
    """A color at (x, y) from the top left corner.

    shares: for x and y, whether it is a fraction of the side, 0..1, instead of pixels.
    """

    x: float
    y: float
    rgb: tuple[int, int, int]
    shares: tuple[bool, bool] = (False, False)


@dataclass(frozen=True, eq=False)
class Hints:
    """All hints for a picture.

    strokes: (h, w, 3) float32 of any size: premultiplied chroma, then coverage; None for none.
    palette: (1, PALETTE), see `palette_of`; None for none.
    """

    points: tuple[Point, ...] = ()
    strokes: NDArray[np.float32] | None = None
    palette: NDArray[np.float32] | None = None

    def at(self, small: tuple[int, int], picture: tuple[int, int]) -> NDArray[np.float32]:
        """The hints input, (1, 3, h, w): chroma, and a mask that is 1 where chroma is given.

        small: (h, w) at which the engine sees the picture. picture: (H, W). Points cover strokes,
        and later points earlier ones.

        Raises BadInput: a point outside the picture.
        """
        height, width = small
        layer = np.zeros((height, width, 3), np.float32)
        if self.strokes is not None:
            area = cv2.resize(self.strokes, (width, height), interpolation=cv2.INTER_AREA)
            share = np.asarray(area, np.float32)[..., 2:]
            drawn = share > DRAWN
            layer[..., :2] = np.where(drawn, area[..., :2] / np.maximum(share, DRAWN), 0)
            layer[..., 2] = drawn[..., 0]
        for point in self.points:
            x, y = _place(point, picture)
            center = (int(x * width / picture[1]), int(y * height / picture[0]))
            blue, red = chroma_of(np.array([[point.rgb]], np.uint8))[0, 0].tolist()
            cv2.circle(layer, center, max(1, round(max(small) / DOT)), (blue, red, 1.0), -1)
        return np.ascontiguousarray(layer.transpose(2, 0, 1))[None]


NOTHING = Hints()


def no_palette() -> NDArray[np.float32]:
    return np.zeros((1, PALETTE), np.float32)


def make_hints(
    points: Iterable[tuple[Place, Place, Any]] = (),
    strokes: str | Path | NDArray[np.uint8] | None = None,
    palette: str | Path | Frames | None = None,
) -> Hints:
    """See `Stylizer.set_hints`. Raises BadControl, BadInput."""
    listed = list(points)
    if len(listed) > MAX_POINTS:
        raise BadControl(f"{len(listed)} hints: at most {MAX_POINTS} are allowed")
    if not all(isinstance(point, tuple | list) and len(point) == 3 for point in listed):
        raise BadControl("a hint must be (x, y, color)")
    return Hints(
        tuple(make_point(*point) for point in listed),
        None if strokes is None else as_strokes(strokes),
        None if palette is None else palette_of(_reduced(_picture(palette, "a palette"))),
    )


def make_point(x: Place, y: Place, color: Any) -> Point:
    """Raises BadControl: no such place or color."""
    (left, left_share), (top, top_share) = _number(x), _number(y)
    return Point(left, top, as_rgb(color), (left_share, top_share))


def parse_point(text: str) -> tuple[str, str, str]:
    """(x, y, color) of "X,Y=COLOR". Raises BadControl."""
    place, equals, color = text.partition("=")
    x, comma, y = place.partition(",")
    if not equals or not comma:
        raise BadControl(f"hint {printable(text, 60)}: give X,Y=COLOR, such as 320,200=#2a7f3b")
    return x, y, color


def as_rgb(color: Any) -> tuple[int, int, int]:
    """(r, g, b), "#2a7f3b", "#2a7" or a name as in CSS. Raises BadControl."""
    from PIL import ImageColor

    try:
        if isinstance(color, str):
            return ImageColor.getrgb(color.strip()[:40])[:3]
        red, green, blue = (int(value) for value in color)
        if min(red, green, blue) >= 0 and max(red, green, blue) <= 255:
            return red, green, blue
    except (ValueError, TypeError):
        pass
    raise BadControl(f"no color {printable(color, 40)}: give #RRGGBB or a name such as olive")


def as_strokes(strokes: str | Path | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Strokes of a picture as (h, w, 3): premultiplied chroma, then coverage, 0..1.

    With alpha, strokes are the pixels that are not transparent. Without, they are the pixels that
    are clearly not gray, as in a gray picture that was drawn on.
    Raises BadInput: not a picture, or no strokes.
    """
    alpha = None
    if isinstance(strokes, np.ndarray):
        if strokes.ndim == 3 and strokes.shape[2] == 4 and strokes.dtype == np.uint8:
            strokes, alpha = np.ascontiguousarray(strokes[..., :3]), strokes[..., 3]
        rgb = _picture(strokes, "a picture of strokes")
    else:
        from st.runtime.pictures.io import read_picture

        picture = read_picture(strokes)
        rgb, alpha = picture.rgb, picture.alpha
    if alpha is None:
        share = (rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2) >= COLORFUL).astype(np.float32)
    else:
        share = alpha.astype(np.float32) / 255
    if not share.any():
        raise BadInput("this picture has no strokes: all pixels are gray or transparent")
    return np.dstack([chroma_of(rgb) * share[..., None], share]).astype(np.float32)


def _picture(picture: Any, what: str) -> Frames:
    if isinstance(picture, str | Path):
        from st.runtime.pictures.io import read_picture

        return read_picture(picture).rgb
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
        or not picture.size
    ):
        raise BadInput(f"{what} must be a picture's file or an array (height, width, 3), uint8")
    return picture


def _reduced(picture: Frames) -> Frames:
    factor = PALETTE_SIDE / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _number(side: Place) -> tuple[float, bool]:
    """(12.0, False) of "12" or 12; (0.4, True) of "40%"."""
    share = isinstance(side, str) and side.strip().endswith("%")
    try:
        value = float(side.strip().rstrip("%")) if isinstance(side, str) else float(side)
    except (ValueError, TypeError):
        value = -1.0
    most = 100.0 if share else 1e6
    if not 0 <= value <= most:
        raise BadControl(f"no place {printable(side, 40)}: give pixels, or a part such as 40%")
    return (value / 100 if share else value), share


def _place(point: Point, picture: tuple[int, int]) -> tuple[float, float]:
    """(x, y) in pixels of the picture. Raises BadInput: outside it."""
    height, width = picture
    sides = zip((point.x, point.y), (width, height), point.shares, strict=True)
    x, y = (min(value * side, side - 1) if share else value for value, side, share in sides)
    if x >= width or y >= height:
        raise BadInput(f"the hint at {x:g},{y:g} lies outside this picture of {width}×{height}")
    return x, y
