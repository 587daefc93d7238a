"""Style prediction: a picture becomes a style code once, and every frame costs what a bank's does.

Ghiasi, Lee, Kudlur, Dumoulin and Shlens, "Exploring the structure of a real-time, arbitrary neural
artistic stylization network", BMVC 2017, arXiv:1705.06830. A style network P looks at the style and
predicts, through a bottleneck of 100 numbers, every scale and shift of the transfer network T
(section 2.1, eq. 5); P and T are trained together on many paintings. Codes blend linearly, and
photographs among the styles teach T the identity, towards which a style can be weakened
(section 3).

    st-train prediction --content photos/ --style paintings/ --style photos/ -o anything.pt

Unlike the paper's: P sees with the frozen VGG-16 of the loss, not with Inception-v3: the channel
means and deviations of four layers are what the style loss is made of, so a few hundred paintings
are enough. T is a network made for video (`FASTER`), not Johnson's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from st.train.features.vgg import VGG
from st.train.losses.basic import gram, moments, raster, relative_distance, total_variation, wide
from st.train.losses.temporal import EVERY_HELP, WEIGHT_HELP, temporal_terms
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.transform import Norm, TransformNet, instance_norm, parse_shape
from st.train.settings import (
    batch_option,
    content_layer_option,
    learning_rate_option,
    option,
    shape_option,
    size_option,
    steps_option,
    style_layers_option,
)

SEEN = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")  # what P looks at
TRAITS = 2 * (64 + 128 + 256 + 512)  # their means and deviations
DARK = 0.05  # of a layer's own size: what a logarithm cannot tell from nothing
# The style network moves every scale and shift of a picture at once: at the transfer network's rate
# codes ran away within a few hundred steps, to pictures of two colors.
STYLE_RATE = 0.1
BLENDED = 0.25  # of the steps teach a blend of two styles
RECOLORED = 0.25  # and as many a style with its color channels exchanged
CHANCES = 1 << 20


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(20_000)
    size: int = size_option(192)
    batch: int = batch_option(4, ", each with its own style")
    learning_rate: float = learning_rate_option(1.5e-3)
    shape: str = shape_option("faster")
    bottleneck: int = option(100, "numbers that a style is reduced to", 1)
    content_weight: float = option(1.7, "of the relative distance of features", 0)
    style_weight: float = option(12.5, "of the relative distance of Gram matrices", 0)
    tv_weight: float = option(4.0, "of the total variation", 0)
    raster_weight: float = option(3000.0, "of what repeats on the network's own raster", 0)
    temporal_weight: float = option(0.0, WEIGHT_HELP, 0)
    temporal_every: int = option(1, EVERY_HELP, 1)
    content_layer: str = content_layer_option("relu3_3")
    style_layers: tuple[str, ...] = style_layers_option(
        "relu1_1", "relu1_2", "relu2_2", "relu3_3", "relu4_3"
    )


class StyleNet(nn.Module):
    """P: means and deviations of VGG's layers (N, TRAITS) -> style codes (N, code_size).

    `middle` and `spread` standardize the traits' logarithms; `base` is the code that prediction
    starts from.
    """

    middle: Tensor
    spread: Tensor
    size: Tensor

    def __init__(self, bottleneck: int, base: Tensor) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(TRAITS))
        self.register_buffer("spread", torch.ones(TRAITS))
        self.register_buffer("size", torch.ones(len(SEEN)))
        self.reduce = nn.Sequential(nn.Linear(TRAITS, 512), nn.ReLU(), nn.Linear(512, bottleneck))
        self.predict = nn.Sequential(
            nn.Linear(bottleneck, 256), nn.ReLU(), nn.Linear(256, base.shape[1])
        )
        last = cast(nn.Linear, self.predict[-1])
        with torch.no_grad():
            last.weight *= 0.1
            last.bias.copy_(base[0])

    def logarithms(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features of the layers in SEEN -> (N, TRAITS), each relative to its layer's own size."""
        rows = []
        for name, size in zip(SEEN, self.size, strict=True):
            own = moments(features[name])
            rows.append((torch.cat([own.mean, own.std], 1).flatten(1) / size + DARK).log())
        return torch.cat(rows, dim=1)

    def standardize(self, features: Sequence[Mapping[str, Tensor]]) -> None:
        """Set size, middle and spread to those of a sample of styles."""
        sizes = [[wide(row[name]).square().mean() for name in SEEN] for row in features]
        self.size.copy_(torch.tensor(sizes).mean(0).sqrt())
        rows = torch.cat([self.logarithms(row) for row in features])
        self.middle.copy_(rows.mean(0))
        widths = [64, 64, 128, 128, 256, 256, 512, 512]
        spread = [part.std().clamp_min(0.1) for part in (rows - rows.mean(0)).split(widths, 1)]
        values = [s.expand(n) for s, n in zip(spread, widths, strict=True)]
        self.spread.copy_(torch.cat(values))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        with torch.autocast(self.middle.device.type, enabled=False):
            traits = (self.logarithms(features) - self.middle) / self.spread
            return self.predict(self.reduce(traits))


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size) -> pictures, 0..1.

    A blend of styles is the same blend of their codes. The encoder is part of the state, so a
    checkpoint needs no other weights; they are rounded to float16, in which engines keep them.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.transform = TransformNet(parse_shape(config.shape))
        self.style = StyleNet(config.bottleneck, self.transform.plain_code())
        self.encoder = VGG(16, last=SEEN[-1])

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, 16 pixels a side or more -> (N, code_size)."""
        return self.style(self.encoder(style, SEEN))

    def forward(self, content: Tensor, code: Tensor, norm: Norm = instance_norm) -> Tensor:
        return self.transform(content, code, norm)

    def fill_encoder(self, vgg: VGG) -> None:
        weights = vgg.state_dict()
        own = {k: weights[k] for k in self.encoder.state_dict()}
        kept = {k: v.half().to(v.dtype) if k.startswith("conv") else v for k, v in own.items()}
        self.encoder.load_state_dict(kept)


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> None:
    """Nothing to prepare but what P sees with: every step has styles of its own."""
    network = cast(Network, net)
    network.fill_encoder(vgg)
    network.style.standardize([network.encoder(style, SEEN) for style in styles])


def begin(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """After a bank's network: every prediction starts at the middle of its styles."""
    network = cast(Network, net)
    bank, base = state.get("bank"), cast(nn.Linear, network.style.predict[-1]).bias
    if bank is not None and bank.shape[1:] == base.shape:
        base.data.copy_(bank.mean(0))


