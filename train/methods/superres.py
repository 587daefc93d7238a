"""Super-resolution by perceptual losses: pictures enlarged by 4 or 8.

Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
ECCV 2016, arXiv:1603.08155, section 4.2. The input is the photograph, blurred (σ = 1) and reduced
by bicubic interpolation. The loss compares the features of the output with those of the photograph
(eq. 2). The runtime matches the histogram of the output to the input's.

    st-train superres --factor 4 --content photos/ -o x4.pt

Differences from the paper:

- The distance is relative. The network learns a correction of bilinear interpolation, which is a
  better start than gray.
- No batch normalization: an output pixel depends on its neighborhood alone, so pictures of any size
  can be enlarged in tiles. Nearest upsampling and reflection padding replace transposed
  convolutions and zeros.
- `--loss-network squeezenet` trains at a fraction of the cost. Its first layer has stride 2, so it
  sees fine detail less well; add `--pixel-weight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.base import FeatureNetwork
from st.train.losses.basic import relative_distance, total_variation
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.transform import ReflectConv, UpsampleConv
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

BLUR = 1.0  # standard deviation of the blur before reduction, in pixels
FACTORS = ("4", "8")


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(20_000)
    size: int = size_option(288, ", before they are reduced")
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(1e-3)
    factor: str = option("4", "Enlargement.", choices=FACTORS)
    width: int = option(64, "Channels.", 1)
    blocks: int = option(4, "Number of residual blocks.", 0)
    kernel: int = option(9, "Side of the first and last convolution's kernel; odd.", 1)
    loss_network: str = loss_network_option("vgg16")
    content_weight: float = option(1.0, "Weight of the relative distance of features.", 0)
    pixel_weight: float = by_network(
        {"squeezenet": 20.0, "vgg16": 0.0},
        "Weight of the mean squared difference of pixels; the paper has none.",
        0,
    )
    tv_weight: float = option(0.1, "Weight of the total variation.", 0)
    content_layer: str = by_network(
        {"squeezenet": "fire2", "vgg16": "relu2_2"}, CONTENT_LAYER_HELP, choices=LAYERS
    )

    def __post_init__(self) -> None:
        fill_defaults(self, self.loss_network)
        check_layers(self.loss_network, [self.content_layer])


class Network(nn.Module):
    """content (N, 3, h, w), RGB, 0..1 -> pictures (N, 3, factor·h, factor·w), not clamped."""

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        width, kernel = config.width, config.kernel // 2 * 2 + 1
        self.factor = int(config.factor)
        self.first = ReflectConv(3, width, kernel)
        self.residual = nn.ModuleList(
            ReflectConv(width, width, 3) for _ in range(2 * config.blocks)
        )
        doublings = self.factor.bit_length() - 1
        self.up = nn.ModuleList(UpsampleConv(width, width) for _ in range(doublings))
        self.last = ReflectConv(width, 3, kernel)
        with torch.no_grad():
            self.last.weight *= 0.1

    def forward(self, content: Tensor) -> Tensor:
        x = torch.relu(self.first(content))
        for one, two in zip(self.residual[::2], self.residual[1::2], strict=True):
            x = x + two(torch.relu(one(x)))
        for conv in self.up:
            x = torch.relu(conv(x))
        scale = float(self.factor)
        enlarged = functional.interpolate(
            content, scale_factor=scale, mode="bilinear", align_corners=False
        )
        return enlarged + self.last(x)


def degrade(pictures: Tensor, factor: int) -> Tensor:
    """The paper's low-resolution input: blurred, then reduced by bicubic interpolation.

    (N, 3, H, W), sides multiples of factor -> (N, 3, H / factor, W / factor).
    """
    reach = round(3 * BLUR)
    places = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    bell = torch.exp(-places.square() / (2 * BLUR**2))
    bell = (bell / bell.sum()).repeat(3, 1, 1, 1)
    padded = functional.pad(pictures, [reach] * 4, mode="reflect")
    blurred = functional.conv2d(padded, bell, groups=3)
    blurred = functional.conv2d(blurred, bell.transpose(2, 3), groups=3)
    small = functional.interpolate(
        blurred,
        scale_factor=1 / factor,
        mode="bicubic",
        antialias=True,
        recompute_scale_factor=True,
    )
    return small.clamp(0, 1)


def _whole(pictures: Tensor, factor: int) -> Tensor:
    """Cropped at the bottom and right to sides that are multiples of the factor."""
    height, width = (side // factor * factor for side in pictures.shape[2:])
    return pictures[..., :height, :width]


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> None:
    """Nothing to prepare: the photographs are the targets."""


def step(
    net: nn.Module, loss_network: FeatureNetwork, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 2: the reduced crop, enlarged by the network, compared with the crop."""
    factor, layer = cast(Network, net).factor, config.content_layer
    want = _whole(shifted(batch.content, batch.shift), factor)
    with torch.autocast(want.device.type, enabled=False):
        small = degrade(want, factor)
    made = net(small)
    with torch.no_grad():
        features = loss_network(want, [layer])[layer]
    content = relative_distance(loss_network(made, [layer])[layer], features)
    terms = {
        "content": config.content_weight * content,
        "tv": config.tv_weight * total_variation(made),
    }
    if config.pixel_weight:
        terms["pixel"] = config.pixel_weight * functional.mse_loss(made.float(), want)
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """A preview: the picture, reduced and enlarged again."""
    factor = cast(Network, net).factor
    whole = _whole(content, factor)
    made = net(degrade(whole, factor))
    missing = [n - m for n, m in zip(content.shape[2:], whole.shape[2:], strict=True)]
    return functional.pad(made, [0, missing[1], 0, missing[0]], mode="replicate")


def export_spec(net: Network) -> ExportSpec:
    edge = net.last.kernel_size[0] // 2
    # The last convolutions are on finer maps: a pixel of the input holds several of their cells.
    halo = edge + len(net.residual) + len(net.up) + -(-edge // net.factor) + 1
    return ExportSpec(min_size=2 * max(edge, 1), halo=halo, scale=net.factor)


METHOD = Method(
    name="superres",
    title="Super-resolution by perceptual losses (Johnson et al., ECCV 2016): ×4 and ×8",
    example="st-train superres --factor 4 --content photos/ -o x4.pt",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=300,
    content_only=True,
)
