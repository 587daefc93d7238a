"""Whitening and coloring transforms: any style, no training on styles.

Li, Fang, Yang, Wang, Lu and Yang, "Universal style transfer via feature transforms", NIPS 2017,
arXiv:1705.08086. Decoders learn to invert several layers of a frozen encoder, on photographs alone
(eq. 1). A picture then passes them from coarse to fine: at each level its features are whitened,
given the covariance and mean of the style's (eq. 2, 3), and decoded for the next.

    st-train wct --content photos/ -o any.pt

Differences from the paper:

- The encoder is SqueezeNet 1.1, at fire7, fire5, fire3 and conv1, with narrow decoders. `--encoder
  vgg16` is VGG-16 at relu5_1, …, relu1_1 with its mirrors as decoders (the paper has VGG-19).
- The matrices come from an iteration of matrix products instead of an eigendecomposition
  (`st.train.networks.whitening`).
- Distances in the loss are relative. Levels may be left out (`--levels 3 --levels 2`).

With noise as content, the result is a texture of the style (section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from st.train.any_style import fill_encoder, paint_with_code
from st.train.features.base import FeatureNetwork
from st.train.losses.basic import relative_distance, wide
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.autoencoder import LEVELS, WIDTH, WIDTH_HELP, decoder, encoder
from st.train.networks.whitening import covariance, roots, whiten_and_color
from st.train.settings import (
    RATE_HELP,
    batch_option,
    by_network,
    encoder_option,
    fill_defaults,
    option,
    size_option,
    steps_option,
)


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(10_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = by_network({"squeezenet": 1e-3, "vgg16": 5e-4}, RATE_HELP, 0)
    encoder: str = encoder_option()
    levels: tuple[str, ...] = by_network(
        {"squeezenet": ("4", "3", "2", "1"), "vgg16": ("5", "4", "3", "2", "1")},
        "Level to transform; repeat for several. 1 to 5: conv1, fire3, fire5, fire7, fire9 of "
        "squeezenet; relu1_1 to relu5_1 of vgg16.",
        choices=("5", "4", "3", "2", "1"),
    )
    width: int = by_network(WIDTH, WIDTH_HELP, 8)
    pixel_weight: float = option(1.0, "Weight of the relative distance of pixels.", 0)
    feature_weight: float = option(
        1.0, "Weight of the relative distance of features, λ in the paper.", 0
    )

    def __post_init__(self) -> None:
        fill_defaults(self, self.encoder)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size), strength (1,) -> pictures.

    H and W are multiples of `multiple`. A code holds, for each level from the deepest, the style's
    mean (C) and the root of its covariance (C, C). At strength 0 the features stay unchanged, and
    the result is the content as the decoders reproduce it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.numbers = tuple(sorted({int(level) for level in config.levels}, reverse=True))
        self.levels = {number: LEVELS[config.encoder][number] for number in self.numbers}
        self.encoder = encoder(config.encoder, self.numbers[0])
        self.decoders = nn.ModuleDict(
            {str(n): decoder(config.encoder, n, config.width) for n in self.numbers}
        )
        self.multiple = self.levels[self.numbers[0]].stride
        channels = [level.channels for level in self.levels.values()]
        self.parts = [size for c in channels for size in (c, c * c)]
        self.code_size = sum(self.parts)

    @property
    def layers(self) -> list[str]:
        """The encoder's layers that are transformed, deepest first."""
        return [level.layer for level in self.levels.values()]

    def encode(self, images: Tensor, number: int) -> Tensor:
        """Pictures (N, 3, H, W) -> features of a level (N, C, H / stride, W / stride)."""
        layer = self.levels[number].layer
        return self.encoder(images, [layer])[layer]

    def decode(self, features: Tensor, number: int) -> Tensor:
        """Features of a level -> pictures, about 0..1, not clamped."""
        return self.decoders[str(number)](features)

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, 32 pixels a side or more -> (N, code_size)."""
        seen = self.encoder(style, self.layers)
        parts: list[Tensor] = []
        for layer in self.layers:
            own = covariance(seen[layer])
            parts += [own.mean, roots(own).root.flatten(1)]
        return torch.cat(parts, dim=1)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor) -> Tensor:
        share, parts = strength[..., None, None, None], iter(code.split(self.parts, dim=1))
        picture = content
        for number, level in self.levels.items():
            mean, root = next(parts), next(parts).unflatten(1, (level.channels, -1))
            features = wide(self.encode(picture.clamp(0, 1), number))
            styled = whiten_and_color(features, mean, root)
            picture = self.decode(features + share * (styled - features), number)
        return picture


def step(
    net: nn.Module, pretrained: FeatureNetwork, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1 for each decoder by itself: it reproduces the crop from the features of its level."""
    network = cast(Network, net)
    with torch.no_grad():
        want = network.encoder(batch.content, network.layers)
    terms: dict[str, Tensor] = {}
    for number, level in network.levels.items():
        layer = level.layer
        painted = network.decode(want[layer], number)
        terms[layer] = config.pixel_weight * relative_distance(painted, batch.content)
        if config.feature_weight:  # with VGG two thirds of a step
            features = relative_distance(network.encode(painted, number), want[layer])
            terms[layer] = terms[layer] + config.feature_weight * features
    return terms


def export_spec(net: Network) -> ExportSpec:
    """Covariances are of the whole picture, so it cannot be painted in tiles."""
    return ExportSpec(
        ("code", "strength"),
        multiple=net.multiple,
        min_size=2 * net.multiple,
        code_size=net.code_size,
        rounding=8,
    )


METHOD = Method(
    name="wct",
    title="Whitening and coloring (Li et al., NIPS 2017): any style, trained on photographs alone",
    example="st-train wct --content photos/ -o any.pt",
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
