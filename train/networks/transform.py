"""The image transform network of the feed-forward methods, controlled by a style code.

Johnson, Alahi and Fei-Fei, ECCV 2016: strided convolutions, residual blocks, and upsampling. With
Dumoulin et al.'s changes (ICLR 2017): reflection padding, nearest upsampling, and instance norms
whose scales and shifts are inputs, the style code.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.method import ExportSpec

Norm = Callable[[Tensor, Tensor, Tensor], Tensor]
EPS = 1e-5


@dataclass(frozen=True)
class Shape:
    """Layer widths and kinds of a transform network. The default is Johnson et al.'s.

    unshuffle: 1, or 2: the network starts with a pixel unshuffle by 2.
    down: channels of the first convolution and of each stride-2 convolution after it.
    blocks: residual blocks at the lowest resolution.
    up: channels after each nearest ×2 upsampling; one entry fewer than `down`.
    kernel: side of the first and last convolution's kernel; odd.
    ending: "sigmoid", or "linear": the last convolution's output is the picture, and values
        outside 0..1 are clamped where it becomes uint8.
    last_norm: whether an instance norm follows the last convolution.
    refine: residual blocks after each upsampling; missing entries are 0. Strokes drawn at a coarse
        level alone repeat on its raster; blocks at the next finer level break that up.
    skips: how many of `up` add the features of their resolution from the way down, which keeps
        forms while strokes are large. Their channels must be equal.
    """

    unshuffle: int = 1
    down: tuple[int, ...] = (32, 64, 128)
    blocks: int = 5
    up: tuple[int, ...] = (64, 32)
    kernel: int = 9
    ending: Literal["sigmoid", "linear"] = "sigmoid"
    last_norm: bool = False
    refine: tuple[int, ...] = ()
    skips: int = 0

    def __post_init__(self) -> None:
        if len(self.refine) > len(self.up):
            raise ValueError("refine must have no more entries than up")
        if self.down[-2::-1][: self.skips] != self.up[: self.skips]:
            raise ValueError("skips must join equal channels of down and up")

    def refining(self, level: int) -> int:
        """Residual blocks after the upsampling of that level."""
        return self.refine[level] if level < len(self.refine) else 0


JOHNSON = Shape()
FAST = Shape(unshuffle=2, down=(16, 48), blocks=4, up=(16,), kernel=3)
FASTER = Shape(unshuffle=2, down=(16, 32), blocks=4, up=(16,), kernel=3)
FASTEST = Shape(unshuffle=2, down=(16, 16), blocks=5, up=(16,), kernel=3)
# Three blocks at 1/8 of the size draw large strokes, two at 1/4 fine ones; the skips keep forms.
DEEP = Shape(unshuffle=2, down=(24, 48, 64), blocks=3, up=(48, 24), kernel=3, refine=(2,), skips=2)
SHAPES = {
    "johnson": JOHNSON,
    "deep": DEEP,
    "fast": FAST,
    "faster": FASTER,
    "fastest": FASTEST,
}
MAX_CHANNELS, MAX_LAYERS, MAX_BLOCKS, MAX_KERNEL = 1024, 6, 64, 15


def parse_shape(text: str) -> Shape:
    """A shape's name, or its entries as `shape_text` writes them -> the Shape.

    Entries that are left out are Johnson's. Raises ValueError: an unknown or bad entry, or an `up`
    that does not bring the picture back to its size.
    """
    if text in SHAPES:
        return SHAPES[text]
    values: dict[str, Any] = {}
    for entry in text.split():
        name, _, value = entry.partition("=")
        if name in values or name not in {field.name for field in dataclasses.fields(Shape)}:
            raise ValueError(f"no shape {text!r}: give {', '.join(SHAPES)}, or NAME=VALUE entries")
        values[name] = _shape_value(name, value)
    shape = Shape(**values)
    if not values or len(shape.up) != len(shape.down) - 1:
        raise ValueError(f"no shape {text!r}: up must have one entry fewer than down")
    return shape


def _shape_value(name: str, value: str) -> Any:
    choices = {"ending": ("sigmoid", "linear"), "last_norm": ("yes", "no"), "unshuffle": ("1", "2")}
    if name in choices:
        if value not in choices[name]:
            raise ValueError(f"{name} must be {' or '.join(choices[name])}")
        return {"yes": True, "no": False, "1": 1, "2": 2}.get(value, value)
    parts = value.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise ValueError(f"{name} must be whole numbers")
    numbers = tuple(int(part) for part in parts)
    if name == "refine":
        if len(numbers) > MAX_LAYERS or max(numbers) > MAX_BLOCKS:
            raise ValueError(f"refine must be 1 to {MAX_LAYERS} numbers from 0 to {MAX_BLOCKS}")
        return numbers
    if name in ("down", "up"):
        if len(numbers) > MAX_LAYERS or not all(1 <= n <= MAX_CHANNELS for n in numbers):
            raise ValueError(f"{name} must be 1 to {MAX_LAYERS} numbers from 1 to {MAX_CHANNELS}")
        return numbers
    low, high = (1, MAX_KERNEL) if name == "kernel" else (0, MAX_BLOCKS)
    if len(numbers) != 1 or not low <= numbers[0] <= high:
        raise ValueError(f"{name} must be one number from {low} to {high}")
    if name == "kernel" and numbers[0] % 2 == 0:
        raise ValueError("kernel must be odd")
    return numbers[0]


def shape_text(shape: Shape) -> str:
    """The text that `parse_shape` reads back: a name, or the entries that are not Johnson's."""
    for name, known in SHAPES.items():
        if shape == known:
            return name
    entries = []
    for field in dataclasses.fields(Shape):
        value = getattr(shape, field.name)
        if value != field.default:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            shown = {"True": "yes", "False": "no"}.get(shown, shown)
            entries.append(f"{field.name}={shown}")
    return " ".join(entries)


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
    """A convolution with reflection padding: zeros would give a halo along the border."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect"
        )


class UpsampleConv(ReflectConv):
    """Nearest ×2, then a reflection-padded 3×3: unlike transposed convolutions, no checkerboard.

    folds: whether engines may compute it before the ×2 (see FoldedUpsampleConv).
    """

    def __init__(self, inputs: int, outputs: int, folds: bool = True) -> None:
        super().__init__(inputs, outputs, 3)
        self.folds = folds

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(functional.interpolate(input, scale_factor=2.0))


class FoldedUpsampleConv(nn.Conv2d):
    """The same function as an UpsampleConv, before the ×2: made of one, for engines.

    After nearest ×2, a 3×3 window contains only 2×2 different pixels. So each of the four phases of
    the output is a convolution of the small map, and a pixel shuffle interleaves them. No upsampled
    map is stored. Reflection of the large map is replication of the small one.
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
    """A copy of a network with its UpsampleConvs folded: the same pictures, in less time.

    Those that do not fold stay: the four phases of a folded one round differently, and instance
    norms amplify that by up to 1 / sqrt(EPS) each. After several of them an even picture, such as
    a black frame, shows a grid.
    """
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if isinstance(child, UpsampleConv) and child.folds:
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


