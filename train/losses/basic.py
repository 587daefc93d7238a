"""Losses that methods share. Features are (N, C, H, W); all is computed in float32 or wider."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

FLAT = 0.01  # of the channels' mean variance: what a channel needs to count as varying


def wide(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class _Gram(torch.autograd.Function):
    """F F^T / s. By hand: the gradient is symmetric, so one product back, not two."""

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        ctx.save_for_backward(features)
        flat = wide(features).reshape(n, c, h * w)
        with torch.autocast(features.device.type, enabled=False):
            return flat @ flat.transpose(1, 2) / (c * h * w)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (features,), (grad,) = ctx.saved_tensors, grads
        n, c, h, w = features.shape
        flat = wide(features).reshape(n, c, h * w)
        with torch.autocast(features.device.type, enabled=False):
            symmetric = (grad + grad.transpose(1, 2)) / (c * h * w)
            return (symmetric @ flat).reshape(n, c, h, w).to(features.dtype)


def gram(features: Tensor) -> Tensor:
    """Gram matrices over C*H*W: (N, C, H, W) -> (N, C, C).

    Gatys et al., CVPR 2016, eq. 3; the division is Johnson et al.'s, ECCV 2016, section 3.1.
    """
    return cast(Tensor, _Gram.apply(features))


def relative_distance(x: Tensor, target: Tensor, limit: float = math.inf) -> Tensor:
    """|x - target|² / |target|² for each sample, averaged: a scalar.

    limit: samples that are farther away count as this far, and have no gradient.

    Relative, so one weight suits every style and layer: a picture that shows nothing of the
    target's energy is at 1 whatever the target's scale.
    """
    difference = (wide(x) - wide(target)).flatten(1).square().sum(1)
    scale = wide(target).flatten(1).square().sum(1).clamp_min(1e-12)
    return (difference / scale).clamp_max(limit).mean()


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of neighbors, down and across: (N, C, H, W) -> scalar."""
    x = wide(images)
    down = (x[..., 1:, :] - x[..., :-1, :]).square().mean()
    across = (x[..., :, 1:] - x[..., :, :-1]).square().mean()
    return down + across


def raster(images: Tensor, period: int) -> Tensor:
    """Energy of what repeats on a raster of `period` pixels: (N, C, H, W) -> scalar.

    The variance of the mean tile of period×period pixels. Strokes lie anywhere, so they cancel in
    it; what upsampling prints everywhere, on calm skies above all, stays.
    """
    n, c, height, width = images.shape
    rows, columns = height // period, width // period
    x = wide(images[..., : rows * period, : columns * period])
    tile = x.reshape(n, c, rows, period, columns, period).mean(dim=(2, 4))
    return (tile - tile.mean(dim=(2, 3), keepdim=True)).square().mean()


def hinge(scores: Tensor, side: int) -> Tensor:
    """max(0, 1 - side · score), averaged: a scalar. side: 1 or -1, what the scores should be.

    A critic's loss; Li and Wand, ECCV 2016, eq. 2.
    """
    return torch.relu(1 - side * wide(scores)).mean()


class Moments(NamedTuple):
    """Channel statistics over space: each (N, C, 1, 1)."""

    mean: Tensor
    std: Tensor


def moments(features: Tensor, eps: float = 1e-5) -> Moments:
    """Mean and standard deviation (biased, of variance + eps) of each channel of each sample."""
    x = wide(features)
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return Moments(mean, (variance + eps).sqrt())


def standardized(features: Tensor) -> Tensor:
    """Each channel of each sample to mean 0 and deviation 1: (N, C, H, W) -> the same, float32.

    Channels that hardly vary stay small, instead of becoming noise of full size.
    """
    x = wide(features)
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + FLAT * variance.mean(1, keepdim=True) + 1e-12).sqrt()


class _Deviations(torch.autograd.Function):
    """Standard deviations. By hand: torch.var_mean over space takes four times as long on CPUs, and
    the gradient of the composed formula twice as long."""

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, eps: float) -> Tensor:
        flat = wide(features).flatten(2)
        mean = flat.mean(2, keepdim=True)
        spread = torch.linalg.vector_norm(flat - mean, dim=2)
        std = (spread.square() / flat.shape[2] + eps).sqrt()
        ctx.save_for_backward(features, mean, std)
        return std

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (features, mean, std), (grad,) = ctx.saved_tensors, grads
        flat = wide(features).flatten(2)
        scale = (grad / std / flat.shape[2])[..., None]  # d std / d x = (x - mean) / (count · std)
        slope = (flat - mean).mul_(scale)
        return slope.reshape(features.shape).to(features.dtype), None


def deviations(features: Tensor, eps: float = 1e-5) -> Tensor:
    """Standard deviation of each channel, as in `moments`: (N, C, H, W) -> (N, C)."""
    return cast(Tensor, _Deviations.apply(features, eps))
