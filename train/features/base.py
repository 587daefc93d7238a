"""What losses and encoders need of a pretrained network, whichever it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn


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
        """Pixels that an image's sides need, at least, for these layers to have any cell."""
