"""The image transform network that the feed-forward methods share, driven by a style code.

Johnson, Alahi and Fei-Fei, ECCV 2016: strided convolutions down, residual blocks, and up again.
With Dumoulin et al.'s changes (ICLR 2017): reflection padding, nearest upsampling, and instance
norms whose scales and shifts come from outside: together they are the style code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.method import ExportSpec

Norm = Callable[[Tensor, Tensor, Tensor], Tensor]
EPS = 1e-5


@dataclass(frozen=True)
class Shape:
    """What the network looks like. The default is Johnson's; `FAST` is made for video on a CPU.

    unshuffle: 1, or 2: the picture enters as blocks of 2×2 pixels folded into channels.
    down: channels of the first convolution and of each strided one after it.
    up: channels after each nearest ×2; the last ×2 (or the last layer) gives the picture.
    """

    unshuffle: int = 1
    down: tuple[int, ...] = (32, 64, 128)
    blocks: int = 5
    up: tuple[int, ...] = (64, 32)
    kernel: int = 9  # first and last convolution


JOHNSON = Shape()
FAST = Shape(unshuffle=2, down=(16, 48), blocks=4, up=(16,), kernel=3)
FASTER = Shape(unshuffle=2, down=(16, 32), blocks=4, up=(16,), kernel=3)
FASTEST = Shape(unshuffle=2, down=(16, 16), blocks=5, up=(16,), kernel=3)
SHAPES = {"johnson": JOHNSON, "fast": FAST, "faster": FASTER, "fastest": FASTEST}


def instance_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Each channel of each sample to mean 0 and deviation 1, then scaled and shifted.

    x: (N, C, H, W); scale, shift: (N, C), or (1, C) for all samples.
    """
    return functional.instance_norm(x, eps=EPS) * scale[..., None, None] + shift[..., None, None]


class InstanceNorm(nn.Module):
    """An instance norm with a learned scale and shift of its own: (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels))
        self.shift = nn.Parameter(torch.zeros(1, channels))

    def forward(self, x: Tensor, norm: Norm = instance_norm) -> Tensor:
        return norm(x, self.scale, self.shift)


class ReflectConv(nn.Conv2d):
    """A convolution with reflection padding: zeros would leave a halo along the border."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect"
        )


