"""Adaptive instance normalization: any style, one pass.

Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization",
ICCV 2017, arXiv:1703.06868. A fixed encoder (VGG to relu4_1) sees the content and the style; the
content's channels are given the style's means and deviations (eq. 8); a trained decoder, the
encoder's mirror, turns the result t into a picture.

    st-train adain --content photos/ --style paintings/ -o any.pt

A decoder that already inverts relu4_1 is half of the way: `--begin-with wct.pt` takes WCT's.

Unlike the paper's: VGG-16 in place of VGG-19; distances are relative, so one weight suits every
style; the loss sees its pictures at a place of VGG's pooling raster that changes (`shifted`).

VGG is most of what a frame costs. With `--width 16` a narrow encoder of VGG's shape takes its
place: it learns with the decoder, and a linear map of its features must give VGG's (distillation by
hints, Romero et al., "FitNets", ICLR 2015). The loss network stays VGG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from st.train.features.vgg import VGG, WIDTHS, layer_names
from st.train.losses.basic import moments, relative_distance, wide
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.autoencoder import (
    FULL,
    deepest,
    encoder,
    fill,
    mirror,
    reach,
    stride,
    student,
)
from st.train.networks.transform import Norm, instance_norm
from st.train.settings import (
    learning_rate_option,
    option,
    size_option,
    steps_option,
    style_layers_option,
)

LEVEL = 4
DEEPEST = deepest(LEVEL)
MULTIPLE = stride(LEVEL)
LAYERS = layer_names(16)[: layer_names(16).index(DEEPEST) + 1]


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(20_000)
    size: int = size_option(256)
    batch: int = option(8, "pairs of a content and a style crop a step", 1)
    learning_rate: float = learning_rate_option(3e-4)
    width: int = option(
        FULL, f"channels of the first block; {FULL}: VGG encodes; less: a student, and faster", 8
    )
    content_weight: float = option(1.0, "of the relative distance to the target features", 0)
    style_weight: float = option(10.0, "of the relative distance of means and deviations", 0)
    encoder_weight: float = option(1.0, "of a student's relative distance from VGG", 0)
    style_layers: tuple[str, ...] = style_layers_option("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def statistics(features: Tensor) -> Tensor:
    """Channel means, then channel deviations: (N, C, H, W) -> (N, 2C), float32 or wider."""
    own = moments(features)
    return torch.cat([own.mean, own.std], dim=1).flatten(1)


def adain(features: Tensor, code: Tensor, norm: Norm = instance_norm) -> Tensor:
    """The means and deviations of a style on the features, eq. 8; float32 or wider inside.

    features: (N, C, H, W). code: (N or 1, 2C), from `statistics`.
    """
    mean, std = code.chunk(2, dim=1)
    with torch.autocast(features.device.type, enabled=False):
        return norm(wide(features), std, mean)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, 2C), strength (1,) -> pictures.

    H and W are multiples of 8; C is 512 with VGG as encoder. Pictures are about 0..1, not clamped.
    A blend of styles is the same blend of their codes; strength 1 paints, 0 gives the content back
    as the decoder knows it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.distilled = config.width != FULL
        self.channels = WIDTHS[LEVEL - 1] * config.width // FULL
        self.encoder = student(LEVEL, config.width) if self.distilled else encoder(LEVEL)
        self.decoder = mirror(LEVEL, config.width, self.channels)
        if self.distilled:  # from the student's features to VGG's; only training needs it
            self.teach = nn.Conv2d(self.channels, WIDTHS[LEVEL - 1], 1)

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) -> features (N, C, H/8, W/8)."""
        return self.encoder(images, [DEEPEST])[DEEPEST]

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, 16 pixels a side or more -> codes (N, 2C)."""
        return statistics(self.encode(style))

    def forward(
        self, content: Tensor, code: Tensor, strength: Tensor, norm: Norm = instance_norm
    ) -> Tensor:
        features = wide(self.encode(content))
        styled = adain(features, code, norm)
        return self.decoder(features + strength[..., None, None, None] * (styled - features))


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> VGG:
    """The loss network: the encoder itself, once it has VGG's weights, or a student's teacher."""
    network = cast(Network, net)
    teacher = encoder(LEVEL).to(vgg.mean.device) if network.distilled else network.encoder
    fill(teacher, vgg, styles, [LEVEL])
    return teacher


def begin(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """After WCT: the decoder is its decoder of the same features, where the widths are alike."""
    own = cast(Network, net).decoder.state_dict()
    theirs = {name: state.get(f"decoders.{LEVEL}.{name}") for name in own}
    if all(t is not None and t.shape == own[name].shape for name, t in theirs.items()):
        cast(Network, net).decoder.load_state_dict(cast(dict[str, Tensor], theirs))


def step(net: nn.Module, vgg: VGG, targets: VGG, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 11-13. With VGG as encoder the target t is made of the network's own features."""
    network, teacher, layers = cast(Network, net), targets, {DEEPEST, *config.style_layers}
    assert batch.style is not None
    content = shifted(batch.content, batch.shift)
    with torch.no_grad():
        style = teacher(batch.style, layers)
        plain = teacher(content, [DEEPEST])[DEEPEST]
        want = adain(plain, statistics(style[DEEPEST]))
    code = network.encode_style(batch.style)
    painted = network.decoder(adain(network.encode(batch.content), code))
    got = teacher(shifted(painted, batch.shift), layers)
    distances = [
        relative_distance(statistics(got[k]), statistics(style[k])) for k in config.style_layers
    ]
    terms = {
        "content": config.content_weight * relative_distance(got[DEEPEST], want),
        "style": config.style_weight * torch.stack(distances).mean(),
    }
    if network.distilled:
        pairs = ((content, plain), (batch.style, style[DEEPEST]))
        apart = [
            relative_distance(network.teach(network.encode(images)), features)
            for images, features in pairs
        ]
        terms["encoder"] = config.encoder_weight * torch.stack(apart).mean()
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another."""
    assert style is not None
    code = cast(Network, net).encode_style(style)
    return net(content, code, content.new_ones(1))


def export_spec(net: Network) -> ExportSpec:
    """Its one norm lies between encoder and decoder, so pictures can be painted in tiles."""
    halo = -(-(reach(net.encoder, net.decoder) + MULTIPLE) // MULTIPLE) * MULTIPLE
    return ExportSpec(
        ("code", "strength"),
        multiple=MULTIPLE,
        min_size=2 * MULTIPLE,
        halo=halo,
        norms=((net.channels, MULTIPLE),),
        code_size=2 * net.channels,
    )


METHOD = Method(
    name="adain",
    title="Adaptive instance norm (Huang and Belongie, ICCV 2017): any style, one network",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=2_000,
    begin=begin,
    example="st-train adain --content photos/ --style paintings/ -o any.pt",
)
