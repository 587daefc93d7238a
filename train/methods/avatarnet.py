"""Avatar-Net: any style, patches of the style in whitened features, styled again at every scale.

Sheng, Lin, Shao and Wang, "Avatar-Net: multi-scale zero-shot style transfer by feature decoration",
CVPR 2018, arXiv:1805.03857. The style decorator (section 3.1) whitens content and style (ZCA, eq.
3, 4), replaces each content patch by the style's most similar one (eq. 5 to 7), and colors the
result with the style's covariance (eq. 8). In the hourglass decoder (section 3.2), the features at
each scale get the means and deviations of the style's. It learns to reproduce photographs, no
styles (eq. 9).

    st-train avatarnet --content photos/ -o any.pt

Differences from the paper:

- The encoder is SqueezeNet 1.1: fire5 is decorated, and the statistics are those of fire3 and
  conv1. `--encoder vgg16` is VGG-16 (the paper has VGG-19), with relu4_1, and relu3_1, relu2_1,
  relu1_1.
- Patches are 3×3. The matrices come from an iteration of matrix products
  (`st.train.networks.whitening`). Distances in the loss are relative.

A style code holds the style's whitened feature map, at one fixed size, so styles cannot be blended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from st.train.any_style import fill_encoder, paint_with_code
from st.train.features.base import FeatureNetwork
from st.train.losses.basic import relative_distance, total_variation, wide
from st.train.method import Batch, ExportSpec, Method
from st.train.methods.adain import adain, statistics
from st.train.networks.autoencoder import LEVELS, WIDTH, WIDTH_HELP, encoder
from st.train.networks.hourglass import Hourglass
from st.train.networks.style_swap import SIDE, squared, swap
from st.train.networks.whitening import apply_matrix, covariance, roots
from st.train.settings import (
    RATE_HELP,
    batch_option,
    by_network,
    encoder_option,
    fill_defaults,
    option,
    size_option,
    steps_option,
    swap_size_option,
)

LEVEL = {"squeezenet": 3, "vgg16": 4}  # whose features are decorated; both at 1/8 of the size
# Directions of less variance than this share of the covariance's norm are hardly amplified, so that
# noise does not decide which patches are similar.
EPS = 1e-4


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(10_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = by_network({"squeezenet": 1e-3, "vgg16": 5e-4}, RATE_HELP, 0)
    encoder: str = encoder_option()
    width: int = by_network(WIDTH, WIDTH_HELP, 8)
    style_size: int = swap_size_option({"squeezenet": 256, "vgg16": 256})
    pixel_weight: float = option(1.0, "Weight of the relative distance of pixels.", 0)
    feature_weight: float = option(
        0.25, "Weight of the sum of relative distances of features, over all layers.", 0
    )
    tv_weight: float = option(1.0, "Weight of the total variation.", 0)

    def __post_init__(self) -> None:
        fill_defaults(self, self.encoder)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size), strength (1,) -> pictures.

    H and W are multiples of 8. A code holds the style's whitened features (C, S, S), their mean (C)
    and the root of their covariance (C, C), and the means and deviations of the shallower layers.
    C is 256 with SqueezeNet as encoder, 512 with VGG. Strength is the share of the decorated
    features, and of the style's statistics in the decoder; at 0 the result is the content as the
    decoder reproduces it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        number = LEVEL[config.encoder]
        self.level = LEVELS[config.encoder][number]
        self.fused = [LEVELS[config.encoder][n] for n in range(number - 1, 0, -1)]
        self.layers = [level.layer for level in (self.level, *self.fused)]
        side = max(config.style_size // self.level.stride, SIDE)
        self.style_size = side * self.level.stride
        self.encoder = encoder(config.encoder, number)
        self.decoder = Hourglass(config.encoder, number, config.width)
        channels = self.level.channels
        self.map = (channels, side, side)
        fused = [2 * level.channels for level in self.fused]
        self.parts = [channels * side * side, channels, channels * channels, *fused]
        self.code_size = sum(self.parts)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Pictures (N, 3, H, W) -> features of the decorated and the fused layers, by name."""
        return self.encoder(images, self.layers)

    def moments(self, seen: Mapping[str, Tensor]) -> list[Tensor]:
        """Means and deviations (N, 2C) of the fused layers, deepest first."""
        return [statistics(seen[level.layer]) for level in self.fused]

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1 -> codes (N, code_size).

        They are scaled to squares of `style_size` first.
        """
        seen = self.encode(squared(style, self.style_size))
        white, mean, root = whitened(seen[self.level.layer])
        parts = [white.flatten(1), mean, root.flatten(1), *self.moments(seen)]
        return torch.cat(parts, dim=1)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor) -> Tensor:
        bank, mean, root, *fused = code.split(self.parts, dim=1)
        seen = self.encode(content)
        features = wide(seen[self.level.layer])
        white, _, _ = whitened(features)
        swapped = swap(white, bank.unflatten(1, self.map)).features
        root = root.unflatten(1, (self.level.channels, self.level.channels))
        decorated = apply_matrix(swapped, root, torch.zeros_like(mean), mean)
        features = features + strength[..., None, None, None] * (decorated - features)
        share = strength[..., None]
        moments = [
            own + share * (styled - own)
            for own, styled in zip(self.moments(seen), fused, strict=True)
        ]
        return self.decoder(features, moments, adain)


def whitened(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Projection, eq. 3 and 4: features of covariance 1, and the mean and root that they had.

    (N, C, H, W) -> (N, C, H, W), (N, C), (N, C, C).
    """
    own = covariance(features)
    root, inverse = roots(own, EPS)
    return apply_matrix(features, inverse, own.mean, torch.zeros_like(own.mean)), own.mean, root


def step(
    net: nn.Module, pretrained: FeatureNetwork, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 9: the decoder reproduces the crop from its own features and statistics."""
    network = cast(Network, net)
    with torch.no_grad():
        want = network.encode(batch.content)
    painted = network.decoder(want[network.level.layer], network.moments(want), adain)
    terms = {
        "pixels": config.pixel_weight * relative_distance(painted, batch.content),
        "tv": config.tv_weight * total_variation(painted),
    }
    if config.feature_weight:  # with VGG half of a step
        got = network.encode(painted)
        apart = torch.stack([relative_distance(got[k], want[k]) for k in network.layers]).sum()
        terms["features"] = config.feature_weight * apart
    return terms


def export_spec(net: Network) -> ExportSpec:
    """Covariances are of the whole picture, so it cannot be painted in tiles."""
    return ExportSpec(
        ("code", "strength"),
        multiple=net.level.stride,
        min_size=SIDE * net.level.stride,
        code_size=net.code_size,
        rounding=128,
        style_size=net.style_size,
        blends=False,
    )


METHOD = Method(
    name="avatarnet",
    title="Avatar-Net (Sheng et al., CVPR 2018): any style, patches and statistics at every scale",
    example="st-train avatarnet --content photos/ -o any.pt",
    config=Config,
    styles="any",
    build=Network,
    targets=fill_encoder,
    step=step,
    paint=paint_with_code,
    export_spec=export_spec,
    min_steps=1_000,
    content_only=True,
)
