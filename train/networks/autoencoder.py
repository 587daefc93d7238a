"""Pretrained encoders, and decoders that invert them, for the methods of any style.

Two encoders: VGG-16, as in the papers, with its mirror as decoder; and SqueezeNet 1.1, whose
features cost a fiftieth of VGG's, with a narrow decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from st.train.features.base import FeatureNetwork
from st.train.features.squeezenet import Fire, SqueezeNet
from st.train.features.vgg import VGG, WIDTHS, layer_names
from st.train.losses.basic import wide
from st.train.networks.transform import ReflectConv, UpsampleConv

FULL = WIDTHS[0]  # channels of VGG's first block: the width of a decoder that is its mirror
# Channels of a decoder of SqueezeNet at 1/1, 1/2, … 1/16 of the image, relative to `width`.
PROPORTIONS = (0.5, 1, 2, 3, 4)


@dataclass(frozen=True)
class Level:
    """A layer of an encoder that decoders invert.

    layer: its name. channels: of its features. stride: pixels of the image per cell.
    """

    layer: str
    channels: int
    stride: int


LEVELS = {  # by number, as the papers count VGG's blocks
    "squeezenet": {
        1: Level("conv1", 64, 2),
        2: Level("fire3", 128, 4),
        3: Level("fire5", 256, 8),
        4: Level("fire7", 384, 16),
        5: Level("fire9", 512, 16),
    },
    "vgg16": {
        n: Level(f"relu{n}_1", channels, 1 << (n - 1)) for n, channels in enumerate(WIDTHS, 1)
    },
}
WIDTH = {"squeezenet": 32, "vgg16": FULL}  # of the decoders, by default
WIDTH_HELP = (
    "Channels of the decoder: at half the size of the image for squeezenet, of the last block for "
    f"vgg16, where {FULL} mirrors VGG."
)


def encoder(network: str, level: int) -> FeatureNetwork:
    """An encoder up to a level, with reflection padding; `fill` gives it its weights."""
    last = LEVELS[network][level].layer
    if network == "squeezenet":
        return SqueezeNet(last, padding_mode="reflect")
    return VGG(16, padding_mode="reflect", last=last)


def student(level: int, width: int) -> VGG:
    """A narrow VGG-16 up to a level, to be trained, with He's initial weights."""
    last = LEVELS["vgg16"][level].layer
    made = VGG(16, padding_mode="reflect", last=last, width=width).requires_grad_(True)
    for conv in made.children():
        he(cast(nn.Conv2d, conv))
    return made


def fill(
    encoder: FeatureNetwork,
    pretrained: FeatureNetwork,
    pictures: Sequence[Tensor],
    layers: Sequence[str],
) -> None:
    """Copy the pretrained weights, and scale these layers to a mean square of 1 on the pictures.

    Published weights differ in scale by a factor of a hundred; no decoder should have to learn
    that first. The weights of fires are rounded to float16, in which engines store them.
    """
    weights = pretrained.state_dict()
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    seen = [encoder(picture, layers) for picture in pictures]
    for layer in layers:
        energy = torch.stack([wide(found[layer]).square().mean() for found in seen]).mean()
        encoder.scale_layer(layer, float(energy.rsqrt()))
    for fire in (module for module in encoder.children() if isinstance(module, Fire)):
        for parameter in fire.parameters():
            parameter.data = parameter.data.half().to(parameter.dtype)


def decoder(network: str, level: int, width: int) -> nn.Sequential:
    """Features of an encoder's level (N, C, H, W) -> pictures, about 0..1, not clamped."""
    return squeezenet_decoder(level, width) if network == "squeezenet" else mirror(level, width)


def squeezenet_decoder(level: int, width: int, inputs: int = 0, before: int = 0) -> nn.Sequential:
    """A decoder of SqueezeNet: features (N, C, H, W) -> pictures, about 0..1, not clamped.

    Two 3x3 convolutions at each size, of which the second ends in a nearest x2 upsampling. width:
    channels at half the size; see PROPORTIONS for the others. inputs: C, by default the level's.
    before: further convolutions at the first size.
    """
    start = LEVELS["squeezenet"][level]
    widths = [max(1, round(width * proportion)) for proportion in PROPORTIONS]
    inputs, layers = inputs or start.channels, list[nn.Module]()
    first = start.stride.bit_length() - 1
    for _ in range(before):
        layers += [ReflectConv(inputs, widths[first], 3), nn.ReLU()]
        inputs = widths[first]
    for size in range(first, 0, -1):
        own, finer = widths[size], widths[size - 1]
        layers += [ReflectConv(inputs, own, 3), nn.ReLU()]
        layers += [UpsampleConv(own, finer), nn.ReLU()]
        inputs = finer
    made = nn.Sequential(*layers, ReflectConv(inputs, 3, 3))
    initialize(made)
    return made


def mirror(level: int, width: int = FULL, inputs: int = 0, depth: int = 16) -> nn.Sequential:
    """A decoder of VGG: features of a level (N, C, H, W) -> pictures, about 0..1, not clamped.

    VGG in reverse, with a nearest x2 upsampling for each pooling. width: channels of the last
    block; those of the others are in proportion, and FULL is VGG. inputs: C, VGG's by default.
    depth: VGG's, 16 or 19.
    """
    layers: list[nn.Module] = []
    names = layer_names(depth)
    backwards = names[names.index(LEVELS["vgg16"][level].layer) :: -1]
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
    """Output channels of a convolution's mirror: the inputs of VGG's, in proportion to `width`."""
    following = dict(pairwise(convolutions))
    if name not in following:
        return 3
    block = int(following[name][4])
    return WIDTHS[block - 1] * width // FULL


def initialize(decoder: nn.Sequential) -> None:
    """He's initial weights, with a last layer whose output is near mid-gray.

    A decoder has no norms. torch's default weights would shrink the signal to a hundredth, to a
    black picture at first, and to twice the loss after the first steps.
    """
    *rest, last = (layer for layer in decoder if isinstance(layer, nn.Conv2d))
    for conv in (*rest, last):
        he(conv)
    with torch.no_grad():
        last.weight *= 0.25
        cast(Tensor, last.bias).fill_(0.5)


def he(conv: nn.Conv2d) -> None:
    """He's initial weights and no bias: with a ReLU after it, the signal keeps its scale."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(cast(Tensor, conv.bias))


def reach(encoder: FeatureNetwork, layer: str, decoder: nn.Sequential, stride: int) -> int:
    """Receptive radius of a decoded pixel, in pixels.

    layer: the deepest of the encoder's that are decoded. stride: pixels per cell of the decoder's
    input.
    """
    radius = encoder.geometry(layer).radius
    for module in decoder:
        stride //= 2 if isinstance(module, UpsampleConv) else 1
        radius += stride if isinstance(module, ReflectConv) else 0
    return radius
