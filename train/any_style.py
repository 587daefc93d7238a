"""What several any-style methods share: filling the encoder, and painting a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from st.train.features.base import FeatureNetwork
from st.train.networks.autoencoder import fill


def fill_encoder(
    net: Any, pretrained: FeatureNetwork, styles: Sequence[Tensor], config: Any
) -> None:
    """Fill the encoder of a method that trains on photographs alone: they are the targets."""
    fill(net.encoder, pretrained, styles, net.layers)


def paint_with_code(net: Any, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another, or reproduced without a style.

    net: a network with the inputs content, style code and strength.
    """
    code = net.encode_style(content if style is None else style)
    return net(content, code, content.new_tensor([float(style is not None)]))
