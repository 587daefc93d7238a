"""Finds state dicts in files of other programs: nested, with prefixes, in any precision."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from st.runtime.errors import BadInput, MissingExtra, printable
from st.train.checkpoint import is_plain_tensor, load_torch_file

StateDict = dict[str, Tensor]
SAFETENSORS = ".safetensors"
MAX_DEPTH = 4
LAYER = re.compile(r"(?P<prefix>(?:.*\.)?)(?P<layer>\d+\.(?:weight|bias))")


def read_file(path: Path) -> Any:
    """The values of a PyTorch or safetensors file. Raises BadInput: neither, or damaged."""
    if path.suffix.lower() != SAFETENSORS or not path.is_file():
        return load_torch_file(path)
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError:
        raise MissingExtra("reading safetensors files", "export") from None
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{printable(path)}: cannot be read: {printable(error, 100)}") from None


def state_dicts(values: Any) -> dict[str, StateDict]:
    """The state dicts among the values of a file, by the keys that lead to them: "model.", or "".

    Training programs save them inside other dicts, beside epochs and optimizers. Floating-point
    tensors are converted to float32.
    """
    return dict(_found(values, "", MAX_DEPTH))


def _found(values: Any, where: str, depth: int) -> Iterator[tuple[str, StateDict]]:
    if not isinstance(values, dict) or depth == 0:
        return
    named = {key: value for key, value in values.items() if isinstance(key, str)}
    tensors = {k: v.data if isinstance(v, nn.Parameter) else v for k, v in named.items()}
    state = {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
        if is_plain_tensor(value)
    }
    if state:
        yield where, state
    for key, value in named.items():
        yield from _found(value, f"{where}{key}.", depth - 1)


def with_entries(state: StateDict, entries: Collection[str]) -> dict[str, StateDict]:
    """The parts of a state dict that have all these entries under one prefix, by prefix.

    Wrappers put prefixes before the names: `module.` (nn.DataParallel), `_orig_mod.`
    (torch.compile), the name of the attribute in a LightningModule.
    """
    first = next(iter(entries))
    prefixes = [name.removesuffix(first) for name in state if name.endswith(first)]
    return {
        prefix: {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        for prefix in prefixes
        if (not prefix or prefix.endswith(".")) and all(prefix + e in state for e in entries)
    }


def sequences(state: StateDict) -> dict[str, StateDict]:
    """The parts of a state dict that come from an nn.Sequential, by prefix."""
    parts: dict[str, StateDict] = {}
    for name, value in state.items():
        if match := LAYER.fullmatch(name):
            parts.setdefault(match["prefix"], {})[match["layer"]] = value
    return parts
