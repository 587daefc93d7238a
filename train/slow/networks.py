"""The perceptual network, made ready for an optimization."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from st.runtime.errors import BadInput, printable
from st.train.features import VGG, FeatureNetwork, open_network
from st.train.losses.basic import wide

POOLINGS = ("max", "average")
VGG_SIDE = 24  # pixels: relu4_1 has one 3x3 patch
SQUEEZENET_SIDE = 32


@dataclass(frozen=True)
class Network:
    """A pretrained network: convolutions in bfloat16 if `half`, activations in float32.

    In bfloat16 Gatys' method comes to the same losses in 60 % of the time, on processors that
    compute in it.
    """

    network: FeatureNetwork
    half: bool

    @property
    def names(self) -> list[str]:
        return self.network.names

    @property
    def min_side(self) -> int:
        """Pixels of a short side that all layers can see: SqueezeNet's fire7 needs more."""
        return VGG_SIDE if isinstance(self.network, VGG) else SQUEEZENET_SIDE

    def __call__(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """(1, 3, H, W), RGB, 0..1 -> activations by layer."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
            found = self.network(images, layers)
        return {name: wide(features) for name, features in found.items()}


def perceptual(
    network: FeatureNetwork | None, content: Tensor, pooling: str = "max", name: str = "vgg16"
) -> Network:
    """The network given, or the one of that name, where the content is and in its precision.

    pooling: of VGG. float32 contents are seen in bfloat16 where the device computes in it.
    Raises BadInput.
    """
    if pooling not in POOLINGS:
        raise BadInput(f"pooling {printable(pooling)}: use {' or '.join(POOLINGS)}")
    network = network or open_network(name)
    if isinstance(network, VGG):
        network.pooling = pooling
    network.to(content.device, content.dtype)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Network(network, content.dtype == torch.float32 and _has_bfloat16(content.device))


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
