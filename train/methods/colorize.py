"""Colors for gray photographs: a U-Net that predicts chroma, polished by a short GAN.

After DeOldify (Antic, 2018), which has no paper. The generator first learns alone, by losses on
pixels and on features of a pretrained network. Then, in rounds, the critic learns alone on the
generator's output, and both learn together for a short time ("NoGAN"). The crops grow during
training.

    st-train colorize --content photos/ -o colorize.pt

Only chroma is predicted, so the luminance of a photograph does not change. The network also takes
hints, after Zhang et al., "Real-time user-guided image colorization with learned deep priors",
SIGGRAPH 2017: colors of single points (section 3.2) and the histogram of a palette (section 3.3).
In training both are drawn at random from the photographs.

Most pixels of photographs are nearly gray or lie between the orange of the sun and the blue of the
sky. A plain regression predicts such colors everywhere: grass turns brown. So each pixel is
weighted by the rarity of its color, as in Zhang, Isola and Efros, ECCV 2016, eq. 4. The density of
chroma in photographs decreases about exponentially, along that axis and twice as fast across it, so
the weight is a formula instead of a table. The mean chroma of a picture has a term of its own
without these weights; otherwise all pictures would become too colorful.

Differences from DeOldify: chroma instead of RGB, a smaller network, hinge losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from st.runtime.engine.metadata import MAX_RENDER, MIN_RENDER
from st.runtime.errors import BadInput
from st.train.features.base import FeatureNetwork
from st.train.features.squeezenet import load_squeezenet
from st.train.features.weights import fill_resnet
from st.train.losses.basic import hinge, relative_distance, wide
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.chroma import chroma_of, joined, luma_of, palette_of, random_hints
from st.train.networks.color_net import MULTIPLE, ColorNet, Critic, SqueezePyramid, VggPyramid
from st.train.perceptual_loss import CONTENT_LAYER_HELP, LAYERS, check_layers
from st.train.settings import (
    batch_option,
    by_network,
    fill_defaults,
    learning_rate_option,
    loss_network_option,
    option,
    size_option,
    steps_option,
)

ENCODERS = ("squeezenet", "vgg", "resnet18", "resnet34", "plain")
# The chroma of photographs: their main axis in (Cb, Cr), from orange to blue, and the mean distance
# from gray along it and across it (principal axes of the 1,712 photographs that were trained on).
AXIS = (-0.824, 0.567)
ALONG, ACROSS = 0.062, 0.029
USUAL = 0.06  # what a difference of chroma is measured in
RAREST = 6.0  # times the mean distances: rarer colors count no more
BEND = 0.05  # a difference of chroma up to which errors count by their square
GRAY = 0.004  # mean magnitude: a photograph without color, which teaches nothing
GROWTH = ((0.3, 0.5), (0.6, 0.75))  # up to a part of the steps, crops of a part of the size
HINTS_EVERY, PALETTE_EVERY = 4, 8  # pictures, one with hints, one with a palette
MAX_HINTS = 12
MIN_SIDE = 2 * MULTIPLE  # pixels
CRITIC_RATE = 0.5  # of the generator's learning rate
PUBLISHED_RATE = 0.2  # of an encoder that learned before


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(12_000)
    size: int = size_option(192, ", at the end")
    batch: int = batch_option(8)
    learning_rate: float = learning_rate_option(1e-3)
    encoder: str = option(
        "squeezenet",
        "Encoder: SqueezeNet, pretrained and fine-tuned; VGG-16 or a ResNet, pretrained and frozen;"
        " or a small network that is not pretrained (plain).",
        choices=ENCODERS,
    )
    width: int = option(32, "Channels of the decoder's last block.", 1)
    critic: int = option(32, "Channels of the critic's first layer.", 1)
    pixel_weight: float = option(1.0, "Weight of the difference of chroma.", 0)
    content_weight: float = option(1.0, "Weight of the relative distance of features.", 0)
    critic_weight: float = option(0.05, "Weight of the critic's score in the joint phases.", 0)
    rarity: float = option(0.4, "Extra weight of rare colors; 0 weights all colors equally.", 0)
    alone: float = option(0.7, "Fraction of the steps in which the generator learns alone.", 0)
    rounds: int = option(3, "Rounds of the critic alone, then both, in the other steps.", 1)
    both: float = option(0.5, "Fraction of a round in which both learn.", 0)
    loss_network: str = loss_network_option("vgg16")
    content_layer: str = by_network(
        {"squeezenet": "fire4", "vgg16": "relu3_3"}, CONTENT_LAYER_HELP, choices=LAYERS
    )

    def __post_init__(self) -> None:
        fill_defaults(self, self.loss_network)
        check_layers(self.loss_network, [self.content_layer])
        if self.encoder == "vgg" and self.loss_network != "vgg16":
            raise BadInput("colorize: the encoder vgg needs vgg16 as loss network too")


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, of any color -> the same luma with other chroma.

    H and W are multiples of 32. hints: (N or 1, 3, H, W). palette: (N or 1, PALETTE). The critic is
    part of the state and colors nothing.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.generator = ColorNet(config.encoder, config.width)
        self.critic = Critic(config.critic)
        self.render_factor = min(MAX_RENDER, max(MIN_RENDER, round(1.5 * config.size / 16)))

    def forward(self, content: Tensor, hints: Tensor, palette: Tensor) -> Tensor:
        luma = luma_of(content)
        return joined(luma, self.generator(luma, hints, palette))

    def fooled(self, pictures: Tensor) -> Tensor:
        """The critic's scores, with no gradient to its own weights."""
        frozen = {k: v.detach() for k, v in self.critic.named_parameters()}
        return cast(Tensor, functional_call(self.critic, frozen, (pictures,)))


