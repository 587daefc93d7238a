"""The colorizer's network: a U-Net from luma and hints to chroma, and its critic.

After DeOldify (Antic, 2018): a pretrained encoder; pixel-shuffle upsampling, initialized without a
checkerboard (ICNR: Aitken et al., arXiv:1707.02937) and followed by a blur (Sugawara et al.,
arXiv:1806.02658); self-attention (Zhang et al., ICML 2019); and spectral norms (Miyato et al., ICLR
2018). Batch norms follow the spectral norms. Both are folded into the convolutions for an export.
"""

from __future__ import annotations

import copy
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from st.runtime.engine.metadata import PALETTE
from st.runtime.painting.chroma import FULL
from st.train.features.resnet import WIDTHS as RESNET_WIDTHS
from st.train.features.resnet import ResNet
from st.train.features.squeezenet import FIRES, POOLED, Fire
from st.train.features.vgg import VGG, WIDTHS
from st.train.features.weights import CAFFE_MEAN
from st.train.networks.chroma import hint_fields
from st.train.networks.transform import ReflectConv

LEVELS = 5  # the deepest map is at 1/32 of the size
MULTIPLE = 1 << LEVELS
HINT = 3  # channels: Cb, Cr, and a mask
GRAY = sum(CAFFE_MEAN) / 3
SLOPE = 0.2  # of the critic's leaky ReLU


class VggPyramid(nn.Module):
    """VGG-16 on the picture at half its size: five maps, at 1/2 to 1/32 of the size."""

    LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

    def __init__(self) -> None:
        super().__init__()
        self.vgg = VGG(16, padding_mode="reflect", last=self.LAYERS[-1])
        self.channels = WIDTHS

    def forward(self, luma: Tensor) -> list[Tensor]:
        half = functional.avg_pool2d(luma, 2)
        found = self.vgg(half.expand(-1, 3, -1, -1), self.LAYERS)
        return [found[layer] for layer in self.LAYERS]


class ResNetPyramid(nn.Module):
    """ResNet on the whole picture: five maps, at 1/2 to 1/32."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.resnet = ResNet(depth)
        self.channels = RESNET_WIDTHS
        self.requires_grad_(False)

    def forward(self, luma: Tensor) -> list[Tensor]:
        return self.resnet(luma.expand(-1, 3, -1, -1))

    def train(self, mode: bool = True) -> Self:
        """Batch norms keep their published statistics: the network stays in evaluation mode."""
        return super().train(False)


class SqueezePyramid(nn.Module):
    """SqueezeNet 1.1 on the whole picture, fine-tuned: five maps, at 1/2 to 1/32.

    All layers are padded, so that the sides of the maps divide those of the picture.
    """

    ENDS = ("fire3", "fire5", "fire9")  # of the maps at 1/4, 1/8 and 1/16

    def __init__(self) -> None:
        super().__init__()
        self.channels = (64, 128, 256, 512, 512)
        parts: dict[str, nn.Module] = {
            "conv1": nn.Conv2d(3, 64, 3, stride=2, padding=1, padding_mode="reflect")
        }
        inputs = 64
        for name, (squeeze, expand) in FIRES.items():
            parts[name] = Fire(inputs, squeeze, expand, "reflect")
            inputs = 2 * expand
        self.squeezenet = nn.ModuleDict(parts)

    def forward(self, luma: Tensor) -> list[Tensor]:
        # All three channels are equal, so the mean of the three Caffe means is subtracted.
        x = 255 * (luma - GRAY).expand(-1, 3, -1, -1)
        x = torch.relu(self.squeezenet["conv1"](x))
        found = [x]
        for name in FIRES:
            if name in POOLED:
                x = functional.max_pool2d(x, 3, stride=2, padding=1)
            x = self.squeezenet[name](x)
            if name in self.ENDS:
                found.append(x)
        return [*found, functional.max_pool2d(x, 3, stride=2, padding=1)]


class PlainPyramid(nn.Module):
    """A small encoder with random initial weights: five maps, at 1/2 to 1/32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 3 * width, 4 * width, 6 * width)
        inputs = (4, *self.channels[:-1])
        self.down = nn.ModuleList(
            SpectralConv(i, o, 3, stride=1 if n == 0 else 2)
            for n, (i, o) in enumerate(zip(inputs, self.channels, strict=True))
        )
        self.more = nn.ModuleList(SpectralConv(c, c, 3) for c in self.channels[1:])

    def forward(self, luma: Tensor) -> list[Tensor]:
        x = self.down[0](functional.pixel_unshuffle(luma - 0.5, 2))
        found = [x]
        for down, more in zip(list(self.down)[1:], self.more, strict=True):
            x = down(x)
            x = x + more(x)
            found.append(x)
        return found


