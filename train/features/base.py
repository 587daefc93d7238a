"""The interface of a pretrained network, for losses and encoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn


class Geometry(NamedTuple):
    """Where a layer's cells lie on the image.

    radius: pixels around a cell that its value depends on. stride: pixels per cell.
    """

    radius: int
    stride: int


class FeatureNetwork(nn.Module):
    """A frozen convolutional network as a function from images to named activations.

    names: all layers, from shallow to deep.
    """

    names: list[str]

    @abstractmethod
    def forward(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Activations of the named layers, in one pass that ends at the deepest of them.

        images: (N, 3, H, W), RGB, 0..1. Result: {layer: (N, C, h, w)}.
        Raises KeyError for a layer that the network does not have.
        """

    @abstractmethod
    def min_side(self, layers: Iterable[str]) -> int:
        """Smallest side of an image, in pixels, for which every layer has at least one cell."""

    @abstractmethod
    def geometry(self, layer: str) -> Geometry:
        """Receptive radius and stride of a layer."""

    @abstractmethod
    def scale_layer(self, layer: str, factor: float) -> None:
        """Multiply a layer's activations by a factor above 0; all other layers keep theirs."""