def phase(step: int, config: Config) -> str:
    """What learns in a step: "generator", "critic" or "both"."""
    start = config.alone * config.steps
    if step < start:
        return "generator"
    length = (config.steps - start) / config.rounds
    within = (step - start) % length / length
    return "both" if within >= 1 - config.both else "critic"


def working_size(step: int, config: Config) -> int:
    """Side of the crops in a step: a multiple of 32, at least 64."""
    part = next((size for until, size in GROWTH if step < until * config.steps), 1.0)
    return max(MIN_SIDE, int(config.size * part) // MULTIPLE * MULTIPLE)


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> None:
    """Fill the encoder with published weights. Frozen ones are rounded to float16, in which engines
    store them."""
    encoder = cast(Network, net).generator.encoder
    if isinstance(encoder, VggPyramid):
        weights = loss_network.state_dict()
        encoder.vgg.load_state_dict({k: weights[k] for k in encoder.vgg.state_dict()})
    elif isinstance(encoder, SqueezePyramid):
        weights = load_squeezenet().state_dict()
        own = encoder.squeezenet
        own.load_state_dict({name: weights[name] for name in own.state_dict()})
    elif config.encoder.startswith("resnet"):
        fill_resnet(encoder.resnet)
    for weight in encoder.parameters():
        if not weight.requires_grad:
            weight.data = weight.data.half().float()


def rarity(chroma: Tensor, power: float) -> Tensor:
    """Weights of pixels, (N, 1, H, W), 1 on average: exp(power · (|a| / ALONG + |b| / ACROSS)) with
    a and b the chroma along the main axis and across it, bounded."""
    cb, cr = chroma[:, :1], chroma[:, 1:]
    along, across = AXIS[0] * cb + AXIS[1] * cr, AXIS[1] * cb - AXIS[0] * cr
    far = along.abs() / ALONG + across.abs() / ACROSS
    weights = (power * far.clamp_max(RAREST)).exp()
    return weights / weights.mean()


def pixel_distance(got: Tensor, want: Tensor, power: float) -> Tensor:
    """How far chroma is off, over the usual magnitude: rare colors weighed up, and each picture's
    mean besides, which holds no color rarer than another. A scalar."""
    colored = (want.square().sum(1).sqrt().mean(dim=(1, 2)) > GRAY).to(want.dtype)
    apart = functional.smooth_l1_loss(got, want, reduction="none", beta=BEND)
    each = (apart.sum(1, keepdim=True) * rarity(want, power)).mean(dim=(1, 2, 3))
    cast_apart = (got - want).mean(dim=(2, 3)).abs().sum(1)
    return ((each + cast_apart) * colored).mean() / USUAL


def step(
    net: nn.Module, loss_network: FeatureNetwork, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """The terms of the networks that learn in this step."""
    network, who = cast(Network, net), phase(batch.step, config)
    size = working_size(batch.step, config)
    real = batch.content
    if size < real.shape[-1]:
        real = functional.interpolate(real, (size, size), mode="area")
    luma, want = luma_of(real), chroma_of(real)
    random = torch.Generator().manual_seed(batch.seed)
    number = torch.arange(len(real), device=real.device)
    hinted = (number + batch.step) % HINTS_EVERY == 0
    hints = random_hints(want, random, MAX_HINTS) * hinted[:, None, None, None]
    told = (number + batch.step // HINTS_EVERY) % PALETTE_EVERY == 0
    palette = palette_of(want) * told[:, None]
    with torch.set_grad_enabled(who != "critic"):
        got = network.generator(luma, hints, palette)
        made = joined(luma, got)
    terms: dict[str, Tensor] = {}
    if who != "critic":
        layer = config.content_layer
        views = [functional.avg_pool2d(shifted(x, batch.shift), 2) for x in (made, real)]
        with torch.no_grad():
            seen = loss_network(views[1], [layer])[layer]
        distance = relative_distance(loss_network(views[0], [layer])[layer], seen)
        terms["pixel"] = config.pixel_weight * pixel_distance(got, want, config.rarity)
        terms["content"] = config.content_weight * distance
    if who == "both":
        terms["fooling"] = config.critic_weight * -wide(network.fooled(made)).mean()
    if who != "generator":
        judged = network.critic(torch.cat([real, made.detach()]))
        good, bad = judged.chunk(2)
        terms["critic"] = (hinge(good, 1) + hinge(bad, -1)) / 2
    return terms


@torch.no_grad()
def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """A preview: the picture's luma with predicted colors, without hints."""
    network = cast(Network, net)
    training = network.training
    hints, palette = nothing_given(network, content)
    painted = network.eval()(content, hints, palette)
    network.train(training)
    return painted


def nothing_given(network: Network, content: Tensor) -> tuple[Tensor, Tensor]:
    """Empty hints and an empty palette."""
    hints = torch.zeros_like(content[:1])
    return hints, content.new_zeros(1, network.generator.palette.in_features)


def export_spec(net: Network) -> ExportSpec:
    return ExportSpec(("hints", "palette"), MULTIPLE, MIN_SIDE, render_factor=net.render_factor)


METHOD = Method(
    name="colorize",
    title="Colors for gray photographs (after DeOldify, NoGAN): chroma alone, with hints",
    example="st-train colorize --content photos/ -o colorize.pt",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=2_000,
    content_only=True,
    rates={"critic": CRITIC_RATE, "generator.encoder.squeezenet": PUBLISHED_RATE},
)
