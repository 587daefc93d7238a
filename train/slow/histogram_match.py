"""Histogram matching of activations by sorting, and the histogram loss.

Risser, Wilmot and Barnes, arXiv:1701.08893, section 4.2: in each channel, R(O) replaces every value
of O by the style's value of the same rank. The loss is |O - R(O)|², with R(O) constant.
"""

from __future__ import annotations

import torch
from torch import Tensor

from st.train.losses.basic import relative_distance


@torch.no_grad()
def remap(values: Tensor, sorted_style: Tensor) -> Tensor:
    """Replace each value of a row by the style's value of the same rank.

    values: (C, N). sorted_style: (C, M), each row ascending. Returns (C, N). If N is not M,
    the i-th smallest value becomes the style's quantile (i + 1/2) / N, linearly interpolated.
    """
    count, given = values.shape[1], sorted_style.shape[1]
    order = values.argsort(dim=1, stable=True)
    if count != given:
        at = (torch.arange(count, device=values.device, dtype=torch.float64) + 0.5) * given / count
        at = (at - 0.5).clamp(0, given - 1)
        low = at.floor().long()
        high = (low + 1).clamp_max(given - 1)
        sorted_style = torch.lerp(
            sorted_style[:, low], sorted_style[:, high], (at - low).to(values.dtype)
        )
    return torch.empty_like(values).scatter_(1, order, sorted_style)


def sorted_rows(features: Tensor) -> Tensor:
    """The values of each channel in ascending order: (1, C, h, w) -> (C, h * w)."""
    return features.flatten(2)[0].sort(dim=1).values


def histogram_distance(
    features: Tensor, sorted_style: Tensor, inside: Tensor | None = None
) -> Tensor:
    """|O - R(O)|² / |R(O)|², a scalar. features: (1, C, h, w).

    sorted_style: see `sorted_rows`. inside: (h * w,) bool, the cells of a region; None for all.
    Treating R(O) as constant gives the exact gradient: R depends only on the order of the values.
    """
    flat = features.flatten(2)[0]
    if inside is not None:
        flat = flat[:, inside]
    return relative_distance(flat[None], remap(flat.detach(), sorted_style)[None])
