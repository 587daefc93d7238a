"""Style swap: any style, patch by patch.

Chen and Schmidt, "Fast patch-based style transfer of arbitrary style", arXiv:1612.04337. Each 3×3
patch of the content's features is replaced by the most similar patch of the style's (section 3.1).
An inverse network, trained once for all styles, paints the picture that has these features (section
3.2).

    st-train styleswap --content photos/ --style paintings/ -o any.pt

Differences from the paper: the encoder is SqueezeNet 1.1 up to fire5, or with `--encoder vgg16`
VGG-16 up to relu3_1 (the paper has VGG-19). Distances are relative. The inverse network has no
instance norms, so distant parts of a picture do not depend on one another.

A style code is the style's feature map, at one fixed size. The mean of two maps is a double
exposure and not a style between the two, so styles cannot be blended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from st.train.any_style import paint_with_code
from st.train.features.base import FeatureNetwork
from st.train.losses.basic import relative_distance, total_variation, wide
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.autoencoder import LEVELS, WIDTH, WIDTH_HELP, decoder, encoder, fill
from st.train.networks.style_swap import SIDE, squared, swap
from st.train.settings import (
    RATE_HELP,
    by_network,
    encoder_option,
    fill_defaults,
    option,
    size_option,
    steps_option,
    swap_size_option,
)


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(10_000)
    size: int = size_option(256)
    batch: int = option(4, "Pairs of a content and a style crop per step.", 1)
    learning_rate: float = by_network({"squeezenet": 1e-3, "vgg16": 5e-4}, RATE_HELP, 0)
    encoder: str = encoder_option()
    level: str = option(
        "3",
        "Level whose patches are swapped. 2 to 4: fire3, fire5, fire7 of squeezenet; relu2_1, "
        "relu3_1, relu4_1 of vgg16.",
        choices=("2", "3", "4"),
    )
    width: int = by_network(WIDTH, WIDTH_HELP, 8)
    style_size: int = swap_size_option({"squeezenet": 256, "vgg16": 192})
    feature_weight: float = option(1.0, "Weight of the relative distance of features.", 0)
    pixel_weight: float = option(
        1.0, "Weight of the relative distance of pixels, for features that are not swapped.", 0
    )
    tv_weight: float = option(1.0, "Weight of the total variation.", 0)

    def __post_init__(self) -> None:
        fill_defaults(self, self.encoder)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size), strength (1,) -> pictures.

    H and W are multiples of `multiple`. A code is the feature map (C, S, S) of a style. Strength 1
    swaps; at 0 the result is the content as the inverse network reproduces it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        number = int(config.level)
        self.level = LEVELS[config.encoder][number]
        self.multiple = self.level.stride
        # Whole cells of the features, and at least one patch.
        side = max(config.style_size // self.multiple, SIDE)
        self.style_size = side * self.multiple
        self.encoder = encoder(config.encoder, number)
        self.decoder = decoder(config.encoder, number, config.width)
        self.map = (self.level.channels, side, side)
        self.code_size = self.level.channels * side * side

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) -> features (N, C, H / multiple, W / multiple)."""
        return self.encoder(images, [self.level.layer])[self.level.layer]

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1 -> codes (N, code_size).

        They are scaled to squares of `style_size` first.
        """
        return wide(self.encode(squared(style, self.style_size))).flatten(1)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor) -> Tensor:
        features = wide(self.encode(content))
        swapped = swap(features, code.unflatten(1, self.map)).features
        share = strength[..., None, None, None]
        return self.decoder(features + share * (swapped - features))


def targets(
    net: nn.Module, pretrained: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> None:
    """Fill the encoder; the pictures themselves are the targets."""
    network = cast(Network, net)
    fill(network.encoder, pretrained, styles, [network.level.layer])


def step(
    net: nn.Module, pretrained: FeatureNetwork, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 7 on what the inverse network is given: features of photographs, of paintings, swapped.

    No picture has the swapped features, so there only the features are compared, not the pixels.
    """
    network = cast(Network, net)
    assert batch.style is not None
    pictures = torch.cat([batch.content, batch.style])
    with torch.no_grad():
        plain = wide(network.encode(pictures))
        content, style = plain.chunk(2)
        want = torch.cat([plain, swap(content, style).features])
    painted = network.decoder(want)
    real = painted[: len(pictures)]
    terms = {
        "pixels": config.pixel_weight * relative_distance(real, pictures),
        "tv": config.tv_weight * total_variation(painted),
    }
    if config.feature_weight:  # with VGG half of a step
        apart = relative_distance(network.encode(painted), want)
        terms["features"] = config.feature_weight * apart
    return terms


def export_spec(net: Network) -> ExportSpec:
    """The nearest patch of nearly equal ones may differ between implementations: see `rounding`."""
    return ExportSpec(
        ("code", "strength"),
        multiple=net.multiple,
        min_size=(SIDE + 1) * net.multiple,
        code_size=net.code_size,
        rounding=128,
        style_size=net.style_size,
        blends=False,
    )


METHOD = Method(
    name="styleswap",
    title="Style swap (Chen and Schmidt, 2016): any style, patch by patch",
    example="st-train styleswap --content photos/ --style paintings/ -o any.pt",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint_with_code,
    export_spec=export_spec,
    min_steps=1_000,
)
