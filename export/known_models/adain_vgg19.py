"""naoto0804/pytorch-AdaIN: decoder.pth, with vgg_normalised.pth as its encoder.

Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization",
ICCV 2017, arXiv:1703.06868, eq. 8, with the paper's VGG-19 to relu4_1.

The arithmetic differs from the original's in two details. `ceil_mode` of the poolings is left out,
since it changes nothing if sides are multiples of 8, as those of engines are. In tiles, unbiased
deviations use the size of the tile (a difference of less than 1e-4).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from st.export.known_models.origin import BadEncoder
from st.train.features.vgg import VGG
from st.train.losses.basic import wide
from st.train.method import ExportSpec
from st.train.networks.autoencoder import mirror, reach
from st.train.networks.transform import EPS, Norm, ReflectConv, instance_norm

LAYOUT = "naoto0804/pytorch-AdaIN"
DEEPEST, LEVEL, CHANNELS, MULTIPLE = "relu4_1", 4, 512, 8


class AdaInVgg19(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, 1024), strength (1,) -> pictures.

    H and W are multiples of 8, 16 or more. Pictures are about 0..1, not clamped. A code holds the
    means and the (unbiased) deviations of relu4_1's 512 channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = VGG(19, padding_mode="reflect", last=DEEPEST)
        self.decoder = mirror(LEVEL, depth=19)

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1 -> codes (N, 1024)."""
        features = wide(self.encoder(style, [DEEPEST])[DEEPEST])
        variance, mean = torch.var_mean(features, dim=(2, 3))
        return torch.cat([mean, (variance + EPS).sqrt()], dim=1)

    def forward(
        self, content: Tensor, code: Tensor, strength: Tensor, norm: Norm = instance_norm
    ) -> Tensor:
        features = wide(self.encoder(content, [DEEPEST])[DEEPEST])
        mean, std = code.chunk(2, dim=1)
        places = torch.ones_like(features[:1, :1]).sum()
        unbiased = ((places - 1) / places).sqrt()  # the norm divides by the biased deviation
        styled = norm(features, std * unbiased, mean)
        return self.decoder(features + strength[..., None, None, None] * (styled - features))

    def export_spec(self) -> ExportSpec:
        radius = reach(self.encoder, DEEPEST, self.decoder, MULTIPLE) + MULTIPLE
        halo = -(-radius // MULTIPLE) * MULTIPLE
        return ExportSpec(
            ("code", "strength"),
            multiple=MULTIPLE,
            min_size=2 * MULTIPLE,
            halo=halo,
            norms=((CHANNELS, MULTIPLE),),
            code_size=2 * CHANNELS,
        )


def is_decoder(state: dict[str, Tensor]) -> bool:
    pairs = _convolutions(state)
    return bool(pairs) and [tuple(w.shape) for w, _ in pairs] == _decoder_shapes()


def is_encoder(state: dict[str, Tensor]) -> bool:
    pairs = _convolutions(state)
    return bool(pairs) and tuple(pairs[0][0].shape) == (3, 3, 1, 1)


def network_of(decoder: dict[str, Tensor], vgg: dict[str, Tensor]) -> AdaInVgg19:
    """The network of both files' state dicts. Raises BadEncoder: `vgg` has other layers.

    The encoder's first layer, a 1×1 convolution that normalizes the picture, is folded into the
    next one; with reflection padding that is exact.
    """
    network = AdaInVgg19()
    own = [cast(nn.Conv2d, conv) for conv in network.encoder.children()]
    pairs = _convolutions(vgg)[: 1 + len(own)]
    shapes = [(3, 3, 1, 1), *(tuple(conv.weight.shape) for conv in own)]
    if [tuple(weight.shape) for weight, _ in pairs] != shapes:
        raise BadEncoder(f"not the VGG-19 of {LAYOUT} (vgg_normalised.pth)")
    (mixing, offset), (weight, bias), *rest = pairs
    folded = torch.einsum("okyx,ki->oiyx", weight.double(), mixing[:, :, 0, 0].double())
    shift = bias.double() + torch.einsum("okyx,k->o", weight.double(), offset.double())
    with torch.no_grad():
        for conv, (w, b) in zip(own, [(folded, shift), *rest], strict=True):
            conv.weight.copy_(w)
            cast(Tensor, conv.bias).copy_(b)
        for conv, (w, b) in zip(_decoder_layers(network), _convolutions(decoder), strict=True):
            conv.weight.copy_(w)
            cast(Tensor, conv.bias).copy_(b)
    return network.eval()


def _decoder_layers(network: AdaInVgg19) -> list[ReflectConv]:
    return [layer for layer in network.decoder if isinstance(layer, ReflectConv)]


def _decoder_shapes() -> list[tuple[int, ...]]:
    with torch.device("meta"):
        network = AdaInVgg19()
    return [tuple(layer.weight.shape) for layer in _decoder_layers(network)]


def _convolutions(state: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of an nn.Sequential's state dict, in order; empty if it is none."""
    pairs: list[tuple[Tensor, Tensor]] = []
    numbers = {name.partition(".")[0] for name in state}
    if not numbers or not all(number.isascii() and number.isdigit() for number in numbers):
        return []
    if set(state) != {f"{number}.{part}" for number in numbers for part in ("weight", "bias")}:
        return []
    for number in sorted(numbers, key=int):
        weight, bias = state[f"{number}.weight"], state[f"{number}.bias"]
        if weight.ndim != 4 or tuple(bias.shape) != tuple(weight.shape[:1]):
            return []
        pairs.append((weight, bias))
    return pairs
