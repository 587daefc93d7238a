"""Faster training steps on a CPU: float32 where that is quicker, and torch.compile.

A transform network's layers are narrow. Without matrix tiles (AMX), a CPU takes longer to convert
their activations to bfloat16 and back than it saves in the products. Compiled, the paddings, norms
and activations between the convolutions are fused: a step of a transform network takes half as
long.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from st.runtime.errors import Unavailable, printable
from st.train.networks.transform import TransformNet


def prefer_float32(network: nn.Module, device: torch.device) -> None:
    """Exclude the transform network of `network` from autocast, where float32 is quicker."""
    if device.type == "cpu" and not torch.cpu._is_amx_tile_supported():
        for part in _transform_networks(network):
            part.forward = functools.partial(_in_float32, part.forward)


def compile_transform(network: nn.Module) -> bool:
    """Compile the transform network of `network` for its training crops; whether there is one.

    Pictures of other sizes, as in evaluation mode, are painted without. The first step compiles
    and raises Unavailable where that fails: without a C++ compiler or Python's headers.
    """
    parts = _transform_networks(network)
    for part in parts:
        part.forward = _Compiled(part, part.forward)
    return bool(parts)


def _transform_networks(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if isinstance(part, TransformNet)]


def _in_float32(forward: Callable[..., Tensor], *inputs: Any) -> Tensor:
    found = [x.float() if isinstance(x, Tensor) else x for x in inputs]
    with torch.autocast("cpu", enabled=False):
        return forward(*found)


class _Compiled:
    """A forward function that is compiled in training mode and plain in evaluation mode."""

    def __init__(self, owner: nn.Module, forward: Callable[..., Tensor]) -> None:
        from torch._dynamo.exc import BackendCompilerFailed  # takes more than a second

        self.owner, self.plain, self.failure = owner, forward, BackendCompilerFailed
        self.compiled = torch.compile(forward, dynamic=False)

    def __call__(self, *inputs: Any) -> Tensor:
        if not self.owner.training:
            return self.plain(*inputs)
        try:
            return self.compiled(*inputs)
        except self.failure as error:
            why = printable(str(error).strip().splitlines()[0], 120)
            raise Unavailable(
                f"torch.compile fails here, which needs a C++ compiler and Python's headers ({why})"
            ) from None
