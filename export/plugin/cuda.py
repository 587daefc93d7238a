"""The kernels for PyTorch on CUDA: fewer passes over the maps than PyTorch's own operators make.

`adain` is an instance norm as the networks take one, so an evaluation can use it:

    network(content, code, strength, norm=adain)

No gradients: training keeps to st.train.networks.transform.instance_norm.
"""

from __future__ import annotations

import torch
from torch import Tensor

from st.export.plugin import kernels
from st.export.plugin.tiles import (
    Tiles,
    adain_tiles,
    dot_precision,
    merge_tiles,
    parts_for,
    parts_tiles,
    whiten_tiles,
)

LEAST = 1024  # pixels that are worth a part of their own


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance norm with a style's scale and shift: (N, C, H, W) and twice (N or 1, C) -> like x.

    x is float32, half or bfloat16; scale and shift are float32.
    """
    x, scale, shift = x.contiguous(), scale.contiguous(), shift.contiguous()
    planes, pixels = x.shape[0] * x.shape[1], x[0, 0].numel()
    y = torch.empty_like(x)
    launch("adain", (planes,), adain_tiles()[0], x, scale, shift, pixels, scale.numel(), y)
    return y


def covariance(x: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Channel means (N, C) and covariances (N, C, C) in float32 of maps (N, C, H, W).

    Sums of products of deviations are divided by the number of pixels less `correction`, or by 1.
    """
    x = x.contiguous()
    images, channels, pixels = x.shape[0], x.shape[1], x[0, 0].numel()
    parts = max(1, min(parts_for(channels), pixels // LEAST))
    means = x.new_empty(images, parts, channels, dtype=torch.float32)
    moments = x.new_empty(images, parts, channels, channels, dtype=torch.float32)
    mean = x.new_empty(images, channels, dtype=torch.float32)
    total = x.new_empty(images, channels, channels, dtype=torch.float32)
    tiles, merge = parts_tiles(_precision(x))[0], merge_tiles(correction)[0]
    blocks, sides = -(-channels // tiles["ROWS"]), -(-channels // merge["ROWS"])
    grid = (blocks, blocks, images * parts)
    launch("covariance_parts", grid, tiles, x, channels, pixels, parts, means, moments)
    grid = (sides, sides, images)
    launch("covariance_merge", grid, merge, x, means, moments, channels, pixels, parts, mean, total)
    return mean, total


def whiten_color(x: Tensor, matrix: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
    """matrix · (x − mean) + shift for every pixel of maps (N, C, H, W) -> like x.

    matrix (N or 1, C, C), mean (N, C), shift (N or 1, C): float32; as many matrices as shifts.
    """
    x, matrix, mean, shift = (t.contiguous() for t in (x, matrix, mean, shift))
    images, channels, pixels = x.shape[0], x.shape[1], x[0, 0].numel()
    tiles = whiten_tiles(_precision(x))[0]
    y = torch.empty_like(x)
    grid = (-(-pixels // tiles["COLUMNS"]), -(-channels // tiles["ROWS"]), images)
    codes = matrix.shape[0]
    launch("whiten_color", grid, tiles, x, matrix, mean, shift, channels, pixels, codes, y)
    return y


def launch(kernel: str, grid: tuple[int, ...], tiles: Tiles, *arguments: Tensor | int) -> None:
    """Start a kernel by name on the current stream."""
    function = getattr(kernels, kernel)
    options = {"num_warps": tiles.warps, "num_stages": 1, "enable_fp_fusion": True}
    function[grid](*arguments, **dict(tiles.constants), **options)


def _precision(x: Tensor) -> str:
    if not x.is_cuda:  # Triton's interpreter
        return "ieee"
    major, minor = torch.cuda.get_device_capability(x.device)
    return dot_precision(x.dtype == torch.float16, 10 * major + minor)
