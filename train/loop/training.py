"""The state of a training: network, optimizer and losses, advanced step by step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from st.runtime.errors import BadInput
from st.train.bank.add_style import check_addition, choose_starts, joined, take_over
from st.train.bank.batch_norms import restore_statistics
from st.train.checkpoint import Checkpoint
from st.train.features.base import FeatureNetwork
from st.train.loop.card import training_card
from st.train.loop.compilation import compile_transform
from st.train.loop.devices import average_gradients, open_fabric, to_device
from st.train.loop.inputs import Inputs, check_size, load_styles, make_batches
from st.train.loop.optimizer import (
    GradientLimit,
    WeightAverage,
    learning_rate,
    parameter_groups,
)
from st.train.loop.preview import write_preview
from st.train.loop.resume import restore_state, resumable
from st.train.loop.run import Run
from st.train.method import Batch, Method


class Training:
    """A training in progress.

    first: number of steps at the start, above 0 when resumed. step: number of steps now.
    losses: the last value of every loss term.
    whole: False while an optimizer step is changing the weights.
    """

    def __init__(
        self,
        method: Method,
        config: Any,
        run: Run,
        inputs: Inputs,
        load_network: Callable[[], FeatureNetwork],
    ) -> None:
        """Raises BadInput for unusable pictures, settings or saved states, Unavailable for missing
        devices and weights."""
        self.method, self.config, self.run, self.inputs = method, config, run, inputs
        self.fabric, self.precision = open_fabric(run)
        torch.manual_seed(run.seed)
        self.network = self._build()
        saved = resumable(run.resume_file, method, inputs.names) if run.resume else None
        self.optimizer = torch.optim.Adam(parameter_groups(method, self.network))
        self.styles = [self.fabric.to_device(s) for s in load_styles(method, inputs, config)]
        self.loss_network = self.fabric.to_device(load_network())
        self.fabric.to_device(self.network)
        self._stepper = cast(Any, self.fabric.setup_optimizers(self.optimizer))
        self.targets = self._targets()
        self.batches = make_batches(method, inputs, config, run, self.fabric.global_rank)
        self._initialize()
        self.average = WeightAverage(self.network, run.average) if run.average else None
        self.gradients = GradientLimit()
        self.first, self._seconds_before = 0, 0.0
        if saved is not None:
            self.first = restore_state(
                saved, self.network, self.optimizer, self.average, config, run.resume_file
            )
            self.gradients.average = float((saved.training or {}).get("gradient_norm", 0))
            self._seconds_before = float(saved.card.get("seconds", 0))
        if run.base is not None and run.start is None and saved is None:
            self._choose_starts(run.base)
        if run.compiled and not compile_transform(self.network):
            raise BadInput(f"{method.name} has no transform network to compile")
        self.step, self.losses, self.whole = self.first, dict[str, float](), True
        self.started = time.monotonic()

    def _build(self) -> nn.Module:
        network = self.method.build(self.config, self.inputs.names)
        if self.run.base is not None:
            check_addition(self.method, self.run.base, self.inputs.names)
            take_over(self.method, network, self.run.base, self.run.start)
        check_size(self.method, network, self.config.size)
        return network

    def _targets(self) -> Any:
        with torch.no_grad(), self.fabric.autocast():
            targets = self.method.targets(self.network, self.loss_network, self.styles, self.config)
        if self.run.teacher is not None and self.method.teach is not None:
            device = self.fabric.device
            teacher = self.run.teacher.copy_of(self.styles, self.config.size, device)
            targets = self.method.teach(targets, teacher)
        return targets

    def _initialize(self) -> None:
        """Copy the initial weights. Called after `_targets`, which loads pretrained encoders."""
        initial = self.run.initial
        if initial is not None:
            initial.load_matching(self.network)
            if self.method.begin is not None:
                self.method.begin(self.network, initial.state)

            def paint() -> Tensor:
                content = self.fabric.to_device(self.batches[0].content)
                return self.method.paint(self.network, content, None, 0)

            restore_statistics(self.network, paint)

    def _choose_starts(self, base: Checkpoint) -> None:
        def style_loss(batch: Batch) -> Tensor:
            with torch.no_grad():
                return self._terms(batch)["style"]

        trial = to_device(self.fabric, self.batches[0])
        choose_starts(self.method, self.network, base, style_loss, trial)

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        with self.fabric.autocast():
            return self.method.step(
                self.network, self.loss_network, self.targets, batch, self.config
            )

    @property
    def elapsed(self) -> float:
        """Seconds since this run was ready for its first step."""
        return time.monotonic() - self.started

    def advance(self, batch: Batch, planned: int) -> dict[str, float]:
        """Train on a batch, which is on the device; returns the weighted loss terms.

        planned: the step at which the learning rate reaches 0.
        """
        for group in self.optimizer.param_groups:
            rate = learning_rate(self.step, planned, self.config.learning_rate)
            group["lr"] = rate * group["factor"]
        terms = self._terms(batch)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        average_gradients(self.fabric, self.network)
        self.gradients.apply(self.network)
        if self.method.balance is not None:
            self.method.balance(self.network, self.step)
        self.whole = False
        self._stepper.step()
        if self.average is not None:
            self.average.update(self.network)
        self.step, self.whole = self.step + 1, True
        new = {name: float(term.detach()) for name, term in terms.items()}
        self.losses = self.losses | new  # terms that are not in every step keep their last value
        return new

    def save_state(self) -> None:
        """Write the file to resume from. Raises OSError."""
        training: dict[str, Any] = {"step": self.step, "optimizer": self.optimizer.state_dict()}
        training["gradient_norm"] = self.gradients.average
        if self.average is not None:
            training["average"] = self.average.saved()
        self._checkpoint(self.network.state_dict(), training).save(self.run.resume_file)

    def save_result(self) -> None:
        """Write the trained network, with averaged weights if there are any. Raises OSError."""
        state = self.network.state_dict() if self.average is None else self.average.state
        learned = self._checkpoint(state, None)
        if self.run.base is not None:
            learned = joined(self.method, self.run.base, learned)
        learned.save(self.run.output)

    def _checkpoint(self, state: dict[str, Tensor], training: dict[str, Any] | None) -> Checkpoint:
        card = training_card(self.method, self.config, self.run, self.inputs)
        card |= {"steps": self.step, "precision": self.precision}
        card["seconds"] = round(self._seconds_before + self.elapsed)
        card |= {f"loss {name}": round(value, 5) for name, value in self.losses.items()}
        on_cpu = {name: value.detach().cpu() for name, value in state.items()}
        settings, names = dataclasses.asdict(self.config), self.inputs.names
        return Checkpoint(self.method.name, settings, names, on_cpu, card, training)

    def write_preview(self) -> None:
        """Write the preview, with the averaged weights if there are any."""
        path, given = self.run.preview_file, (self.method, self.network, self.batches, self.styles)
        if self.average is None:
            write_preview(*given, path)
        else:
            with self.average.applied(self.network):
                write_preview(*given, path)
