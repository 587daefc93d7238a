"""The training loop: any method, any device of Lightning Fabric, exactly resumable."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from st.runtime.errors import StError, printable
from st.runtime.system.signals import stoppable
from st.train.data.workers import begin_worker, child_signal_kept, one_opencv_thread, until
from st.train.features.base import FeatureNetwork
from st.train.loop.devices import to_device
from st.train.loop.inputs import find_inputs
from st.train.loop.lock import training_lock
from st.train.loop.optimizer import WARM_UP, planned_steps
from st.train.loop.processes import is_main_process
from st.train.loop.run import Progress, Run
from st.train.loop.training import Training
from st.train.method import Batch, Method

LATE = 5  # pictures of one color are an error after 1/LATE of the planned steps
FLAT = 2 / 255  # standard deviation below which a picture counts as one color

Note = Callable[[str, float, int], None]  # (name, value, step)


class Diverged(StError):
    """The loss became NaN, or the pictures became uniform."""


class Interrupted(StError):
    """Stopped by Ctrl-C, SIGTERM or a failure; the state is saved if there was a step."""


def train(
    method: Method, config: Any, run: Run, load_network: Callable[[], FeatureNetwork]
) -> Iterator[Progress]:
    """Train `method` and write `run.output`; yields after every step.

    Also writes NAME.resume.pt (to resume from), NAME.preview.jpg and NAME.logs (TensorBoard), and
    holds NAME.lock while it runs. Unreadable pictures are skipped and reported in the progress.

    Raises:
        BadInput: unusable pictures, settings or saved states; the output is locked.
        Unavailable: the device or the weights of the loss network are missing.
        Diverged: the loss is NaN or the pictures are uniform; the last saved state is kept.
        Interrupted: Ctrl-C, SIGTERM, or any failure after the first step. The state is saved.
    """
    inputs = find_inputs(method, config, run)
    lock = training_lock(run.output) if is_main_process() else contextlib.nullcontext()
    with lock:
        training = Training(method, config, run, inputs, load_network)
        with _log(run if training.fabric.is_global_zero else None) as note:
            done = yield from _steps(training, note)
        if done and training.fabric.is_global_zero:
            training.save_result()


def _steps(training: Training, note: Note | None) -> Iterator[Progress]:
    """All steps; returns whether the training is complete."""
    run, steps = training.run, training.config.steps
    first, planned = training.first, training.config.steps
    known: set[str] = set()
    with stoppable() as stop, child_signal_kept(), one_opencv_thread(), _saved_on_failure(training):
        for batch in until(stop, _loader(training)):
            batch = to_device(training.fabric, batch)
            new = training.advance(batch, planned)
            done = training.step
            if not all(math.isfinite(value) for value in training.losses.values()):
                raise Diverged(f"the loss became NaN at step {done}: lower the learning rate")
            this_run, seconds = done - first, training.elapsed
            planned = first + planned_steps(this_run, steps - first, seconds, run.minutes)
            paused = seconds >= 60 * (run.pause_after or math.inf)
            if training.fabric.world_size > 1:  # all processes must end at the same step
                planned, paused = training.fabric.broadcast((planned, paused))
            last = done == planned
            paused = paused and not last
            _record(training, batch, new, planned, note, save=last or paused)
            problems = tuple(p for p in batch.unreadable if p not in known)
            known.update(problems)
            yield Progress(done, new, planned, problems, paused)
            if last or paused:
                return last
        if first < training.step < planned:
            if training.fabric.is_global_zero:
                training.save_state()
            raise Interrupted(f"stopped at step {training.step}, which is saved: it can be resumed")
        if training.step < planned:
            raise Interrupted("stopped before the first step")
    return True


def _loader(training: Training) -> DataLoader[Batch]:
    workers = training.run.workers
    return DataLoader(
        training.batches,
        batch_size=None,
        sampler=range(training.first, training.config.steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=begin_worker,
    )


def _record(
    training: Training,
    batch: Batch,
    new: dict[str, float],
    planned: int,
    note: Note | None,
    save: bool,
) -> None:
    """Log a step, and save the state and a preview when due. note: None to do nothing."""
    if note is None:
        return
    run, done = training.run, training.step
    for name, value in new.items():
        note(f"loss/{name}", value, done)
    if done % run.save_every == 0 or save:
        check_painted(training.method, training.network, batch, done, planned)
        training.save_state()
    if done % run.preview_every == 0 or save:
        training.write_preview()


@contextlib.contextmanager
def _saved_on_failure(training: Training) -> Iterator[None]:
    """Save the state on any failure after the first step of this run.

    If the training diverged, the state saved earlier is kept. Raises Interrupted with the message
    of the failure.
    """
    try:
        yield
    except (Diverged, Interrupted):
        raise
    except Exception as error:
        zero = training.fabric.is_global_zero
        if training.step == training.first or not training.whole or not zero:
            raise
        kind = "" if isinstance(error, StError) else f"{type(error).__name__}: "
        reason = printable((str(error).strip() or "no reason given").splitlines()[-1], 300)
        try:
            training.save_state()
        except OSError as failed:
            why = f"and step {training.step} could not be saved: {failed.strerror}"
        else:
            why = f"step {training.step} is saved: it can be resumed"
        raise Interrupted(f"{kind}{reason}; {why}") from error


@contextlib.contextmanager
def _log(run: Run | None) -> Iterator[Note | None]:
    """A function that logs (name, value, step) for TensorBoard; None if `run` is None.

    The folder is created at the first call.
    """
    if run is None:
        yield None
        return
    with contextlib.ExitStack() as opened:
        writers: list[SummaryWriter] = []

        def note(name: str, value: float, step: int) -> None:
            if not writers:
                writers.append(opened.enter_context(SummaryWriter(str(run.log_folder))))
            writers[0].add_scalar(name, value, step)

        yield note


def check_painted(
    method: Method, network: nn.Module, batch: Batch, step: int, planned: int
) -> None:
    """Raises Diverged when the network paints NaN, or pictures of one color late in the training.

    Contents of one color are not checked, nor are early steps: a cascade of decoders has a uniform
    output until the deepest decoder has learned something.
    """
    style = None if batch.style is None else batch.style[:1]
    content = batch.content[:1]
    with torch.no_grad():
        painted = method.paint(network, content, style, int(batch.index[0])).clamp(0, 1)
    if not bool(painted.isfinite().all()):
        raise Diverged(f"the pictures became NaN at step {step}: lower the learning rate")
    spread = [float(x.std(dim=(-2, -1)).max()) for x in (painted, content)]
    late = max(2 * WARM_UP, planned // LATE)
    if step >= late and spread[0] < FLAT and spread[1] > 4 * FLAT:
        raise Diverged(f"the pictures are of one color at step {step}: lower the learning rate")
