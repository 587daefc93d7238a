"""The one trainer: any method, any device through Lightning Fabric, resumable to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from st.runtime.errors import BadInput, StError
from st.runtime.system.signals import stoppable
from st.train.bank.add_style import check_addition, choose_starts, joined, take_over
from st.train.checkpoint import Checkpoint
from st.train.data.motion import list_clips
from st.train.data.pictures import (
    Batches,
    held_out,
    list_pictures,
    load_style,
    named_styles,
    style_files,
)
from st.train.data.workers import begin_worker, child_signal_kept, one_opencv_thread, until
from st.train.features.vgg import VGG
from st.train.loop.card import training_card
from st.train.loop.devices import average_gradients, open_fabric, to_device
from st.train.loop.preview import write_preview
from st.train.loop.resume import restore_state, resumable
from st.train.loop.run import Progress, Run
from st.train.loop.schedule import WARM_UP, learning_rate, planned_steps
from st.train.method import SHIFT, Batch, Method

SAMPLE = 64  # style pictures that a method of any style sees before the loop
LATE = 5  # a part of the planned steps after which a network should have learned to show something
FLAT = 2 / 255  # standard deviation of a picture that shows nothing


class Diverged(StError):
    """Training ran into NaN, or into pictures of one color."""


class Interrupted(StError):
    """Ctrl-C or SIGTERM; what was learned is saved."""


def train(method: Method, config: Any, run: Run, load_vgg: Callable[[], VGG]) -> Iterator[Progress]:
    """Train `method` and write `run.output`; yields after every step.

    Beside the output lie NAME.resume.pt (to go on from), NAME.preview.jpg and NAME.logs
    (TensorBoard). Raises BadInput for unusable pictures or a file to resume from, Unavailable for
    a device, Diverged, and Interrupted after Ctrl-C, with the state saved.
    """
    fabric, precision = open_fabric(run)
    torch.manual_seed(run.seed)
    styles = _styles(method, run.styles)
    content_files = [] if method.style_only(config) else _content(run, styles)
    names = () if method.styles == "any" else tuple(name for name, _ in styles)
    pairs = config.batch - config.batch // 2 if method.temporal and config.temporal_weight else 0
    if run.video and not pairs:
        raise BadInput("--video is for the temporal loss: give --temporal-weight above 0 too")
    clips = [clip for folder in run.video for clip in list_clips(folder)]
    crops_styles = method.styles == "any" and not method.content_only
    network = method.build(config, names)
    if run.base is not None:
        check_addition(method, run.base, names)
        take_over(method, network, run.base, run.start)
    _check_size(method, network, config.size)
    saved = resumable(run.resume_file, method, names) if run.resume else None
    optimizer = torch.optim.Adam(_parameter_groups(method, network))
    if method.styles == "any":
        files = [path for _, path in styles] or content_files
        sample = files[:: -(-len(files) // SAMPLE)]
        pictures = [fabric.to_device(load_style(path, config.size)) for path in sample]
    else:
        pictures = [fabric.to_device(load_style(path, config.style_size)) for _, path in styles]
    vgg = load_vgg()
    fabric.to_device(vgg)
    fabric.to_device(network)
    stepper = cast(Any, fabric.setup_optimizers(optimizer))
    with torch.no_grad(), fabric.autocast():
        targets = method.targets(network, vgg, pictures, config)
    if run.teacher is not None and method.teach is not None:
        targets = method.teach(network, targets, run.teacher, config)
    if run.begun is not None:  # after the targets, which fill an encoder with what is published
        run.begun.load_matching(network)
        if method.begin is not None:
            method.begin(network, run.begun.state)
    first = 0 if saved is None else restore_state(saved, network, optimizer, run.resume_file)
    batches = Batches(
        content_files,
        [path for _, path in styles] if crops_styles else (),
        max(1, len(names)),
        config.size,
        config.batch,
        run.seed,
        fabric.global_rank,
        pairs=pairs,
        every=config.temporal_every if pairs else 1,
        clips=clips,
    )
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, config.steps),
        num_workers=run.workers,
        prefetch_factor=4 if run.workers else None,
        worker_init_fn=begin_worker,
    )
    if run.base is not None and run.start is None and saved is None:

        def style_loss(batch: Batch) -> Tensor:
            with torch.no_grad(), fabric.autocast():
                return method.step(network, vgg, targets, batch, config)["style"]

        trial = to_device(fabric, batches[0])
        choose_starts(method, network, run.base, style_loss, trial)
    started, seen = time.monotonic(), 0.0
    losses: dict[str, float] = {}

    def checkpoint(step: int, training: bool) -> Checkpoint:
        learned = () if method.content_only else styles
        card = training_card(run, config, learned, content_files, step, losses, precision, seen)
        if pairs:
            card["motion"] = f"photographs moved and {len(clips)} clips"
        state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
        resume = {"step": step, "optimizer": optimizer.state_dict()} if training else None
        return Checkpoint(method.name, dataclasses.asdict(config), names, state, card, resume)

    note_to = run if fabric.is_global_zero else None
    with stoppable() as stop, child_signal_kept(), one_opencv_thread(), _log(note_to) as note:
        done, planned = first, config.steps
        for step, batch in enumerate(until(stop, loader), first):
            batch = to_device(fabric, batch)
            for group in optimizer.param_groups:
                rate = learning_rate(step, planned, config.learning_rate)
                group["lr"] = rate * group["factor"]
            with fabric.autocast():
                terms = method.step(network, vgg, targets, batch, config)
            total = torch.stack([term.float() for term in terms.values()]).sum()
            optimizer.zero_grad()
            fabric.backward(total)
            average_gradients(fabric, network)
            if method.balance is not None:
                method.balance(network, step)
            stepper.step()
            new = {name: float(term.detach()) for name, term in terms.items()}
            losses = losses | new  # a term that not every step has keeps its last value
            done, seen = step + 1, time.monotonic() - started
            if not all(math.isfinite(v) for v in losses.values()):
                raise Diverged(f"loss became NaN at step {done}: try a lower --learning-rate")
            planned = first + planned_steps(done - first, config.steps - first, seen, run.minutes)
            last = done == planned
            if note is not None:
                for name, value in new.items():
                    note(f"loss/{name}", value, done)
                if done % run.save_every == 0 or last:
                    check_painted(method, network, batch, done, planned)
                    checkpoint(done, training=True).save(run.resume_file)
                if done % run.preview_every == 0 or last:
                    write_preview(method, network, batches, pictures, run.preview_file)
            yield Progress(done, new, planned)
            if last:
                break
        if first < done < planned:
            if fabric.is_global_zero:
                checkpoint(done, training=True).save(run.resume_file)
            raise Interrupted(f"stopped at step {done}, which is saved: go on with --resume")
        if done < planned:
            raise Interrupted("stopped before the first step")
    if fabric.is_global_zero:
        learned = checkpoint(done, training=False)
        if run.base is not None:
            learned = joined(method, run.base, learned)
        learned.save(run.output)


@contextlib.contextmanager
def _log(run: Run | None) -> Iterator[Callable[[str, float, int], None] | None]:
    """Notes (name, value, step) for TensorBoard, in a folder that the first of them makes; none for
    a process without a run to log."""
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


def _styles(method: Method, given: Sequence[str]) -> list[tuple[str, Path]]:
    """Names and files; only a method of named styles minds two of one name."""
    styles = style_files(given) if method.styles == "any" else list(named_styles(given).items())
    if not styles and not method.content_only:
        raise BadInput("no style pictures given: use --style FILE or --style FOLDER")
    if method.styles == "one" and len(styles) != 1:
        raise BadInput(f"{method.name} learns one style, {len(styles)} pictures were given")
    return styles


def _content(run: Run, styles: Sequence[tuple[str, Path]]) -> list[Path]:
    """The files of the content folders, or the styles' where they are only added to a bank."""
    if run.content:
        files = [file for folder in run.content for file in list_pictures(folder)]
        kept = [file for file in files if not held_out(file, run.hold_out)]
        if not kept:
            raise BadInput(f"--hold-out {run.hold_out} leaves no photograph to learn from")
        return kept
    if run.base is None:
        raise BadInput("no photographs given: use --content FOLDER")
    return [path for _, path in styles]


