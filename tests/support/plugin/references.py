"""Reference implementations of the kernels, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.float64]


def adain(x: NDArray[Any], scale: NDArray[Any], shift: NDArray[Any]) -> Wide:
    wide = x.astype(np.float64)
    apart = wide - wide.mean((2, 3), keepdims=True)
    variance = np.square(apart).mean((2, 3), keepdims=True)
    own = scale.astype(np.float64)[..., None, None], shift.astype(np.float64)[..., None, None]
    return apart / np.sqrt(variance + 1e-5) * own[0] + own[1]


def covariance(x: NDArray[Any], correction: int = 0) -> tuple[Wide, Wide]:
    flat = x.astype(np.float64).reshape(*x.shape[:2], -1)
    mean = flat.mean(2)
    apart = flat - mean[..., None]
    return mean, apart @ apart.transpose(0, 2, 1) / max(flat.shape[2] - correction, 1)


def whiten_color(
    x: NDArray[Any], matrix: NDArray[Any], mean: NDArray[Any], shift: NDArray[Any]
) -> Wide:
    flat = x.astype(np.float64).reshape(*x.shape[:2], -1)
    made = matrix.astype(np.float64) @ (flat - mean.astype(np.float64)[..., None])
    return (made + shift.astype(np.float64)[..., None]).reshape(x.shape)
