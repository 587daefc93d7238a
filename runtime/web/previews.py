"""Preview pictures of styles: one sample landscape, painted in each style.

The sample is drawn here, so previews work for every engine and need no picture of anybody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from st.runtime.painting.frames import Frames
from st.runtime.pictures.io import Picture, encode_picture
from st.runtime.stylizer import Stylizer

SIDE = 256  # pixels that the sample is painted at
SHOWN = 144  # pixels of the preview: twice the size of a button, for dense screens


def style_preview(stylizer: Stylizer, style: Mapping[Any, float] | None) -> bytes:
    """The sample painted in a style, (144, 144), as a JPEG file.

    style: {style: weight}, as for `Stylizer.set_style`; None for an engine of a single style.

    Raises: what painting raises.
    """
    painted = stylizer.styled(style, 1.0)(sample_picture())
    small = cv2.resize(painted, (SHOWN, SHOWN), interpolation=cv2.INTER_AREA)
    return encode_picture(Picture(np.asarray(small, np.uint8)), "jpeg")[0]


def sample_picture() -> Frames:
    """A drawn landscape, (SIDE, SIDE, 3) uint8 RGB: sky, clouds, sun, mountains, a lake, trees."""
    side = SIDE
    generator = np.random.default_rng(7)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    sky = _between((92, 148, 214), (247, 214, 170), y / 0.6)
    clouds = np.clip(_noise(generator, side, 4) * 2.4 - 1.1, 0, 1) * np.clip(1 - y / 0.5, 0, 1)
    picture = sky + (np.array([255, 250, 244]) - sky) * clouds[..., None] * 0.8
    sun = np.hypot(x - 0.72, y - 0.25)
    picture += np.array([90, 60, 10]) * np.exp(-((sun / 0.13) ** 2))[..., None]
    picture[sun < 0.055] = (255, 244, 206)
    for height, rough, color in ((0.44, 0.16, (108, 112, 150)), (0.54, 0.1, (62, 92, 84))):
        ridge = height - rough * (_noise(generator, side, 5)[0] - 0.5) * 2
        shade = 0.75 + 0.5 * _noise(generator, side, 24)
        below = y > ridge[None]
        picture[below] = (np.array(color) * shade[..., None])[below]
    lake = y > 0.62
    mirrored = picture[np.clip((1.24 * side - np.arange(side)).astype(int), 0, side - 1)]
    waves = 0.72 + 0.16 * np.sin(230 * y + 9 * _noise(generator, side, 6))
    picture[lake] = (mirrored * waves[..., None] + np.array([0, 8, 18]))[lake]
    shore = y > 0.8 + 0.1 * np.sin(3.2 * x + 0.4)
    grass = np.array([116, 128, 52]) * (0.6 + 0.7 * _noise(generator, side, 48))[..., None]
    picture[shore] = grass[shore]
    return _trees(np.clip(picture, 0, 255).astype(np.uint8), generator)


def _trees(picture: Frames, generator: np.random.Generator) -> Frames:
    side = len(picture)
    for left, foot, size in ((0.14, 0.93, 0.3), (0.3, 0.88, 0.2), (0.9, 0.9, 0.26)):
        at = np.array([left, foot]) * side
        ends = at.astype(int).tolist()
        top = at - (0, size * side * 0.4)
        cv2.line(picture, ends, top.astype(int).tolist(), (74, 50, 34), max(1, side // 50))
        for _ in range(40):
            where = top + generator.normal(0, size * side * 0.2, 2)
            color = np.array([52, 92, 40]) + generator.integers(-22, 46)
            radius = max(1, int(size * side * 0.1))
            cv2.circle(picture, where.astype(int).tolist(), radius, color.tolist(), -1, cv2.LINE_AA)
    return picture


def _between(first: tuple[int, ...], second: tuple[int, ...], share: Frames) -> Any:
    share = np.clip(share, 0, 1)[..., None]
    return np.array(first) * (1 - share) + np.array(second) * share


def _noise(generator: np.random.Generator, side: int, cells: int) -> Any:
    """(side, side) smooth values 0..1."""
    grid = generator.random((cells + 1, cells + 1)).astype(np.float32)
    return np.clip(cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