def _check_size(method: Method, network: nn.Module, size: int) -> None:
    """The crops must suit the network, and leave something after `shifted`."""
    needs = method.export_spec(network)
    least = needs.min_size + SHIFT
    if size % needs.multiple or size < least:
        raise BadInput(
            f"--size {size}: must be a multiple of {needs.multiple}, and {least} or more"
        )


def check_painted(
    method: Method, network: nn.Module, batch: Batch, step: int, planned: int
) -> None:
    """Raises Diverged when the network paints NaN or, once it should know better, pictures of one
    color.

    A batch that is flat itself proves nothing, nor does an early step: five decoders in a row show
    nothing until the deepest of them has learned something.
    """
    style = None if batch.style is None else batch.style[:1]
    content = batch.content[:1]
    with torch.no_grad():
        painted = method.paint(network, content, style, int(batch.index[0])).clamp(0, 1)
    if not bool(painted.isfinite().all()):
        raise Diverged(f"pictures became NaN at step {step}: try a lower --learning-rate")
    spread = [float(x.std(dim=(-2, -1)).max()) for x in (painted, content)]
    late = max(2 * WARM_UP, planned // LATE)
    if step >= late and spread[0] < FLAT and spread[1] > 4 * FLAT:
        raise Diverged(f"pictures are of one color at step {step}: try a lower --learning-rate")


def _parameter_groups(method: Method, network: nn.Module) -> list[dict[str, Any]]:
    """What is trained, by the factor of its learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_rate(method, name), []).append(parameter)
    return [{"params": group, "factor": factor} for factor, group in groups.items()]


def _rate(method: Method, name: str) -> float:
    """The factor of a parameter's learning rate: its own, or that of the part it belongs to."""
    owners = (name, *(name[:at] for at, letter in enumerate(name) if letter == "."))
    return next((method.rates[owner] for owner in owners if owner in method.rates), 1.0)