def _blocks(
    x: Tensor, convolutions: Iterable[nn.Module], norms: Iterator[Callable[[Tensor], Tensor]]
) -> Tensor:
    """Residual blocks of two convolutions each, with a norm after every convolution."""
    layers = list(convolutions)
    for first, second in zip(layers[::2], layers[1::2], strict=True):
        y = torch.relu(next(norms)(first(x)))
        x = x + next(norms)(second(y))
    return x


class TransformNet(nn.Module):
    """Pictures (N, 3, H, W), RGB, 0..1, and a style code (N or 1, code_size) -> pictures.

    H and W are multiples of `multiple`. The result is in 0..1, with a linear ending around it.
    `channels` lists the instance norms in order; a code holds all scales, then all shifts.
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
            UpsampleConv(i, o, folds=shape.refining(level) == 0)
            for level, (i, o) in enumerate(zip((width, *shape.up[:-1]), shape.up, strict=True))
        )
        self.refine = nn.ModuleList(
            ReflectConv(channels, channels, 3)
            for level, channels in enumerate(shape.up)
            for _ in range(2 * shape.refining(level))
        )
        if shape.unshuffle == 2:
            self.last = UpsampleConv(shape.up[-1], 3)
        else:
            self.last = ReflectConv(shape.up[-1], 3, shape.kernel)
        last = (3,) if shape.last_norm else ()
        up = [c for i, c in enumerate(shape.up) for _ in range(1 + 2 * shape.refining(i))]
        self.channels = (*shape.down, *[width] * (2 * shape.blocks), *up, *last)
        self.strides = self._strides()
        self.code_size = 2 * sum(self.channels)
        self.multiple = max(self.strides)

    def _strides(self) -> tuple[int, ...]:
        """Pixels of the picture per step on each norm's input, in order."""
        down = [self.shape.unshuffle * 2**i for i in range(len(self.shape.down))]
        up = [
            down[-1] // 2 ** (i + 1)
            for i in range(len(self.shape.up))
            for _ in range(1 + 2 * self.shape.refining(i))
        ]
        last = [1] if self.shape.last_norm else []
        return (*down, *[down[-1]] * (2 * self.shape.blocks), *up, *last)

    def export_spec(self, controls: tuple[str, ...]) -> ExportSpec:
        """What an exporter needs to know of a network whose pictures this one paints."""
        norms = tuple(zip(self.channels, self.strides, strict=True))
        return ExportSpec(controls, self.multiple, 4 * self.multiple, self._halo(), norms)

    def _halo(self) -> int:
        """Pixels around a place that its result can depend on, rounded up to whole `multiple`s."""
        reach = sum(
            cast(ReflectConv, conv).kernel_size[0] // 2 * stride
            for conv, stride in zip(self._normed(), self.strides, strict=False)
        )
        reach += self.last.kernel_size[0] // 2 + self.multiple
        return -(-reach // self.multiple) * self.multiple

    def forward(self, content: Tensor, code: Tensor, norm: Norm = instance_norm) -> Tensor:
        styled = self._styled(code, norm)
        x = unshuffled(content) if self.shape.unshuffle == 2 else content
        kept: list[Tensor] = []
        for conv in self.down:
            x = torch.relu(next(styled)(conv(x)))
            kept.append(x)
        x = _blocks(x, self.residual, styled)
        refining = list(self.refine)
        for level, conv in enumerate(self.up):
            x = torch.relu(next(styled)(conv(x)))
            if level < self.shape.skips:
                x = x + kept[-2 - level]
            count = 2 * self.shape.refining(level)
            x, refining = _blocks(x, refining[:count], styled), refining[count:]
        x = self.last(x)
        if self.shape.last_norm:
            x = next(styled)(x)
        return torch.sigmoid(x) if self.shape.ending == "sigmoid" else x

    def _normed(self) -> Iterator[nn.Module]:
        """The convolutions before `last` that an instance norm follows, in order."""
        yield from (*self.down, *self.residual)
        refining = iter(self.refine)
        for level, conv in enumerate(self.up):
            yield conv
            yield from itertools.islice(refining, 2 * self.shape.refining(level))

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