class SpectralConv(nn.Module):
    """A convolution of spectral norm 1, a batch norm, and a ReLU. Reflection padding: zeros would
    give a halo along the border."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        padding = {"padding": kernel // 2, "padding_mode": "reflect" if kernel > 1 else "zeros"}
        conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=False, **cast(Any, padding))
        self.conv = spectral_norm(conv)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class ShuffleUp(nn.Module):
    """Upsampling by 2: a 1×1 convolution to four times the channels, a pixel shuffle, a 2×2 blur.

    The four phases of the shuffle have equal initial weights (ICNR), which avoids a checkerboard.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.expand = SpectralConv(inputs, 4 * outputs, 1)
        icnr(self.expand)

    def forward(self, x: Tensor) -> Tensor:
        return blur(functional.pixel_shuffle(self.expand(x), 2))


def icnr(expand: SpectralConv) -> None:
    """ICNR: the four channels that form one output channel get the weights of the first."""
    conv = cast(Any, expand.conv)
    with torch.no_grad():
        weight = conv.parametrizations.weight.original
        weight.copy_(weight[::4].repeat_interleave(4, dim=0))


def blur(x: Tensor) -> Tensor:
    """The mean of each pixel with its upper, left and upper left neighbors; the size is kept."""
    return functional.avg_pool2d(functional.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class SelfAttention(nn.Module):
    """Self-attention over all cells: x + γ · attention (eq. 3 of the paper).

    γ starts at 0.1 instead of 0, so that all weights get gradients from the first step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query = spectral_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.key = spectral_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.value = spectral_norm(nn.Conv2d(channels, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.tensor([0.1]))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        share = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # (N, from, to)
        seen = value @ share.transpose(1, 2)
        return x + self.gamma * seen.reshape(x.shape)


class Merge(nn.Module):
    """A stage of the decoder: upsamples by 2, and adds the encoder's map and hints of that size."""

    def __init__(self, inputs: int, skip: int, outputs: int, more: int = 0) -> None:
        super().__init__()
        self.up = ShuffleUp(inputs, outputs)
        self.skip = SpectralConv(skip, outputs, 1)
        self.first = SpectralConv(2 * outputs + HINT + more, outputs, 3)
        self.second = SpectralConv(outputs, outputs, 3)

    def forward(self, x: Tensor, skip: Tensor, *beside: Tensor) -> Tensor:
        x = self.first(torch.cat([self.up(x), self.skip(skip), *beside], dim=1))
        return x + self.second(x)


class ColorNet(nn.Module):
    """luma (N, 1, H, W), 0..1; hints (N or 1, 3, H, W), Cb, Cr and a mask; palette (N or 1,
    PALETTE) -> chroma (N, 2, H, W), Cb and Cr, -0.5..0.5.

    H and W are multiples of 32. width: channels of the decoder's last block. A hint sets the chroma
    of its own pixels; how far around them it acts is learned.
    """

    def __init__(self, encoder: str, width: int) -> None:
        super().__init__()
        self.encoder = pyramid(encoder, width)
        channels = cast(tuple[int, ...], self.encoder.channels)
        widths = (width, 2 * width, 3 * width, 4 * width, 4 * width)
        self.bottom = SpectralConv(channels[-1] + HINT, widths[-1], 3)
        self.palette = nn.Linear(PALETTE, widths[-1])
        self.deep = SpectralConv(widths[-1], widths[-1], 3)
        self.merges = nn.ModuleList(
            Merge(widths[i + 1], channels[i], widths[i], more=4 if i == 0 else 0)
            for i in reversed(range(LEVELS - 1))
        )
        self.attention = SelfAttention(widths[-2])
        self.last = ReflectConv(width, 8, 3)
        self.gate = nn.Conv2d(width, 1, 1)
        with torch.no_grad():
            self.last.weight.copy_(0.1 * self.last.weight[::4].repeat_interleave(4, dim=0))
            for conv in (self.last, self.gate):
                cast(Tensor, conv.bias).zero_()

    def forward(self, luma: Tensor, hints: Tensor, palette: Tensor) -> Tensor:
        maps = self.encoder(luma)
        fields = hint_fields(hints.expand(luma.shape[0], -1, -1, -1), LEVELS)
        given = [4 * field for field in fields]  # the scale of the other features
        x = self.bottom(torch.cat([maps[-1], given[-1]], dim=1))
        x = x + self.deep(x + self.palette(palette)[..., None, None])
        for level, merge in zip(reversed(range(LEVELS - 1)), self.merges, strict=True):
            beside = [given[level]]
            if level == 0:
                beside.append(functional.pixel_unshuffle(luma - 0.5, 2))
            x = merge(x, maps[level], *beside)
            if level == LEVELS - 2:
                x = self.attention(x)
        phases = self.last(x).float()
        own = FULL * torch.tanh(blur(functional.pixel_shuffle(phases, 2)))
        reach = torch.cat([fields[0][:, :2], self.reach(x, fields[0][:, 2:])], dim=1)
        reach = functional.interpolate(
            reach, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return own + reach[:, 2:] * (reach[:, :2] - own)

    def reach(self, x: Tensor, near: Tensor) -> Tensor:
        """The influence of hints at each cell, 0..1; 0 where their proximity `near` is 0."""
        return torch.sigmoid(self.gate(x).float() + 6 * near - 3) * (4 * near).clamp_max(1)


class Critic(nn.Sequential):
    """Pictures (N, 3, H, W), RGB, 0..1 -> patch scores, (N, 1, H / 8, W / 8), above 0: real."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (width, 2 * width, 4 * width):
            layers.append(spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)))
            layers.append(nn.LeakyReLU(SLOPE))
            inputs = outputs
        layers.append(spectral_norm(nn.Conv2d(inputs, 4 * width, 3, 1, 1)))
        layers.append(nn.LeakyReLU(SLOPE))
        layers.append(spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1, bias=False)))
        super().__init__(*layers)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(4 * input - 2)


def pyramid(name: str, width: int) -> Any:
    """The encoder of that name: "squeezenet", "vgg", "resnet18", "resnet34" or "plain"."""
    if name == "squeezenet":
        return SqueezePyramid()
    if name == "vgg":
        return VggPyramid()
    if name == "plain":
        return PlainPyramid(width)
    return ResNetPyramid(int(name.removeprefix("resnet")))


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, with spectral and batch norms folded into the convolutions."""
    copied = copy.deepcopy(network).eval()
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and parametrize.is_parametrized(child):
                setattr(parent, name, _plain(child))
    for module in copied.modules():
        if isinstance(module, SpectralConv):
            conv, norm = cast(nn.Conv2d, module.conv), cast(nn.BatchNorm2d, module.norm)
            module.conv, module.norm = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return copied


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    """A plain copy of a convolution with a parametrized weight. torch's own function would change
    the class that the original shares."""
    sizes = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    mode = cast(Any, conv.padding_mode)
    made = nn.Conv2d(*cast(Any, sizes), bias=conv.bias is not None, padding_mode=mode)
    with torch.no_grad():
        made.weight.copy_(conv.weight)
        if conv.bias is not None:
            cast(Tensor, made.bias).copy_(conv.bias)
    return made.eval()
