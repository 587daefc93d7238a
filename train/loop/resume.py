"""Going on with a training that was stopped: its state is read, checked and put back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from st.runtime.errors import BadInput, printable
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.method import Method


def resumable(path: Path, method: Method, names: Sequence[str] | None = None) -> Checkpoint:
    """The state of an earlier run. names: the styles that it must have.

    Raises BadInput when there is none, or it is another training's.
    """
    if not path.is_file():
        raise BadInput(f"{printable(path)}: no saved state to go on from, leave out --resume")
    saved = load_checkpoint(path)
    if saved.training is None or saved.method != method.name:
        raise BadInput(f"{printable(path)}: is not of a training with {method.name}")
    if names is not None and saved.styles != tuple(names):
        raise BadInput(f"{printable(path)}: was trained on other styles, or in another order")
    return saved


def restore_state(
    saved: Checkpoint, network: nn.Module, optimizer: torch.optim.Adam, path: Path
) -> int:
    """Fill network and optimizer with the state of an earlier run; returns its step."""
    training = saved.training or {}
    try:
        saved.fill(network)
        optimizer.load_state_dict(training["optimizer"])
        return int(training["step"])
    except (RuntimeError, ValueError, KeyError, TypeError, BadInput) as error:
        why = printable(error, 120)
        raise BadInput(f"{printable(path)}: does not fit this training ({why})") from None
