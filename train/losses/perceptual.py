"""Content and style losses on a pretrained network, at several scales of the picture.

Gatys et al., CVPR 2016, eq. 1 and 3 to 5, as Johnson et al., ECCV 2016, train networks with them,
but relative to their targets. A pretrained network sees strokes of some sizes only, and SqueezeNet,
whose first layer skips every other pixel, misses fine ones. So the style is also compared at other
scales: the painting reduced, or a part of it enlarged, with the style picture scaled alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from st.runtime.errors import BadInput
from st.train.features.base import FeatureNetwork
from st.train.losses.basic import gram_and_deviations, relative_distance, wide
from st.train.losses.color_contrast import color_contrast

# (N, C, h, w) -> (N, C, K): what style is compared by, the last column the deviations.
Statistics = Callable[[Tensor], Tensor]
# By layer, each (S, C, C + 1), the last column the deviations; and COLOR, (S, 4, 2).
Grams = Mapping[str, Tensor]
COLOR = "color"  # `color_contrast`
ENLARGED = 0.9  # side of an enlarged part, relative to the crop: what a step may cost


@dataclass(frozen=True)
class StyleLoss:
    """The distance of Gram matrices, averaged over layers, at one scale in every step.

    layers: compared. scales: 1 counts in every step, the others take turns, at equal weight.
    statistics: of a layer's features; Gram matrices unless given. contrast: weight of the distance
    of the deviations beside that of the other columns. color: weight of the squared distance of
    COLOR beside the layers. limit: see `relative_distance`.
    """

    layers: tuple[str, ...]
    scales: tuple[float, ...] = (1.0,)
    statistics: Statistics = gram_and_deviations
    contrast: float = 0.0
    color: float = 0.0
    limit: float = math.inf

    def scale(self, step: int) -> float | None:
        """The scale other than 1 whose turn it is; None where there is none."""
        others = [scale for scale in self.scales if scale != 1]
        return others[step % len(others)] if others else None

    def see(
        self, network: FeatureNetwork, images: Tensor, also: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """What is compared of images (N, 3, H, W), RGB, 0..1: activations by layer, and COLOR.

        also: further layers.
        """
        found = network(images, {*self.layers, *also})
        return found | {COLOR: color_contrast(images)} if self.color else found

    def grams(self, seen: Mapping[str, Tensor]) -> Grams:
        """Statistics of what `see` returns."""
        found = {name: self.statistics(seen[name]) for name in self.layers}
        return found | {COLOR: seen[COLOR]} if self.color else found

    def distance(self, seen: Mapping[str, Tensor], targets: Grams) -> Tensor:
        """Mean of the layers' relative distances from the targets, and COLOR's: a scalar."""
        apart = torch.stack([self._of_layer(seen[k], targets[k]) for k in self.layers]).mean()
        if not self.color:
            return apart
        return apart + self.color * (seen[COLOR] - targets[COLOR]).square().mean()

    def _of_layer(self, features: Tensor, target: Tensor) -> Tensor:
        own = self.statistics(features)
        distance = relative_distance(own[..., :-1], target[..., :-1], self.limit)
        if not self.contrast:
            return distance
        contrast = relative_distance(own[..., -1], target[..., -1], self.limit)
        return distance + self.contrast * contrast

    def of_styles(
        self, network: FeatureNetwork, styles: Sequence[Tensor], side: int
    ) -> dict[float, Grams]:
        """Gram matrices of named style pictures at each scale.

        styles: S pictures (1, 3, H, W), RGB, 0..1. side: of the paintings compared, in pixels.
        Raises BadInput where that is too small for the layers at a scale.
        """
        self.check(network, side)
        found: dict[float, Grams] = {}
        for scale in {1.0, *self.scales}:
            rows = [self.grams(self.see(network, rescaled(style, scale))) for style in styles]
            found[scale] = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        return found

    def check(self, network: FeatureNetwork, side: int) -> None:
        """Raises BadInput where paintings of that side are too small for the layers at a scale."""
        needed, scale = network.min_side(self.layers), min(1.0, *self.scales)
        if side * scale < needed:
            least = math.ceil(needed / scale)
            raise BadInput(
                f"training crops are {least - side} pixels too small for {self.layers[-1]} at a "
                f"style scale of {scale:g}"
            )


@dataclass(frozen=True)
class Compared:
    """What a painting's losses need.

    style: scalar, the unweighted style loss. features: of the painting at scale 1, by layer.
    """

    style: Tensor
    features: Mapping[str, Tensor]


def compare_style(
    network: FeatureNetwork,
    painted: Tensor,
    loss: StyleLoss,
    targets: Callable[[float], Grams],
    turn: tuple[int, int],
    also: Collection[str] = (),
) -> Compared:
    """The style loss of a step.

    painted: (N, 3, H, W), RGB, 0..1. targets: of a scale, the Gram matrices that the N paintings
    are compared with, each (N, C, C). turn: the step's number, which chooses the scale, and its
    random seed, which chooses the part that is enlarged. also: further layers to return.
    """
    step, seed = turn
    features = loss.see(network, painted, also)
    style, scale = loss.distance(features, targets(1.0)), loss.scale(step)
    if scale is not None:
        part = rescaled(painted, scale, seed)
        style = (style + loss.distance(loss.see(network, part), targets(scale))) / 2
    return Compared(style, features)


def rescaled(images: Tensor, scale: float, seed: int | None = None) -> Tensor:
    """Images at another scale, bilinear: (N, 3, H, W) -> (N, 3, h, w).

    seed: where given, only a part is enlarged, drawn by it, so that the cost stays that of a crop.
    """
    if scale == 1:
        return images
    x = wide(images)
    if scale > 1 and seed is not None:
        height, width = (round(side * ENLARGED / scale) for side in x.shape[-2:])
        top = seed % (x.shape[-2] - height + 1)
        left = (seed >> 20) % (x.shape[-1] - width + 1)
        x = x[..., top : top + height, left : left + width]
    with torch.autocast(x.device.type, enabled=False):
        return functional.interpolate(
            x, scale_factor=scale, mode="bilinear", antialias=scale < 1, align_corners=False
        )
