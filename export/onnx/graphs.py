"""The exported graphs of a network, with uint8 pictures (N, H, W, 3) as input and output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from st.train.networks.chroma import luma_of
from st.train.networks.transform import EPS, instance_norm

Core = tuple[Tensor, Tensor]  # which rows and columns of a map are the tile's own: (H, 1), (1, W)


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


class TileGraph(nn.Module):
    """(content, *controls, moments, margins) -> stylized, and each norm's own moments.

    Normalizes by the whole picture's moments, (2, channels of all norms), and measures the tile's
    own, over what lies within the margins: so a picture painted in tiles is the picture painted
    whole. norms: (channels, stride) of each, in order.
    """

    def __init__(self, network: nn.Module, norms: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        self.network = network
        self.norms = tuple(norms)

    def forward(self, content: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *controls, moments, margins = rest
        given = iter(moments.split([channels for channels, _ in self.norms], dim=1))
        strides = iter(stride for _, stride in self.norms)
        own: list[Tensor] = []

        def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
            own.append(core_moments(x, margins, next(strides)))
            mean, variance = next(given)[:, None, :, None, None]
            factor = scale[..., None, None] / (variance + EPS).sqrt()
            return (x - mean) * factor + shift[..., None, None]

        painted = self.network(to_unit(content), *controls, norm=norm)
        return (to_bytes(painted), *own)


@torch.no_grad()
def moments_of(network: nn.Module, content: Tensor, *controls: Tensor) -> Tensor:
    """The means and variances that a picture, uint8 (1, H, W, 3), has at each norm: (2, channels of
    all norms)."""
    own: list[Tensor] = []

    def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
        own.append(torch.cat([mean, variance]))
        return instance_norm(x, scale, shift)

    network(to_unit(content), *controls, norm=norm)
    return torch.cat(own, dim=1)


def core_moments(x: Tensor, margins: Tensor, stride: int) -> Tensor:
    """Mean and biased variance of each channel over a tile's core: (1, C, H, W) -> (2, C).

    margins: top, bottom, left, right, in pixels of the picture; `stride` pixels to a step on x.
    """
    top, bottom, left, right = (margins // stride).unbind()
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    own_rows = ((rows >= top) & (rows < x.shape[2] - bottom)).to(x.dtype)
    own_columns = ((columns >= left) & (columns < x.shape[3] - right)).to(x.dtype)
    core = own_rows[:, None] * own_columns[None, :]
    count = own_rows.sum() * own_columns.sum()
    mean = (x * core).sum(dim=(2, 3), keepdim=True) / count
    variance = ((x - mean).square() * core).sum(dim=(2, 3)) / count
    return torch.stack([mean[0, :, 0, 0], cast(Tensor, variance)[0]])
