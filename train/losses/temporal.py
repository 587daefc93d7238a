"""The temporal loss: what only moves between two frames shall keep its paint.

Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos", GCPR 2016, eq. 5; Huang et al.,
"Real-time neural style transfer for videos", CVPR 2017, eq. 5: a network that is trained so needs
neither flow nor memory when it plays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from st.train.losses.basic import wide


@dataclass(frozen=True)
class Motion:
    """The frames that follow the first M pictures of a batch, and how they moved.

    later: (M, 3, H, W), RGB, 0..1. flow: (M, 2, H, W), pixels in x and y from a place in `later` to
    its place in the picture before. seen: (M, 1, H, W), 1 where that place is known, else 0.
    """

    later: Tensor
    flow: Tensor
    seen: Tensor

    def to(self, device: torch.device) -> Motion:
        return Motion(self.later.to(device), self.flow.to(device), self.seen.to(device))


# What the entries of a Config say, `temporal_weight` and `temporal_every`.
WEIGHT_HELP = "of the temporal loss, against flicker; 0 is without"
EVERY_HELP = "steps from one with the temporal loss to the next"


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """images at (x, y) + flow(x, y), bilinear, beyond the border its last pixels.

    images: (M, C, H, W). flow: (M, 2, H, W), pixels in x and y. -> (M, C, H, W), float32 or wider.
    """
    images, flow = wide(images), wide(flow)
    height, width = images.shape[-2:]
    kind = {"device": flow.device, "dtype": flow.dtype}
    x = torch.arange(width, **kind) + flow[:, 0]
    y = torch.arange(height, **kind)[:, None] + flow[:, 1]
    # grid_sample counts from -1, the first pixel's middle, to 1, the last one's.
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    with torch.autocast(images.device.type, enabled=False):
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=True)


def temporal_loss(earlier: Tensor, later: Tensor, motion: Motion) -> Tensor:
    """Mean squared difference of the later paintings and the earlier ones moved along, where seen.

    earlier, later: (M, 3, H, W), 0..1 -> a scalar; 0 where nothing is seen.
    """
    apart = (wide(later) - warp(earlier, motion.flow)).square()
    return (apart * motion.seen).sum() / (3 * motion.seen.sum()).clamp_min(1)


def temporal_terms(
    painted: Tensor, motion: Motion | None, paint: Callable[[Tensor], Tensor], weight: float
) -> dict[str, Tensor]:
    """The "temporal" term of a method's step; none for a step without motion.

    painted: what the network made of the batch's content, uncut. paint: paints the later frames, in
    the styles of the first of the batch.
    """
    if motion is None:
        return {}
    later = paint(motion.later)
    return {"temporal": weight * temporal_loss(painted[: len(later)], later, motion)}
