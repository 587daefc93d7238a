"""The noise input of some engines, generated from a seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadControl, printable

SEEDS = 1 << 32


@lru_cache(maxsize=2)  # all frames of a video get the same noise, since new noise would flicker
def draw_noise(seed: int, channels: int, height: int, width: int) -> NDArray[np.float32]:
    """Uniform noise, 0..1, (1, channels, height, width) float32; deterministic."""
    made = np.random.default_rng(seed).random((1, channels, height, width), dtype=np.float32)
    made.flags.writeable = False
    return made


def check_seed(seed: object) -> int:
    """Raises BadControl: not a whole number from 0 to 2³² - 1."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise BadControl(f"a seed is a whole number from 0 to {SEEDS - 1}, not {printable(seed)}")
    return int(seed)
