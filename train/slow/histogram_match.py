"""Histogram matching of activations by a sorted remap, and the loss made of it.

Risser, Wilmot and Barnes, arXiv:1701.08893, section 4.2: R(O) is O with its values replaced, rank
by rank, by the style's, channel by channel; the loss is |O - R(O)|² with R(O) held constant.
"""

from __future__ import annotations

import torch
from torch import Tensor

from st.train.losses.basic import relative_distance


@torch.no_grad()
def remap(values: Tensor, sorted_style: Tensor) -> Tensor:
    """Each row of `values` with the order it has and the values of the style.

    values: (C, N). sorted_style: (C, M), ascending in each row. Result: (C, N). Where N is not M,
    the i-th smallest becomes the style's quantile (i + 1/2) / N, interpolated linearly.
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
    """What `remap` wants of the style's activations: (1, C, h, w) -> (C, h * w), ascending."""
    return features.flatten(2)[0].sort(dim=1).values


def histogram_distance(
    features: Tensor, sorted_style: Tensor, inside: Tensor | None = None
) -> Tensor:
    """|O - R(O)|² / |R(O)|², a scalar. features: (1, C, h, w).

    inside: (h * w,) of booleans, the cells of a region; all by default. The gradient takes R(O) as
    constant, and so it is: R depends on the order of the values alone.
    """
    flat = features.flatten(2)[0]
    if inside is not None:
        flat = flat[:, inside]
    return relative_distance(flat[None], remap(flat.detach(), sorted_style)[None])
