"""Conditional instance normalization: many styles, one network.

Dumoulin, Shlens and Kudlur, "A learned representation for artistic style", ICLR 2017,
arXiv:1610.07629. All styles share the convolutions. A style is a row of the bank: a scale and a
shift for each channel of each instance norm (eq. 5). Any convex blend of rows is a style, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.base import FeatureNetwork
from st.train.losses.basic import raster, wide
from st.train.losses.perceptual import Grams
from st.train.losses.temporal import EVERY_HELP, WEIGHT_HELP, temporal_terms
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.transform import Norm, TransformNet, instance_norm, parse_shape
from st.train.perceptual_loss import (
    RASTER_HELP,
    Perceptual,
    named_grams,
    of_index,
    perceptual_terms,
)
from st.train.settings import (
    by_network,
    learning_rate_option,
    option,
    shape_option,
    steps_option,
    style_size_option,
)

# The scales and shifts of a style get gradients only in the steps that use it, and only they differ
# between styles: at the convolutions' rate, all styles look alike for thousands of steps.
BANK_RATE = 5.0
# Mean squared errors are about 0.01 where the other terms are about 5.
TEACHER_WEIGHT = 100.0


@dataclass(frozen=True)
class Config(Perceptual):
    steps: int = steps_option(30_000)
    learning_rate: float = learning_rate_option(2e-3)
    shape: str = shape_option("faster")
    style_size: int = style_size_option(384)
    raster_weight: float = by_network({"squeezenet": 1_000.0, "vgg16": 3_000.0}, RASTER_HELP, 0)
    temporal_weight: float = option(0.0, WEIGHT_HELP, 0)
    temporal_every: int = option(1, EVERY_HELP, 1)
    teacher: str = option(
        "",
        "Engine or checkpoint whose paintings are copied in the first steps: of any style, or of "
        "the same styles in the same order.",
    )
    taught: int = option(2_000, "Steps that copy the teacher's paintings, pixel by pixel.", 0)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1; convex weights over styles (N or 1, S) -> pictures, 0..1."""

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.transform = TransformNet(parse_shape(config.shape))
        self.bank = nn.Parameter(self.transform.plain_code().repeat(len(names), 1))

    def forward(self, content: Tensor, weights: Tensor, norm: Norm = instance_norm) -> Tensor:
        with torch.autocast(content.device.type, enabled=False):
            code = weights @ self.bank
        return self.transform(content, code, norm)

    def one_hot(self, index: Tensor) -> Tensor:
        """Weights of unblended styles: (N,) -> (N, S)."""
        return nn.functional.one_hot(index, len(self.bank)).to(self.bank.dtype)


@dataclass(frozen=True)
class Targets:
    """grams: of the S style pictures, by scale and layer.

    teacher: (content (N, 3, H, W), style index (N,)) -> the paintings to copy; None for none.
    """

    grams: dict[float, Grams]
    teacher: Callable[[Tensor, Tensor], Tensor] | None


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> Targets:
    """The Gram matrices of the style pictures, computed once."""
    return Targets(named_grams(loss_network, styles, config), None)


def teach(targets: Targets, teacher: Callable[[Tensor, Tensor], Tensor]) -> Targets:
    """The targets with what to copy in the first steps."""
    return replace(targets, teacher=teacher)


def step(
    net: nn.Module,
    loss_network: FeatureNetwork,
    targets: Targets,
    batch: Batch,
    config: Config,
) -> dict[str, Tensor]:
    """Eq. 1-4: content and style distances of the paintings, each crop in its own style.

    With a teacher, the first steps use the distance from its paintings instead: a small network
    learns from these in minutes what it learns from the styles in an hour.
    """
    network = cast(Network, net)
    weights = network.one_hot(batch.index)
    painted = network(batch.content, weights)
    smooth = config.raster_weight * raster(painted, network.transform.multiple)
    if targets.teacher is not None and batch.step < config.taught:
        with torch.no_grad():
            shown = targets.teacher(batch.content, batch.index)
        distance = functional.mse_loss(wide(painted), wide(shown))
        return {"teacher": TEACHER_WEIGHT * distance, "raster": smooth}

    def paint_later(frames: Tensor) -> Tensor:
        return net(frames, weights[: len(frames)])

    grams = of_index(targets.grams, batch.index)
    return {
        **perceptual_terms(loss_network, painted, grams, batch, config),
        "raster": smooth,
        **temporal_terms(painted, batch.motion, paint_later, config.temporal_weight),
    }


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of that index."""
    chosen = torch.tensor([index], device=content.device)
    return net(content, cast(Network, net).one_hot(chosen))


def export_spec(net: Network) -> ExportSpec:
    return net.transform.export_spec(controls=("weights",))


METHOD = Method(
    name="cin",
    title="Conditional instance norm (Dumoulin et al., ICLR 2017): many styles, one network",
    example="st-train cin --content photos/ --style paintings/ -o bank.pt",
    config=Config,
    styles="many",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=1_000,
    rates={"bank": BANK_RATE},
    bank="bank",
    temporal=True,
    teach=teach,
)
