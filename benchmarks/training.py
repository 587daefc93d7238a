"""Profile of a training step: processor time of each part, forward and backward.

    python -m benchmarks.training --method cin --shape fast --size 192 --batch 4

Processor time counts all threads of this process and no other program, so the parts of a step add
up to its cost also on a busy machine. Wall times of single operators, as torch.profiler takes them,
do not: long operators are interrupted more often than short ones.

The forward pass is timed around the parts. For the backward pass, each autograd node belongs to the
part that created it, and hooks take the time before and after it runs. The loss network has random
weights, which take as long as trained ones.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import click
import cv2
import torch
from torch import Tensor

from benchmarks.machine import this_machine
from benchmarks.report import Row, show
from st.runtime.bench.clips import drifting
from st.runtime.cli.base import command
from st.runtime.errors import BadInput
from st.train.features import VGG, FeatureNetwork, SqueezeNet
from st.train.loop.inputs import find_inputs
from st.train.loop.run import Run
from st.train.loop.training import Training
from st.train.losses import basic
from st.train.methods import METHODS

TRANSFORM, LOSS_NETWORK, PHOTOGRAPHS = "transform network", "loss network", "content features"
GRAM, OTHER, OPTIMIZER, DATA = "Gram matrices", "other losses", "optimizer", "data"
PARTS = (TRANSFORM, LOSS_NETWORK, PHOTOGRAPHS, GRAM, OTHER, OPTIMIZER, DATA)
PERIOD = 2  # steps: the scales of the style loss take turns
PICTURES, SIDE = 8, 512


class PartTimes:
    """Processor time by (part, whether backward). Time of nested parts is not counted for the outer
    one."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, bool], float] = defaultdict(float)
        self._stack: list[tuple[str, bool]] = []
        self._mark = 0.0

    def enter(self, part: str, backward: bool = False) -> None:
        self._count()
        self._stack.append((part, backward))

    def leave(self) -> None:
        self._count()
        self._stack.pop()

    def _count(self) -> None:
        now = time.process_time()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._mark
        self._mark = now

    @contextmanager
    def part(self, name: str, backward: bool = False) -> Iterator[None]:
        self.enter(name, backward)
        try:
            yield
        finally:
            self.leave()

    def around(self, part: Callable[[], str], function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed; autograd nodes that it creates count for the part, too."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            name = part()
            self._claim(args, OTHER)
            with self.part(name):
                result = function(*args, **kwargs)
            self._claim(result, name)
            return result

        return timed

    def within(
        self, name: str, function: Callable[..., Any], backward: bool = False
    ) -> Callable[..., Any]:
        """The same function, timed, without its autograd nodes."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name, backward):
                return function(*args, **kwargs)

        return timed

    def _claim(self, values: Any, part: str) -> None:
        """Time the backward pass of the nodes behind `values` that belong to no part yet."""
        waiting: list[Any] = [t.grad_fn for t in tensors(values) if t.grad_fn is not None]
        while waiting:
            node = waiting.pop()
            if "part" in node.metadata:
                continue
            node.metadata["part"] = part
            node.register_prehook(lambda grads: self.enter(part, backward=True))
            node.register_hook(lambda inputs, outputs: self.leave())
            waiting += [following for following, _ in node.next_functions if following is not None]


def tensors(values: Any) -> list[Tensor]:
    """The tensors in a tensor, mapping or sequence."""
    if isinstance(values, Tensor):
        return [values]
    inner = values.values() if isinstance(values, Mapping) else values
    return [value for value in inner if isinstance(value, Tensor)]


@contextmanager
def timed_parts(training: Training) -> Iterator[PartTimes]:
    """Measure the parts of the steps inside this context."""
    times = PartTimes()

    def loss_network_part() -> str:
        return LOSS_NETWORK if torch.is_grad_enabled() else PHOTOGRAPHS

    network, loss_network, product = training.network, training.loss_network, basic._Statistics
    optimizer, fabric = training.optimizer, training.fabric
    with ExitStack() as stack:
        for owner, name, function in (
            (network, "forward", times.around(lambda: TRANSFORM, network.forward)),
            (loss_network, "forward", times.around(loss_network_part, loss_network.forward)),
            (product, "forward", staticmethod(times.within(GRAM, product.forward))),
            (product, "backward", staticmethod(times.within(GRAM, product.backward, True))),
            (optimizer, "step", times.within(OPTIMIZER, optimizer.step)),
            (fabric, "backward", times.within(OTHER, fabric.backward, True)),
        ):
            stack.enter_context(mock.patch.object(owner, name, function))
        yield times


def measure(training: Training, steps: int) -> list[Row]:
    """The rows of the table: the median of each part over the steps, after two warm-up steps."""
    taken: dict[tuple[str, bool], list[list[float]]] = defaultdict(lambda: [[], []])
    for step in range(PERIOD + steps):
        with timed_parts(training) as times:
            with times.part(DATA):
                batch = training.batches[step]
            with times.part(OTHER):
                training.advance(batch, PERIOD + steps)
        if step >= PERIOD:
            for part in PARTS:
                for backward in (False, True):
                    taken[part, backward][step % PERIOD].append(times.seconds[part, backward])

    def middle(part: str, backward: bool) -> float:
        kinds = [statistics.median(kind) for kind in taken[part, backward]]
        return 1000 * statistics.fmean(kinds)

    rows = [_row(part, middle(part, False), middle(part, True)) for part in PARTS]
    whole = [sum(float(row[column] or 0) for row in rows) for column in ("forward", "backward")]
    return [*rows, _row("step", *whole)]


def _row(part: str, forward: float, backward: float) -> Row:
    return {"part": part, "forward": forward, "backward": backward, "ms": forward + backward}


def write_pictures(folder: Path) -> Path:
    """Write a folder of textures as JPEG files, for a benchmark without data."""
    folder.mkdir()
    for number, picture in enumerate(drifting((SIDE, SIDE), PICTURES)):
        cv2.imwrite(str(folder / f"{number}.jpg"), picture[..., ::-1])
    return folder


def random_network(name: str) -> FeatureNetwork:
    torch.manual_seed(0)
    network = SqueezeNet() if name == "squeezenet" else VGG(16)
    return network.requires_grad_(False).eval()


def make_training(
    name: str,
    settings: dict[str, Any],
    precision: str,
    compiled: bool,
    folder: Path,
    content: Path | None,
    style: Path | None,
) -> Training:
    """A training of a method with a perceptual loss. Raises BadInput."""
    method = METHODS[name]
    known = {field.name for field in dataclasses.fields(method.config)}
    if unknown := settings.keys() - known:
        raise BadInput(f"{name} has no setting {sorted(unknown)[0]}")
    config = method.config(**settings)
    photographs = content or write_pictures(folder / "content")
    styles = style or write_pictures(folder / "style")
    if method.styles == "one" and styles.is_dir():
        styles = sorted(styles.iterdir())[0]
    run = Run(
        content=(photographs,),
        styles=(str(styles),),
        output=folder / "net.pt",
        device="cpu",
        precision=precision,
        compiled=compiled,
    )
    loss_network = random_network(getattr(config, "loss_network", None) or "squeezenet")
    return Training(method, config, run, find_inputs(method, config, run), lambda: loss_network)


@command(epilog="Example: python -m benchmarks.training --method cin --shape fast")
@click.option("--method", "name", default="cin", show_default=True, type=click.Choice([*METHODS]))
@click.option("--shape", help="Shape of the transform network.  [default: fast, where it has one]")
@click.option("--size", default=192, show_default=True, help="Side of the crops, in pixels.")
@click.option("--batch", default=4, show_default=True, help="Crops per step.")
@click.option("--content", type=click.Path(path_type=Path), help="Folder of photographs.")
@click.option("--style", type=click.Path(path_type=Path), help="Folder of style pictures.")
@click.option("--steps", default=8, show_default=True, type=click.IntRange(2))
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "32-true", "bf16-mixed"]),
    help="Number format of the networks, as in st-train.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the transform network.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True)
def main(
    name: str,
    shape: str | None,
    size: int,
    batch: int,
    content: Path | None,
    style: Path | None,
    steps: int,
    precision: str,
    compiled: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Profile a training step, by default on generated pictures."""
    torch.set_num_threads(threads)
    has_shape = "shape" in {field.name for field in dataclasses.fields(METHODS[name].config)}
    settings: dict[str, Any] = {"size": size, "batch": batch}
    if shape or has_shape:
        settings["shape"] = shape or "fast"
    with tempfile.TemporaryDirectory() as folder:
        training = make_training(name, settings, precision, compiled, Path(folder), content, style)
        rows = measure(training, steps)
    told = ", ".join(f"{key} {value}" for key, value in settings.items())
    title = (
        f"Processor time of a step of {name}, ms: {told}, {training.precision}"
        f"{', compiled' if compiled else ''}, {threads} thread(s)"
    )
    show(title, this_machine(), rows, as_json)


if __name__ == "__main__":
    main()
