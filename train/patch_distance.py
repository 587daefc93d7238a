"""Patch distance: how far a painting's texture is from its style's, without any network.

Sliced Wasserstein distance between the small patches of two pictures at several scales, after
Karras et al., "Progressive growing of GANs", ICLR 2018, section 5. No network is trained on it or
takes part in it, and it agrees with the eye where distances of Gram matrices do not. It needs NumPy
and OpenCV only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]  # (H, W, 3), 0..255
Floats = NDArray[np.float32]
SHORT_SIDE = 384  # pixels: both pictures are scaled to it
LEVELS = 5  # levels of the Laplacian pyramid
SIDE = 7  # side of a patch, in pixels of its level
PATCHES = 16_384  # number of patches drawn at each level
DIRECTIONS = 256  # number of directions that the patches are projected on
SCALE = 1_000.0
SEED = 4  # of patches and directions: another seed changes distances by about 2 %


@dataclass(frozen=True)
class _Level:
    """One level of a style: its channels' mean and deviation (3,), the random unit directions
    (DIRECTIONS, 147), and its patches' sorted projections (DIRECTIONS, PATCHES)."""

    mean: Floats
    deviation: Floats
    directions: Floats
    projections: Floats

    def projected(self, patches: Floats) -> Floats:
        """Patches (PATCHES, SIDE * SIDE, 3), normalized and projected, each direction sorted."""
        flat = ((patches - self.mean) / self.deviation).reshape(len(patches), -1)
        return np.sort(np.asarray(self.directions @ flat.T, np.float32), axis=1)


class StylePatches:
    """The patches of a style picture, for distances of any number of paintings to it."""

    def __init__(self, style: Rgb) -> None:
        """style: (H, W, 3), uint8."""
        self._levels: list[_Level] = []
        for number, band in enumerate(_pyramid(style)):
            random = np.random.default_rng((SEED, number, 0))
            patches = _patches(band, random)
            mean, deviation = patches.mean((0, 1)), patches.std((0, 1)) + np.float32(1e-6)
            directions = random.normal(size=(DIRECTIONS, SIDE * SIDE * 3)).astype(np.float32)
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            level = _Level(mean, deviation, directions, np.empty(0, np.float32))
            projections = level.projected(patches)
            self._levels.append(_Level(mean, deviation, directions, projections))

    def distances(self, painted: Rgb) -> list[float]:
        """The distance at each level, from the finest. painted: (H, W, 3), uint8."""
        found: list[float] = []
        for number, (band, level) in enumerate(zip(_pyramid(painted), self._levels, strict=True)):
            patches = _patches(band, np.random.default_rng((SEED, number, 1)))
            apart = np.abs(level.projected(patches) - level.projections)
            found.append(SCALE * float(apart.mean()))
        return found

    def distance(self, painted: Rgb) -> float:
        """The mean over the levels; near 0 for another sample of the same texture."""
        return float(np.mean(self.distances(painted)))


def patch_distance(painted: Rgb, style: Rgb) -> float:
    """The distance of a painting from one style: both (H, W, 3), uint8, of any size."""
    return StylePatches(style).distance(painted)


def _pyramid(rgb: Rgb) -> list[Floats]:
    """Differences between successive halvings, then the coarsest: each (h, w, 3), 0..1."""
    factor = SHORT_SIDE / min(rgb.shape[:2])
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=way)
    x = np.asarray(scaled, np.float32) / np.float32(255)
    bands: list[Floats] = []
    for _ in range(LEVELS - 1):
        half = np.asarray(cv2.pyrDown(x), np.float32)
        doubled = np.asarray(cv2.pyrUp(half, dstsize=(x.shape[1], x.shape[0])), np.float32)
        bands.append(x - doubled)
        x = half
    return [*bands, x]


def _patches(band: Floats, random: np.random.Generator) -> Floats:
    """Random patches of one level: (PATCHES, SIDE * SIDE, 3)."""
    height, width = band.shape[:2]
    top = random.integers(0, height - SIDE + 1, PATCHES)[:, None, None]
    left = random.integers(0, width - SIDE + 1, PATCHES)[:, None, None]
    step = np.arange(SIDE)
    return band[top + step[:, None], left + step].reshape(PATCHES, SIDE * SIDE, 3)
