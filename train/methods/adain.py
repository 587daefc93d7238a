"""Adaptive instance normalization: any style, one pass.

Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization",
ICCV 2017, arXiv:1703.06868. A frozen encoder maps the content and the style to features. The
content's channels are given the style's means and deviations (eq. 8), and a trained decoder turns
the result t into a picture.

    st-train adain --content photos/ --style paintings/ -o any.pt

A decoder that already inverts the features is a good start: `--begin-with wct.pt` takes WCT's.

Differences from the paper:

- The encoder is SqueezeNet 1.1 up to fire5, and the style loss (eq. 13) compares Gram matrices,
  which the paper reports to give similar results. `--encoder vgg16` is VGG-16 up to relu4_1 (the
  paper has VGG-19), and compares means and deviations as in eq. 13.
- Distances are relative, so one weight suits every style. The loss network's pooling grid moves
  from step to step (`shifted`).
- `--encoder vgg16 --width 16` trains a narrow encoder of VGG's shape together with the decoder. A
  linear map of its features must give VGG's: distillation by hints, Romero et al., "FitNets", ICLR
  2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from st.runtime.errors import BadInput
from st.train.any_style import paint_with_code
from st.train.features.base import FeatureNetwork
from st.train.features.vgg import layer_names
from st.train.losses.basic import (
    gram_and_deviations,
    moments,
    raster,
    relative_distance,
    total_variation,
    wide,
)
from st.train.losses.perceptual import Grams, StyleLoss, compare_style, rescaled
from st.train.method import SHIFT, Batch, ExportSpec, Method, shifted
from st.train.networks.autoencoder import (
    FULL,
    LEVELS,
    WIDTH,
    WIDTH_HELP,
    decoder,
    encoder,
    fill,
    mirror,
    reach,
    student,
)
from st.train.networks.transform import Norm, instance_norm
from st.train.perceptual_loss import (
    COLOR_HELP,
    CONTRAST_HELP,
    LAYERS,
    RASTER_HELP,
    SCALES,
    STYLE_LAYERS,
    STYLE_LAYERS_HELP,
    STYLE_SCALES_HELP,
    check_layers,
)
from st.train.settings import (
    RATE_HELP,
    by_network,
    encoder_option,
    fill_defaults,
    option,
    size_option,
    steps_option,
)

LEVEL = {"squeezenet": 3, "vgg16": 4}  # whose features are normalized
FARTHEST = 20.0  # limit of a style distance, which grows without bounds for nearly black paintings


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(20_000)
    size: int = size_option(256)
    batch: int = option(8, "Pairs of a content and a style crop per step.", 1)
    learning_rate: float = by_network({"squeezenet": 1e-3, "vgg16": 3e-4}, RATE_HELP, 0)
    encoder: str = encoder_option()
    width: int = by_network(WIDTH, WIDTH_HELP + " Less with vgg16 trains a narrow encoder too.", 8)
    content_weight: float = by_network(
        {"squeezenet": 2.0, "vgg16": 1.0}, "Weight of the relative distance to the features t.", 0
    )
    style_weight: float = by_network(
        {"squeezenet": 12.5, "vgg16": 10.0}, "Weight of the style distance.", 0
    )
    contrast_weight: float = by_network({"squeezenet": 2.0, "vgg16": 0.0}, CONTRAST_HELP, 0)
    color_weight: float = option(0.0, COLOR_HELP, 0)
    tv_weight: float = by_network(
        {"squeezenet": 2.0, "vgg16": 0.0}, "Weight of the total variation.", 0
    )
    raster_weight: float = by_network({"squeezenet": 1_000.0, "vgg16": 0.0}, RASTER_HELP, 0)
    encoder_weight: float = option(
        1.0, "Weight of a narrow encoder's relative distance from VGG.", 0
    )
    style_layers: tuple[str, ...] = by_network(
        {
            "squeezenet": STYLE_LAYERS["squeezenet"],
            "vgg16": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
        },
        STYLE_LAYERS_HELP,
        choices=LAYERS,
    )
    style_scales: tuple[float, ...] = by_network(SCALES, STYLE_SCALES_HELP, minimum=0.1)

    def __post_init__(self) -> None:
        fill_defaults(self, self.encoder)
        check_layers(self.encoder, self.style_layers)
        deepest = LEVELS["vgg16"][LEVEL["vgg16"]].layer
        if self.encoder == "vgg16":  # which is the loss network up to the layer that is decoded
            known = layer_names(16)[: layer_names(16).index(deepest) + 1]
            if deeper := sorted(set(self.style_layers) - set(known)):
                raise BadInput(f"style layer {deeper[0]}: the encoder ends at {deepest}")


def statistics(features: Tensor) -> Tensor:
    """Channel means, then channel deviations: (N, C, H, W) -> (N, 2C), float32 or wider."""
    own = moments(features)
    return torch.cat([own.mean, own.std], dim=1).flatten(1)


def columns(features: Tensor) -> Tensor:
    """Means and deviations as a StyleLoss compares them: (N, C, H, W) -> (N, C, 3).

    Its last column, the deviations, is for the contrast alone, so they are there twice.
    """
    mean, std = statistics(features).chunk(2, dim=1)
    return torch.stack([mean, std, std], dim=2)


def adain(features: Tensor, code: Tensor, norm: Norm = instance_norm) -> Tensor:
    """The means and deviations of a style on the features, eq. 8; float32 or wider inside.

    features: (N, C, H, W). code: (N or 1, 2C), from `statistics`.
    """
    mean, std = code.chunk(2, dim=1)
    with torch.autocast(features.device.type, enabled=False):
        return norm(wide(features), std, mean)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, 2C), strength (1,) -> pictures.

    H and W are multiples of 8. C is 256 with SqueezeNet as encoder, 512 with VGG. Pictures are
    about 0..1, not clamped. A blend of codes is a blend of styles. At strength 0 the content's
    features are decoded unchanged.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.number = number = LEVEL[config.encoder]
        self.level = LEVELS[config.encoder][number]
        self.distilled = config.encoder == "vgg16" and config.width != FULL
        self.channels = self.level.channels
        if self.distilled:
            self.channels = self.channels * config.width // FULL
            self.encoder = student(number, config.width)
            self.decoder = mirror(number, config.width, self.channels)
            # From the student's features to VGG's; used in training only.
            self.teach = nn.Conv2d(self.channels, self.level.channels, 1)
        else:
            self.encoder = encoder(config.encoder, number)
            self.decoder = decoder(config.encoder, number, config.width)

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) -> features (N, C, H/8, W/8)."""
        return self.encoder(images, [self.level.layer])[self.level.layer]

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, 16 pixels a side or more -> codes (N, 2C)."""
        return statistics(self.encode(style))

    def forward(
        self, content: Tensor, code: Tensor, strength: Tensor, norm: Norm = instance_norm
    ) -> Tensor:
        features = wide(self.encode(content))
        styled = adain(features, code, norm)
        return self.decoder(features + strength[..., None, None, None] * (styled - features))


@dataclass(frozen=True)
class Targets:
    """What a step compares with.

    network: the loss network, whose layers of VGG have a mean square of 1. style: the style loss.
    """

    network: FeatureNetwork
    style: StyleLoss


def targets(
    net: nn.Module, pretrained: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> Targets:
    """Fill the encoder. VGG is the loss network too; a student has another VGG as its teacher."""
    network, layer = cast(Network, net), cast(Network, net).level.layer
    compared = gram_and_deviations if config.encoder == "squeezenet" else columns
    loss = StyleLoss(
        config.style_layers,
        config.style_scales,
        compared,
        config.contrast_weight,
        config.color_weight,
        FARTHEST,
    )
    loss.check(pretrained, config.size - SHIFT)
    if network.distilled:
        teacher = encoder(config.encoder, LEVEL[config.encoder]).to(
            next(pretrained.buffers()).device
        )
        fill(teacher, pretrained, styles, [layer])
        return Targets(teacher, loss)
    fill(network.encoder, pretrained, styles, [layer])
    return Targets(network.encoder if config.encoder == "vgg16" else pretrained, loss)


def begin(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """After WCT: take its decoder of the same features, where the shapes match."""
    network = cast(Network, net)
    own = network.decoder.state_dict()
    theirs = {name: state.get(f"decoders.{network.number}.{name}") for name in own}
    if all(t is not None and t.shape == own[name].shape for name, t in theirs.items()):
        network.decoder.load_state_dict(cast(dict[str, Tensor], theirs))


def step(
    net: nn.Module, pretrained: FeatureNetwork, targets: Targets, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 11-13, with the target t made of the loss network's features."""
    network, loss, layer = cast(Network, net), targets.style, cast(Network, net).level.layer
    style = batch.style
    assert style is not None
    content = shifted(batch.content, batch.shift)
    with torch.no_grad():
        seen = loss.see(targets.network, style, [layer])
        plain = targets.network(content, [layer])[layer]
        want = adain(plain, statistics(seen[layer]))

    def of_crops(scale: float) -> Grams:
        with torch.no_grad():
            part = rescaled(style, scale, batch.seed)
            return loss.grams(seen if scale == 1 else loss.see(targets.network, part))

    painted = network.decoder(adain(network.encode(batch.content), network.encode_style(style)))
    shown, turn = shifted(painted, batch.shift), (batch.step, batch.seed)
    found = compare_style(targets.network, shown, loss, of_crops, turn, [layer])
    terms = {
        "content": config.content_weight * relative_distance(found.features[layer], want),
        "style": config.style_weight * found.style,
    }
    if config.tv_weight:
        terms["tv"] = config.tv_weight * total_variation(painted)
    if config.raster_weight:
        terms["raster"] = config.raster_weight * raster(painted, network.level.stride)
    if network.distilled:
        pairs = ((content, plain), (style, seen[layer]))
        apart = [
            relative_distance(network.teach(network.encode(images)), features)
            for images, features in pairs
        ]
        terms["encoder"] = config.encoder_weight * torch.stack(apart).mean()
    return terms


def export_spec(net: Network) -> ExportSpec:
    """Its one norm lies between encoder and decoder, so pictures can be painted in tiles."""
    multiple = net.level.stride
    radius = reach(net.encoder, net.level.layer, net.decoder) + multiple
    return ExportSpec(
        ("code", "strength"),
        multiple=multiple,
        min_size=2 * multiple,
        halo=-(-radius // multiple) * multiple,
        norms=((net.channels, multiple),),
        code_size=2 * net.channels,
    )


METHOD = Method(
    name="adain",
    title="Adaptive instance norm (Huang and Belongie, ICCV 2017): any style, one network",
    example="st-train adain --content photos/ --style paintings/ -o any.pt",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint_with_code,
    export_spec=export_spec,
    min_steps=2_000,
    begin=begin,
)
