"""Optimization: parameter groups, the learning rate schedule, and averaged weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from st.train.method import Method

WARM_UP = 100  # steps
LARGEST = 4.0  # maximum norm of a step's gradients, relative to its running average
NORM_SHARE = 0.02  # weight of a step in that average
CONSTANT = 0.6  # fraction of the steps at the full learning rate


def parameter_groups(method: Method, network: nn.Module) -> list[dict[str, Any]]:
    """Adam's parameter groups: the trained parameters by the factor of their learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_rate_factor(method, name), []).append(parameter)
    return [{"params": group, "factor": factor} for factor, group in groups.items()]


def _rate_factor(method: Method, name: str) -> float:
    """The factor of a parameter's learning rate: its own, or that of a module it belongs to."""
    owners = (name, *(name[:at] for at, letter in enumerate(name) if letter == "."))
    return next((method.rates[owner] for owner in owners if owner in method.rates), 1.0)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A short linear warm-up, then `peak`, then a cosine decay to 0 over the last part."""
    warm_up = min(WARM_UP, steps // 5)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    late = (step / steps - CONSTANT) / (1 - CONSTANT)
    return peak if late <= 0 else peak * 0.5 * (1 + math.cos(math.pi * late))


def planned_steps(step: int, steps: int, seconds: float, minutes: float | None) -> int:
    """The number of steps that fit into `minutes`, at most `steps`, from the speed so far.

    step: steps done so far. seconds: the time that they took. minutes: None for no limit.
    """
    if minutes is None or seconds <= 0 or step == 0:
        return steps
    return max(step, min(steps, round(step * minutes * 60 / seconds)))


class GradientLimit:
    """Limits the norm of the gradients to LARGEST times its running average.

    One unusual batch would otherwise end a training in NaN: a crop of plain white, whose rounding
    errors every instance norm multiplies, or a style of a single color. A batch whose gradients are
    not finite is skipped.

    average: the running average; 0 before the first step.
    """

    def __init__(self) -> None:
        self.average = 0.0

    def apply(self, network: nn.Module) -> None:
        """Scale the gradients down, or remove those that are not finite."""
        parameters = [p for p in network.parameters() if p.grad is not None]
        largest = LARGEST * self.average or math.inf
        norm = float(nn.utils.clip_grad_norm_(parameters, largest))
        if not math.isfinite(norm):
            for parameter in parameters:
                parameter.grad = None
            return
        share = NORM_SHARE if self.average else 1.0
        self.average += share * (min(norm, largest) - self.average)


class WeightAverage:
    """An exponential moving average of a network's weights.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the random start is
    forgotten quickly. Buffers are copied.

    state: the averaged state dict, on the network's device.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average after an optimizer step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        trained = {name for name, p in network.named_parameters() if p.requires_grad}
        for name, value in network.state_dict().items():
            if name in trained:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    @contextlib.contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Use the averaged weights in the network within the context."""
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.state)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def saved(self) -> dict[str, Any]:
        """The state to resume from: see `restore`."""
        state = {name: value.cpu() for name, value in self.state.items()}
        return {"updates": self.updates, "state": state}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from `saved()`. Raises KeyError or RuntimeError if it is of another network."""
        values: Mapping[str, Tensor] = saved["state"]
        for name, value in self.state.items():
            value.copy_(values[name])
        self.updates = int(saved["updates"])