class UpsampleConv(ReflectConv):
    """Nearest ×2, then a reflection-padded 3×3: no checkerboard as of a transposed convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(functional.interpolate(input, scale_factor=2.0))


class FoldedUpsampleConv(nn.Conv2d):
    """The same function as an UpsampleConv, before the ×2: made of one, for engines.

    After nearest ×2 a 3×3 window sees only 2×2 different pixels. So each of the four phases of the
    output is a convolution of the small map, and a pixel shuffle interleaves them. Nothing is as
    large as the upsampled map; reflection there is replication here.
    """

    def __init__(self, whole: UpsampleConv) -> None:
        outputs, inputs = whole.weight.shape[:2]
        super().__init__(inputs, 4 * outputs, 3)
        kernel = torch.zeros(outputs, 2, 2, inputs, 3, 3)
        for dy, dx, row, column in product(range(2), range(2), range(3), range(3)):
            y, x = (dy + row - 1) // 2 + 1, (dx + column - 1) // 2 + 1
            kernel[:, dy, dx, :, y, x] += whole.weight.detach()[:, :, row, column].cpu()
        bias = whole.bias if whole.bias is not None else torch.zeros(outputs)
        self.weight = nn.Parameter(kernel.reshape(4 * outputs, inputs, 3, 3))
        self.bias = nn.Parameter(bias.detach().cpu().repeat_interleave(4))

    def forward(self, input: Tensor) -> Tensor:
        padded = functional.pad(input, (1, 1, 1, 1), mode="replicate")
        return functional.pixel_shuffle(super().forward(padded), 2)


def unfold_upsampling(folded: Tensor) -> Tensor:
    """The weight or bias of the UpsampleConv that a FoldedUpsampleConv was made of.

    (4 * o, i, 3, 3) -> (o, i, 3, 3), or (4 * o,) -> (o,). Along each side a phase's kernel is
    (k0, k1 + k2, 0) for phase 0 and (0, k0 + k1, k2) for phase 1.
    """
    if folded.ndim == 1:
        return folded[::4].clone()
    kernel = folded.unflatten(0, (-1, 2, 2))  # outputs, dy, dx, inputs, y, x

    def along(phases: Tensor) -> Tensor:
        """(2, …, 3) -> (…, 3): the kernel of both phases along the last dimension."""
        first, last = phases[0][..., 0], phases[1][..., 2]
        return torch.stack([first, phases[0][..., 1] - last, last], dim=-1)

    rows = along(kernel.permute(1, 0, 2, 3, 5, 4))  # over dy and y: outputs, dx, inputs, x, y
    return along(rows.permute(1, 0, 2, 4, 3))  # over dx and x: outputs, inputs, y, x


def fold_upsampling(network: nn.Module) -> nn.Module:
    """A copy of a network with every UpsampleConv folded: the same pictures, in less time."""
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if isinstance(child, UpsampleConv):
                setattr(parent, name, FoldedUpsampleConv(child))
    return copied


def unshuffled(x: Tensor) -> Tensor:
    """A pixel unshuffle by 2: (N, C, H, W) -> (N, 4 · C, H / 2, W / 2).

    Rows first, then columns: two transpositions that each move one axis take ONNX Runtime a third
    of the time of the one that moves three.
    """
    n, c, height, width = x.shape
    rows = x.reshape(n, c, height // 2, 2, width).transpose(2, 3)
    columns = rows.reshape(n, 2 * c, height // 2, width // 2, 2).permute(0, 1, 4, 2, 3)
    return columns.reshape(n, 4 * c, height // 2, width // 2)


class TransformNet(nn.Module):
    """Pictures (N, 3, H, W), RGB, 0..1, and a style code (N or 1, code_size) -> pictures, 0..1.

    H and W are multiples of `multiple`. `channels` lists the instance norms in order; a code holds
    all scales, then all shifts.
    """

    def __init__(self, shape: Shape = JOHNSON) -> None:
        super().__init__()
        self.shape = shape
        width = shape.down[-1]
        inputs = (3 * shape.unshuffle**2, *shape.down[:-1])
        kernels = [shape.kernel] + [3] * (len(shape.down) - 1)
        self.down = nn.ModuleList(
            ReflectConv(i, o, k, stride=1 if n == 0 else 2)
            for n, (i, o, k) in enumerate(zip(inputs, shape.down, kernels, strict=True))
        )
        self.residual = nn.ModuleList(ReflectConv(width, width, 3) for _ in range(2 * shape.blocks))
        self.up = nn.ModuleList(
            UpsampleConv(i, o) for i, o in zip((width, *shape.up[:-1]), shape.up, strict=True)
        )
        if shape.unshuffle == 2:
            self.last = UpsampleConv(shape.up[-1], 3)
        else:
            self.last = ReflectConv(shape.up[-1], 3, shape.kernel)
        self.channels = (*shape.down, *[width] * (2 * shape.blocks), *shape.up)
        self.strides = self._strides()
        self.code_size = 2 * sum(self.channels)
        self.multiple = max(self.strides)

    def _strides(self) -> tuple[int, ...]:
        """Pixels of the picture to a step on each norm's input, in order."""
        down = [self.shape.unshuffle * 2**i for i in range(len(self.shape.down))]
        up = [down[-1] // 2 ** (i + 1) for i in range(len(self.shape.up))]
        return (*down, *[down[-1]] * (2 * self.shape.blocks), *up)

    def export_spec(self, controls: tuple[str, ...]) -> ExportSpec:
        """What an exporter needs to know of a network whose pictures this one paints."""
        norms = tuple(zip(self.channels, self.strides, strict=True))
        return ExportSpec(controls, self.multiple, 4 * self.multiple, self._halo(), norms)

    def _halo(self) -> int:
        """Pixels around a place that its result can depend on, rounded up to whole `multiple`s."""
        convolutions = (*self.down, *self.residual, *self.up)
        reach = sum(
            cast(ReflectConv, conv).kernel_size[0] // 2 * stride
            for conv, stride in zip(convolutions, self.strides, strict=True)
        )
        reach += self.last.kernel_size[0] // 2 + self.multiple
        return -(-reach // self.multiple) * self.multiple

    def forward(self, content: Tensor, code: Tensor, norm: Norm = instance_norm) -> Tensor:
        styled = self._styled(code, norm)
        x = unshuffled(content) if self.shape.unshuffle == 2 else content
        for conv in self.down:
            x = torch.relu(next(styled)(conv(x)))
        for first, second in zip(self.residual[::2], self.residual[1::2], strict=True):
            y = torch.relu(next(styled)(first(x)))
            x = x + next(styled)(second(y))
        for conv in self.up:
            x = torch.relu(next(styled)(conv(x)))
        return torch.sigmoid(self.last(x))

    def _styled(self, code: Tensor, norm: Norm) -> Iterator[Callable[[Tensor], Tensor]]:
        """The norms in order, each with its scale and shift cut from the code."""
        scales, shifts = code.chunk(2, dim=1)
        for scale, shift in zip(
            scales.split(self.channels, dim=1), shifts.split(self.channels, dim=1), strict=True
        ):
            yield lambda x, scale=scale, shift=shift: norm(x, scale, shift)

    def plain_code(self) -> Tensor:
        """The code of scales 1 and shifts 0: (1, code_size)."""
        half = self.code_size // 2
        return torch.cat([torch.ones(1, half), torch.zeros(1, half)], dim=1)