def step(
    net: nn.Module, vgg: VGG, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1-4, each crop in the predicted style of its own painting, or in a blend of two."""
    network, style = cast(Network, net), batch.style
    assert style is not None
    chance = batch.seed % CHANCES / CHANCES
    if chance > 1 - RECOLORED:
        style = style[:, [1, 2, 0]] if chance > 1 - RECOLORED / 2 else style[:, [2, 1, 0]]
    with torch.no_grad():
        seen = vgg(style, {*config.style_layers, *SEEN})
        grams = {k: gram(seen[k]) for k in config.style_layers}
        want = vgg(shifted(batch.content, batch.shift), [config.content_layer])
    code = network.style(seen)
    if chance < BLENDED:
        share = chance / BLENDED
        code = code.lerp(code.roll(1, 0), share)
        grams = {k: g.lerp(g.roll(1, 0), share) for k, g in grams.items()}
    whole = net(batch.content, code)
    painted = shifted(whole, batch.shift)
    got = vgg(painted, {config.content_layer, *config.style_layers})
    distances = [relative_distance(gram(got[k]), grams[k]) for k in config.style_layers]

    def paint_later(frames: Tensor) -> Tensor:
        return net(frames, code[: len(frames)])

    k = config.content_layer
    return {
        "content": config.content_weight * relative_distance(got[k], want[k]),
        "style": config.style_weight * torch.stack(distances).mean(),
        "tv": config.tv_weight * total_variation(painted),
        "raster": config.raster_weight * raster(whole, network.transform.multiple),
        **temporal_terms(whole, batch.motion, paint_later, config.temporal_weight),
    }


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another."""
    assert style is not None
    return net(content, cast(Network, net).encode_style(style))


def export_spec(net: Network) -> ExportSpec:
    played = net.transform.export_spec(controls=("code",))
    return replace(played, code_size=net.transform.code_size)


METHOD = Method(
    name="prediction",
    title="Style prediction (Ghiasi et al., BMVC 2017): any style at the speed of a bank",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    least_steps=2_000,
    temporal=True,
    rates={"style": STYLE_RATE},
    begin=begin,
    example="st-train prediction --content photos/ --style paintings/ -o anything.pt",
)
