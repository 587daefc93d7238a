"""The kernels in PyTorch on CUDA, with fewer memory passes than PyTorch's operators.

`adain` has the signature of the networks' `norm` argument:

    network(content, code, strength, norm=adain)

There are no gradients: training uses st.train.networks.transform.instance_norm.
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

MIN_PIXELS = 1024  # minimum number of pixels per part


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive instance normalization: (x − mean) / √(variance + ε) · scale + shift.

    x: (N, C, H, W), float32, float16 or bfloat16. scale, shift: (N or 1, C), float32.
    Returns a tensor like x. Huang and Belongie, "Arbitrary Style Transfer in Real-time with
    Adaptive Instance Normalization" (2017), eq. 8.
    """
    x, scale, shift = x.contiguous(), scale.contiguous(), shift.contiguous()
    planes, pixels = x.shape[0] * x.shape[1], x[0, 0].numel()
    y = torch.empty_like(x)
    launch("adain", (planes,), adain_tiles()[0], x, scale, shift, pixels, scale.numel(), y)
    return y


def covariance(x: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Channel means (N, C) and covariances (N, C, C), float32, of feature maps (N, C, H, W).

    The divisor is max(H·W − correction, 1).
    """
    x = x.contiguous()
    images, channels, pixels = x.shape[0], x.shape[1], x[0, 0].numel()
    parts = max(1, min(parts_for(channels), pixels // MIN_PIXELS))
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
    """matrix · (x − mean) + shift at every pixel.

    x: (N, C, H, W). matrix: (N or 1, C, C), mean: (N, C), shift: (N or 1, C), all float32; matrix
    and shift have the same first dimension. Returns a tensor like x.
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
    """Launch a kernel by name on the current stream."""
    function = getattr(kernels, kernel)
    options = {"num_warps": tiles.warps, "num_stages": 1, "enable_fp_fusion": True}
    function[grid](*arguments, **dict(tiles.constants), **options)


def _precision(x: Tensor) -> str:
    if not x.is_cuda:  # Triton's interpreter
        return "ieee"
    major, minor = torch.cuda.get_device_capability(x.device)
    return dot_precision(x.dtype == torch.float16, 10 * major + minor)
