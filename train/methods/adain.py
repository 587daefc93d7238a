"""Adaptive instance normalization: any style, one pass.

Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization",
ICCV 2017, arXiv:1703.06868. A frozen encoder maps the content and the style to features. The
content's channels are given the style's means and deviations (eq. 8), and a trained decoder turns
the result t into a picture.

    st-train adain --content photos/ --style paintings/ -o any.pt

With VGG, a decoder that already inverts the features is a good start: `--begin-with wct.pt` takes
WCT's.

Differences from the paper:

- The encoder is SqueezeNet 1.1, whose features are fire3 and, enlarged to its size, fire5: fire5
  alone holds hardly any color. The style loss (eq. 13) compares Gram matrices, which the paper
  reports to give similar results. `--encoder vgg16` is VGG-16 up to relu4_1 (the paper has VGG-19),
  and compares means and deviations as in eq. 13.
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
    encoder,
    fill,
    mirror,
    reach,
    squeezenet_decoder,
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

# Levels whose features are normalized, together at the size of the first.
NORMALIZED = {"squeezenet": (2, 3), "vgg16": (4,)}
BEFORE = 2  # more convolutions of SqueezeNet's decoder, so that strokes are larger
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
    color_weight: float = by_network({"squeezenet": 2.0, "vgg16": 0.0}, COLOR_HELP, 0)
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
        deepest = LEVELS["vgg16"][NORMALIZED["vgg16"][-1]].layer
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

    H and W are multiples of 8. C is 384 with SqueezeNet as encoder, 512 with VGG. Pictures are
    about 0..1, not clamped. A blend of codes is a blend of styles. At strength 0 the content's
    features are decoded unchanged.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        first, deepest = NORMALIZED[config.encoder][0], NORMALIZED[config.encoder][-1]
        self.number = deepest
        self.levels = [LEVELS[config.encoder][number] for number in NORMALIZED[config.encoder]]
        self.distilled = config.encoder == "vgg16" and config.width != FULL
        self.channels = sum(level.channels for level in self.levels)
        if self.distilled:
            own = self.channels * config.width // FULL
            self.encoder = student(deepest, config.width)
            self.decoder = mirror(deepest, config.width, own)
            # From the student's features to VGG's; used in training only.
            self.teach = nn.Conv2d(own, self.channels, 1)
            self.channels = own
        else:
            self.encoder = encoder(config.encoder, deepest)
            self.decoder = (
                squeezenet_decoder(first, config.width, self.channels, BEFORE)
                if config.encoder == "squeezenet"
                else mirror(first, config.width)
            )

    @property
    def layers(self) -> list[str]:
        """The encoder's layers that are normalized."""
        return [level.layer for level in self.levels]

    @property
    def multiple(self) -> int:
        """What H and W must be a multiple of."""
        return self.levels[-1].stride

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) -> features of the first level's size (N, C, h, w)."""
        seen = self.encoder(images, self.layers)
        stride = self.levels[0].stride
        return torch.cat([_enlarged(seen[k.layer], k.stride // stride) for k in self.levels], dim=1)

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, 16 pixels a side or more -> codes (N, 2C)."""
        seen = self.encoder(style, self.layers)
        own = [moments(seen[layer]) for layer in self.layers]
        return torch.cat([*(m.mean for m in own), *(m.std for m in own)], dim=1).flatten(1)

    def forward(
        self, content: Tensor, code: Tensor, strength: Tensor, norm: Norm = instance_norm
    ) -> Tensor:
        features = wide(self.encode(content))
        styled = adain(features, code, norm)
        return self.decoder(features + strength[..., None, None, None] * (styled - features))


def _enlarged(features: Tensor, factor: int) -> Tensor:
    """Nearest, so that means and deviations stay what they are."""
    if factor == 1:
        return features
    return nn.functional.interpolate(features, scale_factor=float(factor), mode="nearest")


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
    network = cast(Network, net)
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
        teacher = encoder(config.encoder, network.number).to(next(pretrained.buffers()).device)
        fill(teacher, pretrained, styles, network.layers)
        return Targets(teacher, loss)
    fill(network.encoder, pretrained, styles, network.layers)
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
    network, loss, style = cast(Network, net), targets.style, batch.style
    layers = network.layers
    assert style is not None
    content = shifted(batch.content, batch.shift)
    with torch.no_grad():
        seen = loss.see(targets.network, style, layers)
        plain = targets.network(content, layers)
        want = {layer: adain(plain[layer], statistics(seen[layer])) for layer in layers}

    def of_crops(scale: float) -> Grams:
        with torch.no_grad():
            part = rescaled(style, scale, batch.seed)
            return loss.grams(seen if scale == 1 else loss.see(targets.network, part))

    painted = network.decoder(adain(network.encode(batch.content), network.encode_style(style)))
    shown, turn = shifted(painted, batch.shift), (batch.step, batch.seed)
    found = compare_style(targets.network, shown, loss, of_crops, turn, layers)
    apart = [relative_distance(found.features[layer], want[layer]) for layer in layers]
    terms = {
        "content": config.content_weight * torch.stack(apart).mean(),
        "style": config.style_weight * found.style,
    }
    if config.tv_weight:
        terms["tv"] = config.tv_weight * total_variation(painted)
    if config.raster_weight:
        terms["raster"] = config.raster_weight * raster(painted, network.multiple)
    if network.distilled:
        pairs = ((content, plain[layers[-1]]), (style, seen[layers[-1]]))
        apart = [
            relative_distance(network.teach(network.encode(images)), features)
            for images, features in pairs
        ]
        terms["encoder"] = config.encoder_weight * torch.stack(apart).mean()
    return terms


def export_spec(net: Network) -> ExportSpec:
    """Its one norm lies between encoder and decoder, so pictures can be painted in tiles."""
    multiple, first = net.multiple, net.levels[0].stride
    radius = reach(net.encoder, net.layers[-1], net.decoder, first) + multiple
    return ExportSpec(
        ("code", "strength"),
        multiple=multiple,
        min_size=2 * multiple,
        halo=-(-radius // multiple) * multiple,
        norms=((net.channels, first),),
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
