"""VGG-16 and VGG-19 up to relu5_x, layers by name. Simonyan and Zisserman, arXiv:1409.1556."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from st.train.features.base import FeatureNetwork, Geometry

CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def layer_names(depth: int) -> list[str]:
    """All layers in order: conv1_1, relu1_1, … pool1, conv2_1, …"""
    names = []
    for block, count in enumerate(CONVOLUTIONS[depth], 1):
        for i in range(1, count + 1):
            names += [f"conv{block}_{i}", f"relu{block}_{i}"]
        names.append(f"pool{block}")
    return names


class VGG(FeatureNetwork):
    """The convolutional part of VGG, frozen, as a function from images to named activations.

    `mean` and `std` normalize the input and come with the weights (RGB, units of 0..1).
    pooling: "max" as trained, or "average", which Gatys et al. found smoother.
    padding_mode: "zeros" as trained, or "reflect", for encoders whose features are decoded.
    last: the deepest layer.
    width: channels of the first block; the other blocks are scaled in proportion. 64 is VGG; there
        are no published weights for other widths.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        depth: int = 16,
        pooling: str = "max",
        padding_mode: Literal["zeros", "reflect"] = "zeros",
        last: str = "pool5",
        width: int = WIDTHS[0],
    ) -> None:
        super().__init__()
        self.depth = depth
        self.pooling = pooling
        names = layer_names(depth)
        self.names = names[: names.index(last) + 1]
        inputs = 3
        for name in self.names:
            if name.startswith("conv"):
                outputs = WIDTHS[int(name[4]) - 1] * width // WIDTHS[0]
                conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding_mode)
                self.add_module(name, conv)
                inputs = outputs
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Activations of the named layers, in one pass that ends at the deepest of them.

        images: (N, 3, H, W), RGB, 0..1. Result: {"relu3_1": (N, 256, H/4, W/4), …}.
        Raises KeyError for a layer that this network does not have.
        """
        wanted = set(layers)
        if unknown := wanted - set(self.names):
            raise KeyError(
                f"VGG-{self.depth} up to {self.names[-1]} has no layer {sorted(unknown)[0]!r}"
            )
        found: dict[str, Tensor] = {}
        x = (images - self.mean) / self.std
        for name in self.names:
            if len(found) == len(wanted):
                break
            if name.startswith("conv"):
                x = self.get_submodule(name)(x)
            elif name.startswith("relu"):
                x = torch.relu(x)
            elif self.pooling == "max":
                x = nn.functional.max_pool2d(x, 2)
            else:
                x = nn.functional.avg_pool2d(x, 2)
            if name in wanted:
                found[name] = x
        return found

    def min_side(self, layers: Iterable[str]) -> int:
        """Smallest side, in pixels: a factor of 2 for each pooling up to the deepest layer."""
        return max(self.geometry(layer).stride for layer in layers)

    def geometry(self, layer: str) -> Geometry:
        radius, stride = 0, 1
        for name in self.names[: self.names.index(layer) + 1]:
            stride *= 2 if name.startswith("pool") else 1
            radius += stride if name.startswith("conv") else 0
        return Geometry(radius, stride)

    def scale_layer(self, layer: str, factor: float) -> None:
        """See FeatureNetwork. layer: a relu layer. ReLU and pooling are positively homogeneous."""
        name = layer.replace("relu", "conv")
        for parameter in self.get_submodule(name).parameters():
            parameter.data *= factor
        convolutions = [name for name in self.names if name.startswith("conv")]
        for following in convolutions[convolutions.index(name) + 1 :][:1]:
            cast(nn.Conv2d, self.get_submodule(following)).weight.data /= factor
