"""StyleBank: an auto-encoder with one bank of filters per style between encoder and decoder.

Chen, Yuan, Liao, Yu and Hua, "StyleBank: an explicit representation for neural image style
transfer", CVPR 2017, arXiv:1703.09210. Encoder and decoder alone reconstruct the picture. A style
is a convolution of the features, F_i = K_i ⊗ F (eq. 1). Steps for the styles and for the
reconstruction alternate (T + 1 training, Algorithm 1).

    st-train stylebank --content photos/ --style paintings/ -o bank.pt
    st-train stylebank --add-style wave.jpg --from bank.pt --content photos/ -o more.pt

Styles are blended by weights (the paper's linear fusion), or by weight maps for regions (its region
fusion).

Differences from the paper: distances are relative, so one weight suits every style. A bank is
initialized as the identity, so a style starts from the photograph. Nearest upsampling and
reflection padding replace strided transposed convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.base import FeatureNetwork
from st.train.losses.basic import raster, wide
from st.train.losses.perceptual import Grams
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.transform import InstanceNorm, Norm, ReflectConv, UpsampleConv, instance_norm
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
    steps_option,
    style_size_option,
)

MULTIPLE = 4  # pixels per cell of the features
KERNEL = 3  # of a bank's filters


@dataclass(frozen=True)
class Config(Perceptual):
    steps: int = steps_option(20_000)
    learning_rate: float = learning_rate_option(2e-3)
    width: int = option(32, "Channels at full size; the features have 4 times as many.", 4)
    kernel: int = option(9, "Side of the first and the last convolution's kernels, odd.", 1)
    style_size: int = style_size_option(384)
    turns: int = option(2, "The paper's T: stylizing steps per reconstructing step.", 1)
    balance: float = option(
        1.0, "The paper's λ: weight of a reconstructing step relative to a stylizing one.", 0
    )
    raster_weight: float = by_network({"squeezenet": 1_000.0, "vgg16": 3_000.0}, RASTER_HELP, 0)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1; weights over the styles; strength (1,) -> pictures, 0..1.

    H and W are multiples of 4. weights: (N or 1, S), convex, or weight maps (N, S, H/4, W/4), which
    add up to 1 at each cell. Strength 0 is the photograph as the auto-encoder reconstructs it.
    """

    gradient: Tensor

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        widths = (config.width, 2 * config.width, 4 * config.width)
        kernel = config.kernel // 2 * 2 + 1
        self.config = config
        self.down = nn.ModuleList(
            [
                ReflectConv(3, widths[0], kernel),
                *(ReflectConv(i, o, 3, stride=2) for i, o in pairwise(widths)),
            ]
        )
        self.up = nn.ModuleList(UpsampleConv(i, o) for i, o in pairwise(reversed(widths)))
        self.norms = nn.ModuleList(InstanceNorm(c) for c in (*widths, widths[1], widths[0]))
        self.last = ReflectConv(widths[0], 3, kernel)
        one = nn.init.dirac_(torch.empty(widths[2], widths[2], KERNEL, KERNEL))
        noise = 0.1 * torch.randn(len(names), *one.shape) / (KERNEL * widths[2] ** 0.5)
        self.bank = nn.Parameter(one + noise)
        # Norm of the auto-encoder's gradient in the last stylizing step, for Algorithm 1.
        self.register_buffer("gradient", torch.zeros(()))

    def encode(self, content: Tensor, norm: Norm = instance_norm) -> Tensor:
        """Pictures -> features (N, 4 * width, H/4, W/4)."""
        x = content
        for conv, own in zip(self.down, list(self.norms)[:3], strict=True):
            x = torch.relu(own(conv(x), norm))
        return x

    def decode(self, features: Tensor, norm: Norm = instance_norm) -> Tensor:
        """Features -> pictures, 0..1."""
        x = features
        for conv, own in zip(self.up, list(self.norms)[3:], strict=True):
            x = torch.relu(own(conv(x), norm))
        return torch.sigmoid(self.last(x))

    def stylize(self, features: Tensor, weights: Tensor) -> Tensor:
        """Eq. 1: the features, filtered by a blend of the banks; with maps, by one per region."""
        if weights.ndim == 4:
            parts = [_filter(features * weights[:, s, None], k) for s, k in enumerate(self.bank)]
            return torch.stack(parts).sum(0)
        # A sum of convolutions is a convolution with the sum: a blend costs as much as a style.
        with torch.autocast(features.device.type, enabled=False):
            banks = (weights @ self.bank.flatten(1)).unflatten(1, self.bank.shape[1:])
        if len(weights) == 1:
            return _filter(features, banks[0])
        return torch.cat([_filter(f[None], k) for f, k in zip(features, banks, strict=True)])

    def forward(
        self, content: Tensor, weights: Tensor, strength: Tensor, norm: Norm = instance_norm
    ) -> Tensor:
        features = self.encode(content, norm)
        styled = self.stylize(features, weights)
        strength = strength[..., None, None, None]
        return self.decode(features + strength * (styled - features), norm)

    def reconstruct(self, content: Tensor) -> Tensor:
        """The auto-encoder branch: no bank at all."""
        return self.decode(self.encode(content))

    def one_hot(self, index: Tensor) -> Tensor:
        """Weights of unblended styles: (N,) -> (N, S)."""
        return functional.one_hot(index, len(self.bank)).to(self.bank.dtype)

    def shared(self) -> list[nn.Parameter]:
        """What is trained of the auto-encoder: all but the bank."""
        own = [p for name, p in self.named_parameters() if name != "bank"]
        return [p for p in own if p.requires_grad]


