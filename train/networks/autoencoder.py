"""VGG as an encoder, and decoders that mirror it: what the methods of any style paint with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from st.train.features.vgg import VGG, WIDTHS, layer_names
from st.train.losses.basic import wide
from st.train.networks.transform import ReflectConv, UpsampleConv

FULL = WIDTHS[0]  # channels of VGG's first block: the width of a decoder that is its mirror


def deepest(level: int) -> str:
    """The layer that ends a level, 1 to 5: relu1_1, relu2_1, …"""
    return f"relu{level}_1"


def stride(level: int) -> int:
    """Pixels of the picture to a step on a level's features."""
    return 1 << (level - 1)


def encoder(level: int) -> VGG:
    """VGG-16 up to a level, with reflection padding; `fill` gives it its weights."""
    return VGG(16, padding_mode="reflect", last=deepest(level))


def student(level: int, width: int) -> VGG:
    """A narrow VGG up to a level, to be trained: He's weights."""
    made = VGG(16, padding_mode="reflect", last=deepest(level), width=width).requires_grad_(True)
    for conv in made.children():
        he(cast(nn.Conv2d, conv))
    return made


def fill(encoder: VGG, vgg: VGG, pictures: Sequence[Tensor], levels: Sequence[int]) -> None:
    """Take over VGG's weights, with these levels scaled to a mean square of 1 on the pictures.

    Published weights differ in scale by a hundred; no decoder shall have to learn that first. The
    layer after a level undoes its factor: relu and pooling keep one, so nothing else changes.
    """
    weights = vgg.state_dict()
    encoder.load_state_dict({k: weights[k] for k in encoder.state_dict()})
    layers = [deepest(level) for level in levels]
    seen = [encoder(picture, layers) for picture in pictures]
    convolutions = [name for name in encoder.names if name.startswith("conv")]
    following = dict(pairwise(convolutions))
    for layer in layers:
        energy = torch.stack([wide(found[layer]).square().mean() for found in seen]).mean()
        name = layer.replace("relu", "conv")
        for parameter in encoder.get_submodule(name).parameters():
            parameter.data /= energy.sqrt()
        if name in following:
            after = cast(nn.Conv2d, encoder.get_submodule(following[name]))
            after.weight.data *= energy.sqrt()


def mirror(level: int, width: int = FULL, inputs: int = 0, depth: int = 16) -> nn.Sequential:
    """A decoder: features of a level (N, C, H, W) -> pictures, about 0..1, not clamped.

    VGG backwards, a pooling becoming a nearest ×2. width: of its last block; FULL is VGG's, and the
    others keep their ratio to it. inputs: C, VGG's by default. depth: VGG's, 16 or 19.
    """
    layers: list[nn.Module] = []
    names = layer_names(depth)
    backwards = names[names.index(deepest(level)) :: -1]
    convolutions = [name for name in backwards if name.startswith("conv")]
    inputs, pooled = inputs or WIDTHS[level - 1], False
    for name in backwards:
        if name.startswith("pool"):
            pooled = True
        elif name.startswith("conv"):
            outputs = _narrowed(convolutions, name, width)
            layers.append(
                UpsampleConv(inputs, outputs) if pooled else ReflectConv(inputs, outputs, 3)
            )
            layers.append(nn.ReLU())
            inputs, pooled = outputs, False
    decoder = nn.Sequential(*layers[:-1])
    initialize(decoder)
    return decoder


def _narrowed(convolutions: Sequence[str], name: str, width: int) -> int:
    """Channels that the mirror of a convolution gives: what VGG's takes, narrowed."""
    following = dict(pairwise(convolutions))
    if name not in following:
        return 3
    block = int(following[name][4])
    return WIDTHS[block - 1] * width // FULL


def initialize(decoder: nn.Sequential) -> None:
    """He's weights and a last layer that begins near mid-gray.

    With no norm in the decoder, torch's defaults would shrink the signal to a hundredth: a black
    picture to begin with, and twice the loss after the first steps.
    """
    *rest, last = (layer for layer in decoder if isinstance(layer, nn.Conv2d))
    for conv in (*rest, last):
        he(conv)
    with torch.no_grad():
        last.weight *= 0.25
        cast(Tensor, last.bias).fill_(0.5)


def he(conv: nn.Conv2d) -> None:
    """He's weights, no bias: a relu after it keeps the signal's scale."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(cast(Tensor, conv.bias))


def reach(encoder: VGG, decoder: nn.Sequential) -> int:
    """Pixels around a place that what they paint there depends on."""
    pixels, step = 0, 1
    for name in encoder.names:
        step *= 2 if name.startswith("pool") else 1
        pixels += step if name.startswith("conv") else 0
    for layer in decoder:
        step //= 2 if isinstance(layer, UpsampleConv) else 1
        pixels += step if isinstance(layer, ReflectConv) else 0
    return pixels
