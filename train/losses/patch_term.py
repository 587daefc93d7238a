"""Patch statistics as a loss: each patch of the painting near a patch of the style.

Li and Wand, CVPR 2016, eq. 2 and 3, which optimize pixels; here the term trains a network. A Gram
matrix says how often features meet, over the whole picture; a nearest patch says what stands beside
what. The two together are the open idea of docs/fused-statistics.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from st.train.losses.basic import wide
from st.train.losses.patches import Bank, lay, nearest, patch_distance

PATCHES = 1024  # of the style that a painting is compared with: a sample, for speed


def style_patches(features: Tensor, seed: int = 0) -> Bank:
    """A sample of the 3×3 patches of a style's features, (1, C, h, w)."""
    bank = Bank.of([wide(features)])
    if len(bank) <= PATCHES:
        return bank
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(bank), generator=random)[:PATCHES]
    return bank.subset(chosen.to(features.device))


def patch_loss(features: Tensor, bank: Bank) -> Tensor:
    """The mean over pictures of how far their patches are from the nearest of the style: a scalar.

    features: (N, C, h, w), the style's layer of the paintings. Relative to the patches' size.
    """
    terms = []
    for one in wide(features).split(1):
        with torch.autocast(one.device.type, enabled=False):
            found = nearest(one, bank)
            height, width = one.shape[2:]
            terms.append(patch_distance(one, lay(bank, found, height, width)))
    return torch.stack(terms).mean()
