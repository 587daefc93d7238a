"""Style prediction: any style, encoded once, at the cost per frame of a bank of styles.

Ghiasi, Lee, Kudlur, Dumoulin and Shlens, "Exploring the structure of a real-time, arbitrary neural
artistic stylization network", BMVC 2017, arXiv:1705.06830. A style network P predicts all scales
and shifts of the transfer network T from the style picture, through a bottleneck of 100 numbers
(section 2.1, eq. 5). P and T are trained together on many paintings. Codes blend linearly.
Photographs among the styles teach T the identity, so a style can be weakened (section 3).

    st-train prediction --content photos/ --style paintings/ --style photos/ -o anything.pt

Differences from the paper: the input of P are channel means and deviations of four layers of a
frozen SqueezeNet or VGG-16, instead of Inception-v3. They determine much of the style loss, so a
few hundred paintings are enough. T is a network designed for video (`FASTER`) instead of Johnson's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from st.runtime.errors import BadInput
from st.train.features.base import FeatureNetwork
from st.train.features.squeezenet import SqueezeNet, load_squeezenet
from st.train.features.vgg import VGG
from st.train.losses.basic import moments, raster, wide
from st.train.losses.perceptual import Grams, compare_style, rescaled
from st.train.losses.temporal import EVERY_HELP, WEIGHT_HELP, temporal_terms
from st.train.method import SHIFT, Batch, ExportSpec, Method, shifted
from st.train.networks.transform import Norm, TransformNet, instance_norm, parse_shape
from st.train.perceptual_loss import (
    RASTER_HELP,
    Perceptual,
    style_loss,
    weighted_terms,
)
from st.train.settings import (
    by_network,
    learning_rate_option,
    option,
    shape_option,
    steps_option,
)

# The layers whose statistics are the input of P, and their channels.
SEEN = {
    "squeezenet": {"conv1": 64, "fire3": 128, "fire5": 256, "fire7": 384},
    "vgg16": {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512},
}
HIDDEN = {"squeezenet": 256, "vgg16": 512}  # units of P's first layer: most of its weights
DARK = 0.05  # relative to a layer's scale: smaller statistics count as equal
# The style network changes all scales and shifts of a picture at once: at the transfer network's
# rate, codes diverged within a few hundred steps, to pictures of two colors.
STYLE_RATE = 0.1
BLENDED = 0.25  # fraction of the steps with a blend of two styles
# Fractions of the styles whose colors are changed; the first three exclude each other.
PERMUTED = 0.3  # color channels in another order
SHIFTED = 0.15  # other black and white points
CURVED = 0.15  # another gamma
INVERTED = 0.15
GAMMAS = (0.25, 2.0)
MIN_RANGE = 0.3  # between black and white point
CHANCES = 1 << 20
FARTHEST = 20.0  # limit of a style distance, unbounded for nearly black paintings


@dataclass(frozen=True)
class Config(Perceptual):
    steps: int = steps_option(100_000)
    learning_rate: float = learning_rate_option(1.5e-3)
    shape: str = shape_option("faster")
    bottleneck: int = option(100, "Numbers that a style is reduced to.", 1)
    style_crop: int = option(256, "Side of the crops of style pictures, in pixels.", 32)
    encoder: str = by_network(
        {network: network for network in SEEN},
        "Network that style pictures are encoded with; vgg16 needs it as loss network too.",
        choices=tuple(SEEN),
    )
    raster_weight: float = by_network({"squeezenet": 1_000.0, "vgg16": 3_000.0}, RASTER_HELP, 0)
    temporal_weight: float = option(0.0, WEIGHT_HELP, 0)
    temporal_every: int = option(1, EVERY_HELP, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder == "vgg16" != self.loss_network:
            raise BadInput("prediction: the encoder vgg16 needs vgg16 as loss network too")


class StyleNet(nn.Module):
    """P: means and deviations of an encoder's layers -> style codes (N, code_size).

    encoder: its name. base: the code that every prediction starts from. `middle` and `spread`
    standardize the logarithms of the means and deviations, `size` is each layer's scale.
    """

    middle: Tensor
    spread: Tensor
    size: Tensor

    def __init__(self, encoder: str, bottleneck: int, base: Tensor) -> None:
        super().__init__()
        self.seen, hidden = SEEN[encoder], HIDDEN[encoder]
        traits = 2 * sum(self.seen.values())
        self.register_buffer("middle", torch.zeros(traits))
        self.register_buffer("spread", torch.ones(traits))
        self.register_buffer("size", torch.ones(len(self.seen)))
        self.reduce = nn.Sequential(
            nn.Linear(traits, hidden), nn.ReLU(), nn.Linear(hidden, bottleneck)
        )
        self.predict = nn.Sequential(
            nn.Linear(bottleneck, 256), nn.ReLU(), nn.Linear(256, base.shape[1])
        )
        last = cast(nn.Linear, self.predict[-1])
        with torch.no_grad():
            last.weight *= 0.1
            last.bias.copy_(base[0])

    def logarithms(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features by layer -> log of means and deviations (N, traits), over the layers' scales."""
        rows = []
        for name, size in zip(self.seen, self.size, strict=True):
            own = moments(features[name])
            rows.append((torch.cat([own.mean, own.std], 1).flatten(1) / size + DARK).log())
        return torch.cat(rows, dim=1)

    def standardize(self, features: Sequence[Mapping[str, Tensor]]) -> None:
        """Set size, middle and spread to those of a sample of styles' features."""
        sizes = [[wide(row[name]).square().mean() for name in self.seen] for row in features]
        self.size.copy_(torch.tensor(sizes).mean(0).sqrt())
        rows = torch.cat([self.logarithms(row) for row in features])
        self.middle.copy_(rows.mean(0))
        widths = [width for width in self.seen.values() for _ in range(2)]
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
        self.style = StyleNet(config.encoder, config.bottleneck, self.transform.plain_code())
        last = list(self.style.seen)[-1]
        self.encoder = SqueezeNet(last) if config.encoder == "squeezenet" else VGG(16, last=last)

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1, any size -> codes (N, code_size)."""
        return self.style(self.encoder(style, self.style.seen))

    def forward(self, content: Tensor, code: Tensor, norm: Norm = instance_norm) -> Tensor:
        return self.transform(content, code, norm)

    def fill_encoder(self, pretrained: FeatureNetwork) -> None:
        """Take over the weights, rounded to float16, as engines store them."""
        weights = pretrained.state_dict()
        own = {name: weights[name] for name in self.encoder.state_dict()}
        rounded = {k: v.half().to(v.dtype) for k, v in own.items() if k not in ("mean", "std")}
        self.encoder.load_state_dict(own | rounded)


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> None:
    """Fill the encoder, and standardize the input of P on the sample of styles."""
    network = cast(Network, net)
    style_loss(config).check(loss_network, config.size - SHIFT)
    same = config.encoder == config.loss_network
    network.fill_encoder(loss_network if same else load_squeezenet())
    seen = network.style.seen
    network.style.standardize([network.encoder(style, seen) for style in styles])


def begin(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """After a bank's network: predictions start from the mean of its styles."""
    network = cast(Network, net)
    bank, base = state.get("bank"), cast(nn.Linear, network.style.predict[-1]).bias
    if bank is not None and bank.shape[1:] == base.shape:
        base.data.copy_(bank.mean(0))


