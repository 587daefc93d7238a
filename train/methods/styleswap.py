"""Style swap: any style, patch by patch.

Chen and Schmidt, "Fast patch-based style transfer of arbitrary style", arXiv:1612.04337. The
content's features at one layer of VGG are cut into 3×3 patches; each gives way to the patch of the
style's features that is most alike (section 3.1); an inverse network, trained once for all styles,
paints the picture that has such features (section 3.2).

    st-train styleswap --content photos/ --style paintings/ -o any.pt

Unlike the paper's: VGG-16 in place of VGG-19; distances are relative; the inverse network has no
instance norms, so a picture's parts do not depend on one another.

A style code is the style's feature map, at one fixed size. The mean of two such maps is a picture
in double exposure, not a style between: blends of styles are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.vgg import VGG, WIDTHS
from st.train.losses.basic import relative_distance, total_variation, wide
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.autoencoder import FULL, deepest, encoder, fill, mirror, stride
from st.train.networks.style_swap import SIDE, swap
from st.train.settings import learning_rate_option, option, size_option, steps_option


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(10_000)
    size: int = size_option(256)
    batch: int = option(4, "pairs of a content and a style crop a step", 1)
    learning_rate: float = learning_rate_option(5e-4)
    level: str = option("3", "VGG's relu*_1 whose patches are swapped", choices=("2", "3", "4"))
    width: int = option(FULL, f"channels of the inverse's last block; {FULL}: VGG's mirror", 8)
    style_size: int = option(192, "side of the square that styles are scaled to: their strokes", 32)
    feature_weight: float = option(1.0, "of the relative distance of features", 0)
    pixel_weight: float = option(1.0, "of the relative distance of pixels, where a picture is", 0)
    tv_weight: float = option(1.0, "of the total variation", 0)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size), strength (1,) -> pictures.

    H and W are multiples of `multiple`. A code is the feature map (C, S, S) of a style. Strength 1
    swaps; 0 gives the content back as the inverse network knows it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.level = int(config.level)
        self.multiple = stride(self.level)
        # Whole steps of the features, and at least one patch.
        self.style_size = max(config.style_size // self.multiple, SIDE) * self.multiple
        self.encoder = encoder(self.level)
        self.decoder = mirror(self.level, config.width)
        side = self.style_size // self.multiple
        self.map = (WIDTHS[self.level - 1], side, side)
        self.code_size = self.map[0] * side * side

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) -> features (N, C, H / multiple, W / multiple)."""
        return self.encoder(images, [deepest(self.level)])[deepest(self.level)]

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1 -> codes (N, code_size).

        Others than squares of `style_size` are scaled to it first.
        """
        if style.shape[2:] != (self.style_size, self.style_size):
            side = (self.style_size, self.style_size)
            style = functional.interpolate(style, side, mode="bilinear", antialias=True)
        return wide(self.encode(style)).flatten(1)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor) -> Tensor:
        features = wide(self.encode(content))
        swapped = swap(features, code.unflatten(1, self.map)).features
        share = strength[..., None, None, None]
        return self.decoder(features + share * (swapped - features))


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> None:
    """Nothing to prepare but the encoder."""
    network = cast(Network, net)
    fill(network.encoder, vgg, styles, [network.level])


def step(
    net: nn.Module, vgg: VGG, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 7 on what the inverse network will see: features of photographs, of paintings, swapped.

    Swapped features are no picture's, so only the painted picture's features are compared there.
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
    if config.feature_weight:  # half of a step
        apart = relative_distance(network.encode(painted), want)
        terms["features"] = config.feature_weight * apart
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another."""
    assert style is not None
    code = cast(Network, net).encode_style(style)
    return net(content, code, content.new_ones(1))


def export_spec(net: Network) -> ExportSpec:
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
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=1_000,
    example="st-train styleswap --content photos/ --style paintings/ -o any.pt",
)
