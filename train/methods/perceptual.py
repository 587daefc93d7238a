"""Perceptual losses: one style, one network.

Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
ECCV 2016, arXiv:1603.08155. A residual network is trained so that VGG-16 sees the photograph's
content (eq. 2) and the painting's Gram matrices (eq. 4) in what it paints.

    st-train perceptual --content photos/ --style wave.jpg -o wave.pt

With --patch-weight above 0 it learns from the style's patches too: docs/fused-statistics.md.

Unlike the paper's: distances are relative, so one weight suits every style; the learning rate
falls, and fewer steps do than their 40,000; nearest upsampling and reflection padding where they
have transposed convolutions and one wide margin; instance in place of batch normalization, as in
the code that they released later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from st.train.features.vgg import VGG
from st.train.losses.basic import gram, relative_distance, total_variation
from st.train.losses.patch_term import patch_loss, style_patches
from st.train.losses.patches import Bank
from st.train.losses.temporal import EVERY_HELP, WEIGHT_HELP, temporal_terms
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.transform import Norm, TransformNet, instance_norm, parse_shape
from st.train.settings import (
    VGG16_LAYERS,
    batch_option,
    content_layer_option,
    learning_rate_option,
    option,
    shape_option,
    size_option,
    steps_option,
    style_layers_option,
    style_size_option,
)


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(4_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(1e-3)
    shape: str = shape_option("johnson")
    style_size: int = style_size_option(384)
    content_weight: float = option(1.0, "of the relative distance of features", 0)
    style_weight: float = option(12.5, "of the relative distance of Gram matrices", 0)
    tv_weight: float = option(4.0, "of the total variation", 0)
    temporal_weight: float = option(0.0, WEIGHT_HELP, 0)
    temporal_every: int = option(1, EVERY_HELP, 1)
    patch_weight: float = option(0.0, "of the nearest patches of the style, which is not in it", 0)
    patch_layer: str = option("relu3_1", "VGG layer that patches are of", choices=VGG16_LAYERS)
    content_layer: str = content_layer_option("relu3_3")
    style_layers: tuple[str, ...] = style_layers_option(
        # The papers begin at relu1_2, which hardly sees brightness: a print's white paper came out
        # gray. relu1_1 sees it.
        "relu1_1",
        "relu1_2",
        "relu2_2",
        "relu3_3",
        "relu4_3",
    )


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1 -> pictures, 0..1. The norms' scales, shifts are learned."""

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.transform = TransformNet(parse_shape(config.shape))
        self.code = nn.Parameter(self.transform.plain_code())

    def forward(self, content: Tensor, norm: Norm = instance_norm) -> Tensor:
        return self.transform(content, self.code, norm)


class Style(NamedTuple):
    """Gram matrices of the style picture by layer, each (1, C, C), and patches if they count."""

    grams: dict[str, Tensor]
    patches: Bank | None


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> Style:
    """What the style's loss compares with: made once."""
    (style,) = styles
    seen = vgg(style, {*config.style_layers, config.patch_layer})
    patches = style_patches(seen[config.patch_layer]) if config.patch_weight else None
    return Style({k: gram(seen[k]) for k in config.style_layers}, patches)


def step(net: nn.Module, vgg: VGG, style: Style, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 2, 4 and 5: content and style distances of what the network paints."""
    whole = net(batch.content)
    painted = shifted(whole, batch.shift)
    with torch.no_grad():
        want = vgg(shifted(batch.content, batch.shift), [config.content_layer])
    patches = [] if style.patches is None else [config.patch_layer]
    got = vgg(painted, {config.content_layer, *config.style_layers, *patches})
    distances = [relative_distance(gram(got[k]), style.grams[k]) for k in config.style_layers]
    k = config.content_layer
    terms = {
        "content": config.content_weight * relative_distance(got[k], want[k]),
        "style": config.style_weight * torch.stack(distances).mean(),
        "tv": config.tv_weight * total_variation(painted),
        **temporal_terms(whole, batch.motion, net, config.temporal_weight),
    }
    if style.patches is not None:
        distance = patch_loss(got[config.patch_layer], style.patches)
        terms["patches"] = config.patch_weight * distance
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture; the network knows one style only."""
    return net(content)


def export_spec(net: Network) -> ExportSpec:
    return net.transform.export_spec(controls=())


METHOD = Method(
    name="perceptual",
    title="Perceptual losses (Johnson et al., ECCV 2016): one style, one network",
    config=Config,
    styles="one",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    least_steps=500,
    temporal=True,
    example="st-train perceptual --content photos/ --style wave.jpg -o wave.pt",
)
