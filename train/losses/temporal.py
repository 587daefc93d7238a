"""The temporal loss: the painting should move with the scene, without flicker.

Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos", GCPR 2016, eq. 5; Huang et al.,
"Real-time neural style transfer for videos", CVPR 2017, eq. 5. The flow is needed in training only:
the trained network takes single frames.
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
    """The frames that follow the first M pictures of a batch, with their optical flow.

    later: (M, 3, H, W), RGB, 0..1. flow: (M, 2, H, W), in pixels, x and y, from a pixel of `later`
    to the same point in the earlier picture. seen: (M, 1, H, W), 1 where the flow is valid, else 0.
    """

    later: Tensor
    flow: Tensor
    seen: Tensor

    def to(self, device: torch.device) -> Motion:
        return Motion(self.later.to(device), self.flow.to(device), self.seen.to(device))


# Help texts of the Config entries `temporal_weight` and `temporal_every`.
WEIGHT_HELP = "Weight of the temporal loss, which reduces flicker; 0 turns it off."
EVERY_HELP = "Steps between two uses of the temporal loss."


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample images at (x, y) + flow(x, y), bilinear; outside, the border pixels are repeated.

    images: (M, C, H, W). flow: (M, 2, H, W), in pixels, x and y. Returns (M, C, H, W), float32 or
    wider.
    """
    images, flow = wide(images), wide(flow)
    height, width = images.shape[-2:]
    kind = {"device": flow.device, "dtype": flow.dtype}
    x = torch.arange(width, **kind) + flow[:, 0]
    y = torch.arange(height, **kind)[:, None] + flow[:, 1]
    # grid_sample's -1 and 1 are the centers of the first and the last pixel.
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    with torch.autocast(images.device.type, enabled=False):
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=True)


def temporal_loss(earlier: Tensor, later: Tensor, motion: Motion) -> Tensor:
    """Mean squared difference of the later paintings and the warped earlier ones, where seen.

    earlier, later: (M, 3, H, W), 0..1 -> a scalar; 0 if no pixel is seen.
    """
    apart = (wide(later) - warp(earlier, motion.flow)).square()
    return (apart * motion.seen).sum() / (3 * motion.seen.sum()).clamp_min(1)


def temporal_terms(
    painted: Tensor, motion: Motion | None, paint: Callable[[Tensor], Tensor], weight: float
) -> dict[str, Tensor]:
    """The "temporal" term of a method's step; empty for a step without motion.

    painted: the network's output for the batch's content, before `shifted`. paint: paints the later
    frames, each in the style of its earlier frame.
    """
    if motion is None:
        return {}
    later = paint(motion.later)
    return {"temporal": weight * temporal_loss(painted[: len(later)], later, motion)}
