"""The exported graphs of a network, with uint8 pictures (N, H, W, 3) as input and output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from st.train.networks.chroma import luma_of
from st.train.networks.transform import EPS


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W), 0..1."""
    return pictures.float().permute(0, 3, 1, 2) / 255  # TensorRT only casts uint8


def to_bytes(images: Tensor) -> Tensor:
    """float (N, 3, H, W), 0..1, -> uint8 (N, H, W, 3), rounded to nearest."""
    return (images * 255).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def onnx_instance_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`st.train.networks.transform.instance_norm` as one ONNX operator, for one style per call.

    By default the exporter writes a norm, a product and a sum: three passes over the feature map.
    """
    return torch.onnx.ops.symbolic(
        "InstanceNormalization",
        (x, scale[0], shift[0]),
        {"epsilon": EPS},
        dtype=x.dtype,
        shape=x.shape,
        version=20,
    )


class FrameGraph(nn.Module):
    """(content, *controls) -> stylized."""

    def __init__(self, network: nn.Module, norm: Callable[..., Tensor] | None) -> None:
        super().__init__()
        self.network = network
        self.settings = {} if norm is None else {"norm": norm}

    def forward(self, content: Tensor, *controls: Tensor) -> Tensor:
        return to_bytes(self.network(to_unit(content), *controls, **self.settings))


class TextureGraph(nn.Module):
    """(noise, *controls) -> stylized."""

    def __init__(self, network: nn.Module, norm: Callable[..., Tensor] | None) -> None:
        super().__init__()
        self.network = network
        self.settings = {} if norm is None else {"norm": norm}

    def forward(self, noise: Tensor, *controls: Tensor) -> Tensor:
        return to_bytes(self.network(None, noise, *controls, **self.settings))


class ColorGraph(nn.Module):
    """(content, hints, palette) -> chroma, (N, 2, H, W)."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, content: Tensor, *controls: Tensor) -> Tensor:
        return self.generator(luma_of(to_unit(content)), *controls)


class EncoderGraph(nn.Module):
    """style -> code."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, style: Tensor) -> Tensor:
        return self.network.encode_style(to_unit(style))
