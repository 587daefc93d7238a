"""Resuming a training: reading, checking and restoring its saved state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from st.runtime.errors import BadInput, printable
from st.train.checkpoint import Checkpoint, load_checkpoint
from st.train.loop.optimizer import WeightAverage
from st.train.method import Method

SHOWN = 6  # maximum number of differences in a message


def resumable(path: Path, method: Method, names: Sequence[str] | None = None) -> Checkpoint:
    """The saved state of an earlier run. names: the styles that it must have.

    Raises BadInput if there is none, or it belongs to another training.
    """
    shown = printable(path)
    if not path.is_file():
        raise BadInput(f"{shown}: no saved state to resume from; start a new training")
    saved = load_checkpoint(path)
    if saved.training is None or saved.method != method.name:
        raise BadInput(f"{shown}: is not of a training with {method.name}")
    if names is not None and saved.styles != tuple(names):
        raise BadInput(f"{shown}: was trained on other styles, or in another order")
    return saved


def differences(saved: Checkpoint, config: Any, now: Mapping[str, Any]) -> list[str]:
    """A text for each setting that differs from the saved state's: "batch: 4 before, 8 now".

    config: the method's settings. now: entries of this training's card.
    """
    ours = dataclasses.asdict(config)
    pairs = [(name, saved.config.get(name), value) for name, value in ours.items()]
    pairs += [(name, saved.card[name], value) for name, value in now.items() if name in saved.card]
    return [
        f"{name.replace('_', ' ')}: {printable(old, 60)} before, {printable(new, 60)} now"
        for name, old, new in pairs
        if old != new
    ]


def restore_state(
    saved: Checkpoint,
    network: nn.Module,
    optimizer: torch.optim.Adam,
    average: WeightAverage | None,
    config: Any,
    path: Path,
) -> int:
    """Load a saved state into network, optimizer and average; returns its number of steps.

    If the state has no average, the average starts from its weights. Raises BadInput when the state
    does not fit, or has more steps than the config.
    """
    training = saved.training or {}
    try:
        saved.fill(network)
        optimizer.load_state_dict(training["optimizer"])
        step = int(training["step"])
        if average is not None:
            weights = {"updates": step, "state": network.state_dict()}
            average.restore(training.get("average") or weights)
    except (RuntimeError, ValueError, KeyError, TypeError, BadInput) as error:
        changed = [line for line in differences(saved, config, {}) if "steps" not in line]
        why = "; ".join(changed[:SHOWN]) or printable(error, 120)
        raise BadInput(f"{printable(path)}: does not fit this training ({why})") from None
    if step > config.steps:
        raise BadInput(
            f"{printable(path)}: has done {step} steps, more than the {config.steps} asked for"
        )
    return step
