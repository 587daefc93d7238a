"""Luma, chroma, palettes and hints of the colorizer, in PyTorch.

The same definitions as in `st.runtime.painting.chroma`, which explains them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from st.runtime.painting.chroma import BINS, FULL, LUMA, TO_RGB


def luma_of(images: Tensor) -> Tensor:
    """(N, 3, H, W), RGB, 0..1 -> (N, 1, H, W), BT.709 luma, 0..1."""
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def chroma_of(images: Tensor) -> Tensor:
    """(N, 3, H, W), RGB, 0..1 -> (N, 2, H, W), Cb and Cr, -0.5..0.5."""
    luma = luma_of(images)
    cb = (images[:, 2:] - luma) / TO_RGB[2][0]
    cr = (images[:, :1] - luma) / TO_RGB[0][1]
    return torch.cat([cb, cr], dim=1)


def joined(luma: Tensor, chroma: Tensor) -> Tensor:
    """Luma (N, 1, H, W) and chroma (N, 2, H, W) -> (N, 3, H, W), RGB, 0..1, with exactly that luma.

    Colors outside the gamut are scaled toward gray.
    """
    cb, cr = chroma[:, :1], chroma[:, 1:]
    apart = torch.cat([blue * cb + red * cr for blue, red in TO_RGB], dim=1)
    above = apart.amax(1, keepdim=True).clamp_min(1e-6)
    below = (-apart).amax(1, keepdim=True).clamp_min(1e-6)
    room = torch.minimum((1 - luma) / above, luma / below).clamp(0, 1)
    return luma + room * apart


def palette_of(chroma: Tensor) -> Tensor:
    """(N, 2, H, W) -> (N, BINS² + 1): see `st.runtime.painting.chroma.palette_of`."""
    count = chroma.shape[2] * chroma.shape[3]
    place = (chroma / FULL).clamp(-1, 1)
    place = (place.sign() * place.abs().sqrt() + 1) * ((BINS - 1) / 2)
    low = place.floor().clamp(0, BINS - 2)
    part = (place - low).flatten(2)
    first = low.long().flatten(2)
    code = chroma.new_zeros(len(chroma), BINS * BINS)
    for cb in (0, 1):
        for cr in (0, 1):
            shares = [part[:, i] if step else 1 - part[:, i] for i, step in enumerate((cb, cr))]
            bins = (first[:, 0] + cb) * BINS + first[:, 1] + cr
            code.scatter_add_(1, bins, shares[0] * shares[1] / count)
    return torch.cat([code, code.new_ones(len(code), 1)], dim=1)


def random_hints(chroma: Tensor, random: torch.Generator, most: int) -> Tensor:
    """Simulated clicks of a user: (N, 2, H, W) -> (N, 3, H, W), chroma, and 1 where it is given.

    Squares of 1 to 9 pixels with the mean chroma of their pixels, about three per picture and at
    most `most` (Zhang et al., SIGGRAPH 2017, section 3.2).
    """
    count, _, height, width = chroma.shape
    hints = chroma.new_zeros(count, 3, height, width)
    for picture, target in zip(chroma, hints, strict=True):
        number, *draws = torch.rand(1 + 3 * most, generator=random).tolist()
        places = 1 + min(most - 1, int(-3 * math.log(1 - number)))
        for i in range(places):
            y, x, size = draws[3 * i : 3 * i + 3]
            reach = int(size * 5)
            top, left = int(y * height), int(x * width)
            rows = slice(max(0, top - reach), top + reach + 1)
            columns = slice(max(0, left - reach), left + reach + 1)
            target[:2, rows, columns] = picture[:, rows, columns].mean(dim=(1, 2), keepdim=True)
            target[2, rows, columns] = 1
    return hints


def hint_fields(hints: Tensor, levels: int) -> list[Tensor]:
    """Hints diffused over the picture: at 1/2, 1/4, … of its size, (N, 3, h, w) each.

    The channels are a chroma for every cell, and its proximity to a hint: 1 at the hint, halved
    with each doubling of the distance, and 0 farther than one cell of the coarsest level. Averages
    go to the coarser levels, and gaps are filled from the next coarser level (pull and push of
    Gortler et al., "The Lumigraph", 1996, section 3.3).
    """
    mask = hints[:, 2:]
    color, share = hints[:, :2] * mask, mask
    own = []
    for _ in range(levels):
        color, share = (functional.avg_pool2d(x, 2) for x in (color, share))
        own.append((color / share.clamp_min(1e-6), (share * 4096).clamp_max(1)))
    fields: list[Tensor] = []
    for color, there in reversed(own):
        if fields:
            up = functional.interpolate(
                fields[-1], scale_factor=2.0, mode="bilinear", align_corners=False
            )
            color = there * color + (1 - there) * up[:, :2]
            there = torch.maximum(there, 0.5 * up[:, 2:])
        fields.append(torch.cat([color, there], dim=1))
    return fields[::-1]
