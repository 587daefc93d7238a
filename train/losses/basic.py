"""Losses that methods share. Features are (N, C, H, W); all is computed in float32 or wider."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

EVEN = 1e-5  # variance of a channel, of its mean square, that float32 cannot tell from 0
FLAT = 0.01  # of the channels' mean variance: what a channel needs to count as varying


def wide(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class _Statistics(torch.autograd.Function):
    """By hand: the gradient of F F^T is symmetric, so it takes one product back, not two; and with
    the deviations from the diagonal of F F^T, a mean is all that they cost."""

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, eps: float) -> Tensor:
        n, c, h, w = features.shape
        flat = wide(features).reshape(n, c, h * w)
        with torch.autocast(features.device.type, enabled=False):
            product = flat @ flat.transpose(1, 2) / (c * h * w)
        mean = flat.mean(2)
        power = product.diagonal(dim1=1, dim2=2) * c
        variance = power - mean.square()
        varies = variance > EVEN * power  # else rounding noise of the subtraction
        std = (torch.where(varies, variance, 0) + eps).sqrt()
        ctx.save_for_backward(features, mean, varies / std)
        return torch.cat([product, std[..., None]], dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (features, mean, inverse), (grad,) = ctx.saved_tensors, grads
        n, c, h, w = features.shape
        flat = wide(features).reshape(n, c, h * w)
        slope = grad[..., -1] * inverse / (h * w)  # d std / d x = (x - mean) / (count · std)
        symmetric = (grad[..., :-1] + grad[..., :-1].transpose(1, 2)) / (c * h * w)
        symmetric.diagonal(dim1=1, dim2=2).add_(slope)
        with torch.autocast(features.device.type, enabled=False):
            found = torch.baddbmm((-slope * mean)[..., None], symmetric, flat)
        return found.reshape(features.shape).to(features.dtype), None


def gram_and_deviations(features: Tensor, eps: float = 1e-5) -> Tensor:
    """The Gram matrix and, as a last column, the channels' standard deviations.

    (N, C, H, W) -> (N, C, C + 1). The deviations are as in `moments`; that of a channel whose
    variance is below EVEN of its mean square is sqrt(eps).
    """
    return cast(Tensor, _Statistics.apply(features, eps))


def gram(features: Tensor) -> Tensor:
    """Gram matrices over C*H*W: (N, C, H, W) -> (N, C, C).

    Gatys et al., CVPR 2016, eq. 3; the division is Johnson et al.'s, ECCV 2016, section 3.1.
    """
    return gram_and_deviations(features)[..., :-1]


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
    mean, variance = _mean_and_variance(wide(features))
    return Moments(mean, (variance + eps).sqrt())


def _mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each (N, C, 1, 1). torch.var_mean over space takes four times as long on CPUs."""
    mean = x.mean((2, 3), keepdim=True)
    return mean, (x - mean).square().mean((2, 3), keepdim=True)


def standardized(features: Tensor) -> Tensor:
    """Each channel of each sample to mean 0 and deviation 1: (N, C, H, W) -> the same, float32.

    Channels that hardly vary stay small, instead of becoming noise of full size.
    """
    x = wide(features)
    mean, variance = _mean_and_variance(x)
    return (x - mean) / (variance + FLAT * variance.mean(1, keepdim=True) + 1e-12).sqrt()
