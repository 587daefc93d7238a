"""Input noise of networks: (N, C, H, W), uniform in 0..1. Engines take it as an input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def draw(like: Tensor, channels: int, seed: int, count: int | None = None) -> Tensor:
    """Noise of the size and on the device of pictures: (count, channels, H, W).

    like: (N, 3, H, W). count: N by default. Equal seeds give equal noise on every device.
    """
    random = torch.Generator().manual_seed(seed)
    shape = (len(like) if count is None else count, channels, *like.shape[2:])
    return torch.rand(shape, generator=random).to(like.device)


def every(noise: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column: (N, C, H, W) -> (N, C, H/step, W/step). It stays uniform.

    H and W are multiples of step. A pixel unshuffle is used because exporters can infer its sizes.
    """
    if step == 1:
        return noise
    return functional.pixel_unshuffle(noise, step).unflatten(1, (noise.shape[1], step * step))[
        :, :, 0
    ]
