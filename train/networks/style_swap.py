"""Style swap: replace each patch of the content's features by the most similar one of the style's.

Chen and Schmidt, "Fast patch-based style transfer of arbitrary style", arXiv:1612.04337, section
3.1. It consists of convolutions, an argmax and look-ups, without the loop over chunks of
`st.train.losses.patches`, so that engines can contain it. Avatar-Net's decorator does the same with
whitened features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from st.train.losses.basic import wide

SIDE = 3  # of a patch, in cells; patches overlap, at stride 1


class Swapped(NamedTuple):
    """features: (N, C, H, W), made of the style's patches. chosen: (N, H - 2, W - 2), their indices
    in the bank."""

    features: Tensor
    chosen: Tensor


def squared(style: Tensor, side: int) -> Tensor:
    """Style pictures scaled to squares: (N, 3, H, W) -> (N, 3, side, side)."""
    if style.shape[2:] == (side, side):
        return style
    return functional.interpolate(style, (side, side), mode="bilinear", antialias=True)


def patches(features: Tensor) -> Tensor:
    """All patches of one map, in row-major order: (C, h, w) -> (M, C, 3, 3)."""
    height, width = (side - SIDE + 1 for side in features.shape[1:])
    cut = [
        features[:, dy : dy + height, dx : dx + width] for dy in range(SIDE) for dx in range(SIDE)
    ]
    return torch.stack(cut, dim=3).flatten(1, 2).transpose(0, 1).unflatten(2, (SIDE, SIDE))


def match(features: Tensor, bank: Tensor) -> Tensor:
    """The index of the bank's patch with the largest normalized cross-correlation, for each patch.

    features: (N, C, H, W). bank: (M, C, 3, 3). Result: (N, H - 2, W - 2). Eq. 1: the patches of the
    bank, each divided by its norm, are the filters of a convolution. A content patch's own norm
    does not change the argmax.
    """
    norms = bank.flatten(1).norm(dim=1).clamp_min(1e-8)
    with torch.autocast(features.device.type, enabled=False):
        return functional.conv2d(features, bank / norms[:, None, None, None]).argmax(dim=1)


def reassemble(bank: Tensor, index: Tensor) -> Tensor:
    """Place the chosen patches, and average where they overlap: (N, H - 2, W - 2) -> (N, C, H, W).

    The paper has a transposed convolution of one-hot responses and a division. A look-up for each
    of a patch's nine cells gives the same result with a hundredth of the products.
    """
    ones = torch.ones_like(index[:1, None]).to(bank.dtype)
    height, width = (side + SIDE - 1 for side in index.shape[1:])
    total = bank.new_zeros(1, bank.shape[1], height, width)
    count = bank.new_zeros(1, 1, height, width)
    for dy in range(SIDE):
        for dx in range(SIDE):
            around = (dx, SIDE - 1 - dx, dy, SIDE - 1 - dy)
            cells = functional.embedding(index, bank[:, :, dy, dx]).permute(0, 3, 1, 2)
            total = total + functional.pad(cells, around)
            count = count + functional.pad(ones, around)
    return total / count


def swap(features: Tensor, style: Tensor) -> Swapped:
    """Rebuild the features from the style's patches, eq. 2 to 4, in float32 or wider.

    features: (N, C, H, W). style: (N or 1, C, h, w), one for each sample or one for all.
    """
    x, style = wide(features), wide(style)
    if len(style) == 1:
        bank = patches(style[0])
        index = match(x, bank)
        return Swapped(reassemble(bank, index), index)
    each = [swap(one[None], own[None]) for one, own in zip(x, style, strict=True)]
    return Swapped(torch.cat([s.features for s in each]), torch.cat([s.chosen for s in each]))
