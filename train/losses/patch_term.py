"""The patch loss of Li and Wand, CVPR 2016, eq. 2 and 3, as a term to train a network with.

A Gram matrix holds how often features occur together, over the whole picture; nearest patches hold
how features are arranged locally. docs/fused-statistics.md measures the combination of the two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from st.train.losses.basic import wide
from st.train.losses.patches import Bank, assemble, nearest, patch_distance

PATCHES = 1024  # maximum number of style patches, for speed


def style_patches(features: Tensor) -> Bank:
    """A sample of the 3×3 patches of a style's features, (1, C, h, w)."""
    bank = Bank.of([wide(features)])
    if len(bank) <= PATCHES:
        return bank
    random = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(bank), generator=random)[:PATCHES]
    return bank.subset(chosen.to(features.device))


def patch_loss(features: Tensor, bank: Bank) -> Tensor:
    """The mean relative distance of patches to their nearest style patches: a scalar.

    features: (N, C, h, w), activations of the paintings on the layer of the bank.
    """
    terms = []
    for one in wide(features).split(1):
        with torch.autocast(one.device.type, enabled=False):
            found = nearest(one, bank)
            height, width = one.shape[2:]
            terms.append(patch_distance(one, assemble(bank, found, height, width)))
    return torch.stack(terms).mean()
