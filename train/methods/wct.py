"""Whitening and coloring transforms: any style, no training on styles.

Li, Fang, Yang, Wang, Lu and Yang, "Universal style transfer via feature transforms", NIPS 2017,
arXiv:1705.08086. Five decoders learn to invert VGG's relu5_1, …, relu1_1 on photographs alone
(eq. 1). A picture then passes them from coarse to fine: at each level its features are whitened,
given the covariance and mean of the style's (eq. 2, 3), and decoded for the next.

    st-train wct --content photos/ -o any.pt

Unlike the paper's: VGG-16 in place of VGG-19; the matrices come from an iteration of products, not
from eigenvectors (`st.train.networks.whitening`); distances in the loss are relative; a decoder may
be narrower than VGG's mirror (`--width`) and levels may be left out (`--levels 4 --levels 3 …`).

A picture of noise as content gives a texture in the style's manner (section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from st.train.features.vgg import VGG, WIDTHS
from st.train.losses.basic import relative_distance, wide
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.autoencoder import FULL, deepest, encoder, fill, mirror, stride
from st.train.networks.whitening import covariance, roots, whiten_and_color
from st.train.settings import batch_option, learning_rate_option, option, size_option, steps_option


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(10_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(5e-4)
    levels: tuple[str, ...] = option(
        ("5", "4", "3", "2", "1"),
        "VGG's relu*_1 that are transformed, deepest first; repeat for several",
        choices=("5", "4", "3", "2", "1"),
    )
    width: int = option(FULL, f"channels of the decoders' last block; {FULL}: VGG's mirror", 8)
    pixel_weight: float = option(1.0, "of the relative distance of pixels", 0)
    feature_weight: float = option(1.0, "of the relative distance of features, the paper's λ", 0)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size), strength (1,) -> pictures.

    H and W are multiples of `multiple`. A code holds, for each level from the deepest, the style's
    mean (C) and the root of its covariance (C, C). Strength 0 leaves the features as they are: what
    comes out is the picture as the decoders, one after the other, know it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.levels = tuple(sorted({int(level) for level in config.levels}, reverse=True))
        self.encoder = encoder(self.levels[0])
        self.decoders = nn.ModuleDict({str(n): mirror(n, config.width) for n in self.levels})
        self.multiple = stride(self.levels[0])
        channels = [WIDTHS[level - 1] for level in self.levels]
        self.parts = [size for c in channels for size in (c, c * c)]
        self.code_size = sum(self.parts)

    def encode(self, images: Tensor, level: int) -> Tensor:
        """Pictures (N, 3, H, W) -> features of a level (N, C, H / stride, W / stride)."""
        return self.encoder(images, [deepest(level)])[deepest(level)]

    def decode(self, features: Tensor, level: int) -> Tensor:
        """Features of a level -> pictures, about 0..1, not clamped."""
        return self.decoders[str(level)](features)

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, 32 pixels a side or more -> (N, code_size)."""
        seen = self.encoder(style, [deepest(level) for level in self.levels])
        parts: list[Tensor] = []
        for level in self.levels:
            own = covariance(seen[deepest(level)])
            parts += [own.mean, roots(own.covariance).root.flatten(1)]
        return torch.cat(parts, dim=1)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor) -> Tensor:
        share, parts = strength[..., None, None, None], iter(code.split(self.parts, dim=1))
        picture = content
        for level in self.levels:
            mean, root = next(parts), next(parts).unflatten(1, (WIDTHS[level - 1], -1))
            features = wide(self.encode(picture.clamp(0, 1), level))
            styled = whiten_and_color(features, mean, root)
            picture = self.decode(features + share * (styled - features), level)
        return picture


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> None:
    """Nothing to prepare but the encoder."""
    network = cast(Network, net)
    fill(network.encoder, vgg, styles, network.levels)


def step(
    net: nn.Module, vgg: VGG, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1 for every decoder by itself: it paints the crop from the features of its level."""
    network = cast(Network, net)
    with torch.no_grad():
        want = network.encoder(batch.content, [deepest(level) for level in network.levels])
    terms: dict[str, Tensor] = {}
    for level in network.levels:
        layer = deepest(level)
        painted = network.decode(want[layer], level)
        pixels = relative_distance(painted, batch.content)
        terms[layer] = config.pixel_weight * pixels
        if config.feature_weight:  # two thirds of a step
            features = relative_distance(network.encode(painted, level), want[layer])
            terms[layer] = terms[layer] + config.feature_weight * features
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another, or as the decoders know it."""
    network, strength = cast(Network, net), content.new_tensor([float(style is not None)])
    code = network.encode_style(content if style is None else style)
    return net(content, code, strength)


def export_spec(net: Network) -> ExportSpec:
    """A covariance is of the whole picture, so there are no tiles."""
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
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    content_only=True,
    min_steps=1_000,
    example="st-train wct --content photos/ -o any.pt",
)
