"""Generated pictures to test engines with."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def synthetic_picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A random picture with detail at every scale and hard edges: (1, H, W, 3)."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for scale in (1, 4, 16, 64):
        coarse = random.random((-(-height // scale), -(-width // scale), 3), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) * scale**0.5
    total = (total - total.min()) / (total.max() - total.min())
    for _ in range(3):
        center = (int(random.integers(width)), int(random.integers(height)))
        color = tuple(float(c) for c in random.random(3))
        cv2.circle(total, center, min(height, width) // 6, color, thickness=-1)
    return np.round(total * 255).astype(np.uint8)[None]


def noise_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Random black and white pixels, which drive activations up: (1, H, W, 3)."""
    random = np.random.default_rng(1)
    return (random.integers(0, 2, (1, height, width, 3)) * 255).astype(np.uint8)


def uniform_picture(height: int, width: int, value: int) -> NDArray[np.uint8]:
    """A uniform gray picture, whose variance is 0 at every instance norm: (1, H, W, 3)."""
    return np.full((1, height, width, 3), value, np.uint8)
