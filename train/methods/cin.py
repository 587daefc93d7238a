"""Conditional instance normalization: many styles, one network.

Dumoulin, Shlens and Kudlur, "A learned representation for artistic style", ICLR 2017,
arXiv:1610.07629. All styles share the convolutions; a style is a row of the bank: a scale and a
shift for every channel of every instance norm (eq. 5), so any convex blend of rows is a style too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.runtime.errors import BadInput, printable
from st.train.features.vgg import VGG
from st.train.losses.basic import gram, raster, relative_distance, total_variation, wide
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
    style_size_option,
)

if TYPE_CHECKING:
    from st.train.checkpoint import Checkpoint


# The scales and shifts of a style see a gradient only when its turn comes, and they alone tell it
# from the others: at the convolutions' rate the styles look alike for thousands of steps.
BANK_RATE = 5.0
# A mean squared error of 0..1 is some 0.01 where the distances are some 5.
TEACHER_WEIGHT = 100.0


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(5_600)
    size: int = size_option(192)
    batch: int = batch_option(4, ", each with its own style")
    learning_rate: float = learning_rate_option(2e-3)
    shape: str = shape_option("faster")
    style_size: int = style_size_option(384)
    content_weight: float = option(1.7, "of the relative distance of features", 0)
    style_weight: float = option(12.5, "of the relative distance of Gram matrices", 0)
    tv_weight: float = option(4.0, "of the total variation", 0)
    raster_weight: float = option(3000.0, "of what repeats on the network's own raster", 0)
    temporal_weight: float = option(0.0, WEIGHT_HELP, 0)
    temporal_every: int = option(1, EVERY_HELP, 1)
    teacher: str = option(
        "",
        "engine or checkpoint of the same styles in the same order, whose paintings are copied "
        "in the first steps",
    )
    taught: int = option(2_000, "steps that copy the teacher's paintings, pixel by pixel", 0)
    content_layer: str = content_layer_option("relu3_3")
    style_layers: tuple[str, ...] = style_layers_option(
        # The papers begin at relu1_2, which hardly sees brightness: a print's white paper came out
        # gray. relu1_1 sees it.
        "relu1_1",
        "relu1_2",
        "relu2_2",
        "relu3_3",
        "relu4_3",
    )


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
    """grams: of the style pictures by layer, each (S, C, C). teacher: a network to copy."""

    grams: dict[str, Tensor]
    teacher: Network | None


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> Targets:
    """The Gram matrices of the style pictures, made once."""
    rows = [vgg(style, config.style_layers) for style in styles]
    grams = {k: torch.cat([gram(row[k]) for row in rows]) for k in config.style_layers}
    return Targets(grams, None)


def teach(net: nn.Module, targets: Targets, checkpoint: Checkpoint, config: Config) -> Targets:
    """The targets with the network to copy in the first steps.

    Raises BadInput for a teacher of another method or with another number of styles.
    """
    network, shown = cast(Network, net), printable(config.teacher)
    if checkpoint.method != METHOD.name:
        raise BadInput(f"{shown} is of {checkpoint.method}: a teacher must be of {METHOD.name}")
    if len(checkpoint.styles) != len(network.bank):
        raise BadInput(
            f"the teacher {shown} has the styles {', '.join(checkpoint.styles)}: give as many "
            "style pictures, in that order"
        )
    with torch.autocast(network.bank.device.type, enabled=False):
        teacher = cast(Network, checkpoint.network()).to(network.bank.device).eval()
    return replace(targets, teacher=teacher.requires_grad_(False))


def step(
    net: nn.Module, vgg: VGG, targets: Targets, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1-4: content and style distances of what the network paints, each crop in its style.

    Before them, where there is a teacher, the distance from its paintings: a small network reaches
    in minutes there what takes it an hour by the styles alone.
    """
    network, grams = cast(Network, net), targets.grams
    weights = network.one_hot(batch.index)
    whole = network(batch.content, weights)
    if targets.teacher is not None and batch.step < config.taught:
        with torch.no_grad():
            shown = targets.teacher(batch.content, weights)
        return {
            "teacher": TEACHER_WEIGHT * functional.mse_loss(wide(whole), wide(shown)),
            "raster": config.raster_weight * raster(whole, network.transform.multiple),
        }
    painted = shifted(whole, batch.shift)
    with torch.no_grad():
        want = vgg(shifted(batch.content, batch.shift), [config.content_layer])
    got = vgg(painted, {config.content_layer, *config.style_layers})
    style = torch.stack(
        [relative_distance(gram(got[k]), grams[k][batch.index]) for k in config.style_layers]
    )

    def paint_later(frames: Tensor) -> Tensor:
        return net(frames, weights[: len(frames)])

    k = config.content_layer
    return {
        "content": config.content_weight * relative_distance(got[k], want[k]),
        "style": config.style_weight * style.mean(),
        "tv": config.tv_weight * total_variation(painted),
        "raster": config.raster_weight * raster(whole, network.transform.multiple),
        **temporal_terms(whole, batch.motion, paint_later, config.temporal_weight),
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
    config=Config,
    styles="many",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    least_steps=1_000,
    bank="bank",
    temporal=True,
    teach=teach,
    rates={"bank": BANK_RATE},
    example="st-train cin --content photos/ --style paintings/ -o bank.pt",
)