def step(
    net: nn.Module, loss_network: FeatureNetwork, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1-4, each crop in the predicted style of its own painting, or in a blend of two."""
    network, style = cast(Network, net), batch.style
    assert style is not None
    chance = batch.seed % CHANCES / CHANCES
    style = recolored(style, batch.seed)
    share = chance / BLENDED if chance < BLENDED else 0.0
    loss = replace(style_loss(config), limit=FARTHEST)
    same = config.encoder == config.loss_network
    with torch.no_grad():
        seen = loss.see(loss_network, style, network.style.seen if same else ())
        traits = seen if same else network.encoder(style, network.style.seen)
    code = _mixed(network.style(traits), share)

    def of_crops(scale: float) -> Grams:
        with torch.no_grad():
            part = rescaled(style, scale, batch.seed)
            features = seen if scale == 1 else loss.see(loss_network, part)
            return {k: _mixed(gram, share) for k, gram in loss.grams(features).items()}

    def paint_later(frames: Tensor) -> Tensor:
        return net(frames, code[: len(frames)])

    painted = net(batch.content, code)
    shown, turn = shifted(painted, batch.shift), (batch.step, batch.seed)
    found = compare_style(loss_network, shown, loss, of_crops, turn, [config.content_layer])
    return {
        **weighted_terms(found, loss_network, shown, batch, config),
        "raster": config.raster_weight * raster(painted, network.transform.multiple),
        **temporal_terms(painted, batch.motion, paint_later, config.temporal_weight),
    }


def recolored(style: Tensor, seed: int) -> Tensor:
    """Style pictures (N, 3, H, W), RGB, 0..1, about half of them in other colors.

    A few hundred paintings hold few combinations of texture and color: white paper, say, is rare.
    """
    random = torch.Generator().manual_seed(seed)
    return torch.stack([_recolored(picture, random) for picture in style])


def _recolored(picture: Tensor, random: torch.Generator) -> Tensor:
    way, gamma, invert, *points = torch.rand(5, generator=random).tolist()
    black, white = sorted(points)
    if way < PERMUTED:
        picture = picture[torch.randperm(3, generator=random)]
    elif way < PERMUTED + SHIFTED and white - black > MIN_RANGE:
        picture = black + (white - black) * picture
    elif PERMUTED + SHIFTED <= way < PERMUTED + SHIFTED + CURVED:
        picture = picture.clamp_min(1e-4) ** (GAMMAS[0] + gamma * (GAMMAS[1] - GAMMAS[0]))
    return 1 - picture if invert < INVERTED else picture


def _mixed(values: Tensor, share: float) -> Tensor:
    """Each sample blended with its neighbor in the batch."""
    return values.lerp(values.roll(1, 0), share) if share else values


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another."""
    assert style is not None
    return net(content, cast(Network, net).encode_style(style))


def export_spec(net: Network) -> ExportSpec:
    played = net.transform.export_spec(controls=("code",))
    seen = -(-net.encoder.min_side(net.style.seen) // played.multiple) * played.multiple
    smallest = max(seen, played.min_size)
    return replace(played, code_size=net.transform.code_size, min_size=smallest)


def before_export(net: Network) -> None:
    """Round the weights of P's linear layers to float16, in which the engine stores them."""
    for module in net.style.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = module.weight.data.half().to(module.weight.dtype)


METHOD = Method(
    name="prediction",
    title="Style prediction (Ghiasi et al., BMVC 2017): any style at the speed of a bank",
    example="st-train prediction --content photos/ --style paintings/ -o anything.pt",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=2_000,
    rates={"style": STYLE_RATE},
    temporal=True,
    begin=begin,
    before_export=before_export,
)