def _filter(features: Tensor, kernel: Tensor) -> Tensor:
    """⊗ of eq. 1, reflected at the border."""
    side = KERNEL // 2
    return functional.conv2d(functional.pad(features, [side] * 4, mode="reflect"), kernel)


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> dict[float, Grams]:
    """Gram matrices of the style pictures by scale and layer, each (S, C, C): computed once."""
    return named_grams(loss_network, styles, config)


def reconstructs(step: int, config: Config) -> bool:
    """Whether a step of that number is the last of T + 1."""
    return step % (config.turns + 1) == config.turns


def step(
    net: nn.Module,
    loss_network: FeatureNetwork,
    grams: dict[float, Grams],
    batch: Batch,
    config: Config,
) -> dict[str, Tensor]:
    """T times eq. 3, the stylizing branch; then once eq. 2, the auto-encoder's.

    Where the auto-encoder is frozen, as for --add-style, there is nothing to reconstruct for.
    """
    network = cast(Network, net)
    if reconstructs(batch.step, config) and network.shared():
        again = wide(network.reconstruct(batch.content))
        return {"same": functional.mse_loss(again, batch.content)}
    full = batch.content.new_ones(1)
    painted = net(batch.content, network.one_hot(batch.index), full)
    return {
        **perceptual_terms(loss_network, painted, of_index(grams, batch.index), batch, config),
        "raster": config.raster_weight * raster(painted, MULTIPLE),
    }


def balance(net: nn.Module, step: int) -> None:
    """Algorithm 1: a reconstructing step weighs λ times what the stylizing step before it did."""
    network = cast(Network, net)
    gradients = [p.grad for p in network.shared() if p.grad is not None]
    if not gradients:
        return
    norm = torch.stack([g.norm() for g in gradients]).norm()
    if not reconstructs(step, network.config):
        network.gradient.copy_(norm)
        return
    for gradient in gradients:
        gradient *= network.config.balance * network.gradient / norm.clamp_min(1e-12)


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of that index."""
    chosen = torch.tensor([index], device=content.device)
    return net(content, cast(Network, net).one_hot(chosen), content.new_ones(1))


def export_spec(net: Network) -> ExportSpec:
    strides = (1, 2, MULTIPLE, 2, 1)
    edges = net.last.kernel_size[0] // 2
    convolutions = 2 * edges + sum(strides[1:]) + KERNEL // 2 * MULTIPLE
    halo = -(-(convolutions + 2 * MULTIPLE) // MULTIPLE) * MULTIPLE
    norms = tuple(
        (cast(InstanceNorm, own).scale.shape[1], stride)
        for own, stride in zip(net.norms, strides, strict=True)
    )
    return ExportSpec(("weights", "strength"), MULTIPLE, 4 * MULTIPLE, halo, norms)


METHOD = Method(
    name="stylebank",
    title="StyleBank (Chen et al., CVPR 2017): an auto-encoder and one filter bank a style",
    example="st-train stylebank --content photos/ --style paintings/ -o bank.pt",
    config=Config,
    styles="many",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=1_000,
    bank="bank",
    balance=balance,
)
