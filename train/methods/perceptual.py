"""Perceptual losses: one style, one network.

Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
ECCV 2016, arXiv:1603.08155. A residual network is trained so that the features of its output, on a
pretrained network, match the photograph's (eq. 2) and have the style's Gram matrices (eq. 4).

    st-train perceptual --content photos/ --style wave.jpg -o wave.pt

With --patch-weight above 0 it also learns from the style's patches: docs/fused-statistics.md.

Differences from the paper:

- Distances are relative, so one weight suits every style. The learning rate decays, and fewer steps
  suffice than the paper's 40,000.
- Nearest upsampling and reflection padding replace transposed convolutions and one wide margin.
- Instance normalization replaces batch normalization, as in the authors' later code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor, nn

from st.train.features.base import FeatureNetwork
from st.train.losses.basic import raster
from st.train.losses.patch_term import patch_loss, style_patches
from st.train.losses.patches import Bank
from st.train.losses.perceptual import Grams, compare_style
from st.train.losses.temporal import EVERY_HELP, WEIGHT_HELP, temporal_terms
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.transform import Norm, TransformNet, instance_norm, parse_shape
from st.train.perceptual_loss import (
    LAYERS,
    RASTER_HELP,
    Perceptual,
    named_grams,
    style_loss,
    weighted_terms,
)
from st.train.settings import by_network, option, shape_option, style_size_option


@dataclass(frozen=True)
class Config(Perceptual):
    shape: str = shape_option("johnson")
    style_size: int = style_size_option(384)
    raster_weight: float = by_network({"squeezenet": 1_000.0, "vgg16": 0.0}, RASTER_HELP, 0)
    temporal_weight: float = option(0.0, WEIGHT_HELP, 0)
    temporal_every: int = option(1, EVERY_HELP, 1)
    patch_weight: float = option(
        0.0, "Weight of the distance to the nearest patches of the style, not in the paper.", 0
    )
    patch_layer: str = by_network(
        {"squeezenet": "fire4", "vgg16": "relu3_1"},
        "Layer that patches are cut from.",
        None,
        LAYERS,
    )


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1 -> pictures, 0..1. Scales and shifts of norms are learned."""

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.transform = TransformNet(parse_shape(config.shape))
        self.code = nn.Parameter(self.transform.plain_code())

    def forward(self, content: Tensor, norm: Norm = instance_norm) -> Tensor:
        return self.transform(content, self.code, norm)


class Style(NamedTuple):
    """Gram matrices of the style picture by scale and layer, each (1, C, C); patches if used."""

    grams: dict[float, Grams]
    patches: Bank | None


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> Style:
    """What the style loss compares with, computed once."""
    grams = named_grams(loss_network, styles, config)
    if not config.patch_weight:
        return Style(grams, None)
    (style,) = styles
    seen = loss_network(style, [config.patch_layer])
    return Style(grams, style_patches(seen[config.patch_layer]))


def step(
    net: nn.Module, loss_network: FeatureNetwork, style: Style, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 2, 4 and 5: content and style distances of the paintings."""
    painted = net(batch.content)
    seen = shifted(painted, batch.shift)
    also = {config.content_layer} | ({config.patch_layer} if style.patches else set())
    found = compare_style(
        loss_network,
        seen,
        style_loss(config),
        style.grams.__getitem__,
        (batch.step, batch.seed),
        also,
    )
    terms = {
        **weighted_terms(found, loss_network, seen, batch, config),
        **temporal_terms(painted, batch.motion, net, config.temporal_weight),
    }
    if config.raster_weight:
        multiple = cast(Network, net).transform.multiple
        terms["raster"] = config.raster_weight * raster(painted, multiple)
    if style.patches is not None:
        distance = patch_loss(found.features[config.patch_layer], style.patches)
        terms["patches"] = config.patch_weight * distance
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture; the network has one style."""
    return net(content)


def export_spec(net: Network) -> ExportSpec:
    return net.transform.export_spec(controls=())


METHOD = Method(
    name="perceptual",
    title="Perceptual losses (Johnson et al., ECCV 2016): one style, one network",
    example="st-train perceptual --content photos/ --style wave.jpg -o wave.pt",
    config=Config,
    styles="one",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=500,
    temporal=True,
)
