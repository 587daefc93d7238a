"""Noise that networks paint with: (N, C, H, W), even, 0..1; engines get it as an input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def draw(like: Tensor, channels: int, seed: int, count: int | None = None) -> Tensor:
    """Noise for pictures of this size, (count, channels, H, W), on their device.

    like: (N, 3, H, W). count: N by default. The same for the same seed, on every device.
    """
    random = torch.Generator().manual_seed(seed)
    shape = (len(like) if count is None else count, channels, *like.shape[2:])
    return torch.rand(shape, generator=random).to(like.device)


def every(noise: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column: (N, C, H, W) -> (N, C, H/step, W/step). Still even noise.

    H and W are multiples of step. By a pixel unshuffle: an exporter follows its sizes.
    """
    if step == 1:
        return noise
    return functional.pixel_unshuffle(noise, step).unflatten(1, (noise.shape[1], step * step))[
        :, :, 0
    ]
