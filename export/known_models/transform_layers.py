"""Builds a transform network of st.train from the layers of another program's network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.networks.transform import (
    MAX_BLOCKS,
    MAX_CHANNELS,
    MAX_LAYERS,
    Shape,
    TransformNet,
    parse_shape,
    shape_text,
)


@dataclass(frozen=True)
class Convolution:
    """weight: (O, I, K, K). bias: (O,) or None. name: for messages."""

    weight: Tensor
    bias: Tensor | None
    name: str


@dataclass(frozen=True)
class TransformLayers:
    """The layers of a network with the structure of `TransformNet`, in order of execution.

    strided: number of convolutions that halve the size. norms: scale and shift of each instance
    norm, (S, C) each, one row per style. value_range: 1.0, or 255.0 if input and output
    pictures are 0..255.
    """

    convolutions: Sequence[Convolution]
    strided: int
    norms: Sequence[tuple[Tensor, Tensor]]
    ending: Literal["sigmoid", "linear"]
    value_range: float = 1.0

    def shape(self) -> Shape:
        """The shape of the `TransformNet`. Raises BadInput: none has such layers."""
        count, ups = len(self.convolutions), self.strided
        blocks, odd = divmod(count - (1 + ups) - ups - 1, 2)
        last_norm = len(self.norms) == count
        if odd or not 0 <= blocks <= MAX_BLOCKS or not 1 <= ups < MAX_LAYERS:
            raise BadInput(f"{count} convolutions, {ups} with stride 2, are no transform network")
        if not last_norm and len(self.norms) != count - 1:
            raise BadInput(f"{len(self.norms)} instance norms for {count} convolutions")
        widths = [conv.weight.shape[0] for conv in self.convolutions]
        if max(widths) > MAX_CHANNELS:
            raise BadInput(f"a layer of {max(widths)} channels; at most {MAX_CHANNELS} are read")
        return Shape(
            down=tuple(widths[: 1 + ups]),
            blocks=blocks,
            up=tuple(widths[count - 1 - ups : count - 1]),
            kernel=self.convolutions[0].weight.shape[-1],
            ending=self.ending,
            last_norm=last_norm,
        )


def config_of(layers: TransformLayers) -> dict[str, Any]:
    """The entry of a method's config for the network's shape."""
    text = shape_text(layers.shape())
    try:
        parse_shape(text)
    except ValueError as error:
        raise BadInput(str(error)) from None
    return {"shape": text}


def state_and_codes(layers: TransformLayers) -> tuple[dict[str, Tensor], Tensor]:
    """The state of the `TransformNet`, and the styles as codes: (S, code_size).

    A network for pictures of 0..255 is converted to 0..1: the first convolution's weights are
    multiplied by 255, and the last layer is divided by it.
    Raises BadInput: a layer has an unexpected size.
    """
    with torch.device("meta"):
        network = TransformNet(layers.shape())
    names = [
        *(f"down.{i}" for i in range(len(network.down))),
        *(f"residual.{i}" for i in range(len(network.residual))),
        *(f"up.{i}" for i in range(len(network.up))),
        "last",
    ]
    state: dict[str, Tensor] = {}
    for name, conv in zip(names, layers.convolutions, strict=True):
        expected = tuple(network.get_parameter(f"{name}.weight").shape)
        if tuple(conv.weight.shape) != expected:
            raise BadInput(f"{conv.name} has the shape {_by(conv.weight)}; {_of(expected)} fits")
        bias = torch.zeros(expected[0]) if conv.bias is None else conv.bias
        if tuple(bias.shape) != expected[:1]:
            raise BadInput(f"the bias of {conv.name} has the shape {_by(bias)}")
        state |= {f"{name}.weight": conv.weight.float(), f"{name}.bias": bias.float()}
    norms = [(scale.float(), shift.float()) for scale, shift in layers.norms]
    if layers.value_range != 1:
        state["down.0.weight"] = state["down.0.weight"] * layers.value_range
        if network.shape.last_norm:
            scale, shift = norms[-1]
            norms[-1] = scale / layers.value_range, shift / layers.value_range
        else:
            for name in ("last.weight", "last.bias"):
                state[name] = state[name] / layers.value_range
    for channels, (scale, shift) in zip(network.channels, norms, strict=True):
        if scale.shape != shift.shape or scale.shape[1:] != (channels,):
            raise BadInput(f"an instance norm has the shape {_by(scale)}; {channels} channels fit")
    if len({len(scale) for scale, _ in norms}) != 1:
        raise BadInput("its instance norms differ in the number of styles")
    scales, shifts = zip(*norms, strict=True)
    return state, torch.cat([*scales, *shifts], dim=1)


def as_rows(layers: TransformLayers) -> TransformLayers:
    """Reshape the norms of one style from (C,) to one row, (1, C)."""
    rows = [(scale.reshape(1, -1), shift.reshape(1, -1)) for scale, shift in layers.norms]
    return replace(layers, norms=rows)


def _by(tensor: Tensor) -> str:
    return _of(tuple(tensor.shape))


def _of(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes)) or "()"
