"""Measure an engine on each device: frame time, start-up cost and temporal consistency."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from st.runtime.bench.clips import Rgb, frames_of
from st.runtime.bench.startup import StartupCost, give_style, measure_startup, paint_one
from st.runtime.painting.optical_flow import LEAST_SEEN, backward_flow, warping_error
from st.runtime.stylizer import Stylizer

WARM_UP = 5  # frames of each turn that do not count
ROUNDS = 4  # turns of each device, so that what else the machine does hits all alike
PAIRS = 24  # of frames, at most, that the warping error is measured on


@dataclass(frozen=True)
class Figures:
    """Measurements of one device.

    p50, p95: milliseconds of a frame, from the picture in memory to the painting there.
    error: warping error, of 0..1 squared; NaN where it has no meaning.
    """

    device: str
    p50: float
    p95: float
    start: StartupCost
    error: float

    @property
    def fps(self) -> float:
        return 1000 / self.p50


@dataclass(frozen=True)
class Bench:
    """source_error: the warping error of the frames themselves."""

    devices: list[Figures]
    source_error: float


def bench(
    engine: str,
    devices: Sequence[str],
    threads: int | None,
    size: tuple[int, int],
    count: int,
    clip: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> Bench:
    """Measure `count` frames of (height, width) on each device, in turns.

    clip: where frames come from. step: called ROUNDS + 1 times for each device.
    Raises: as Stylizer does; BadInput: a clip that cannot be decoded.
    """
    height, width = size
    given = frames_of(clip, (width, height), WARM_UP + -(-count // ROUNDS))
    starts: dict[str, StartupCost] = {}
    for device in devices:
        starts[device] = measure_startup(engine, device, threads, height, width)
        step()
    painters = {name: Stylizer(engine, device=name, threads=threads) for name in devices}
    try:
        for stylizer in painters.values():
            give_style(stylizer)
        taken: dict[str, list[float]] = {name: [] for name in devices}
        shown: dict[str, list[Rgb]] = {}
        for _ in range(ROUNDS):
            for name, stylizer in painters.items():
                painted, own = _turn(stylizer, given)
                taken[name] += own
                shown.setdefault(name, painted)
                step()
        as_large = all(films[0].shape == given[0].shape for films in shown.values())
        films = {"": given} | (shown if as_large else {})
        errors = film_errors(given[: PAIRS + 1], films)
    finally:
        for stylizer in painters.values():
            stylizer.close()
    found = []
    for name, own in taken.items():
        p50, p95 = (1000 * float(np.percentile(own, part)) for part in (50, 95))
        found.append(Figures(name, p50, p95, starts[name], errors.get(name, float("nan"))))
    return Bench(found, errors[""])


def _turn(stylizer: Stylizer, given: list[Rgb]) -> tuple[list[Rgb], list[float]]:
    """The first paintings, and the seconds of each frame after WARM_UP."""
    shown: list[Rgb] = []
    taken = []
    for frame in given:
        start = time.perf_counter()
        painted = paint_one(stylizer, frame)
        taken.append(time.perf_counter() - start)
        if len(shown) <= PAIRS:
            shown.append(painted)
    return shown, taken[WARM_UP:]


def film_errors(source: list[Rgb], films: dict[str, list[Rgb]]) -> dict[str, float]:
    """The warping error of each film along the flow of `source`, averaged over pairs of frames; NaN
    where there is none. Pairs across a cut are left out."""
    errors: dict[str, list[float]] = {name: [] for name in films}
    for at, (previous, current) in enumerate(itertools.pairwise(source)):
        flow, seen = backward_flow(previous, current)
        if seen.mean() < LEAST_SEEN:
            continue
        for name, film in films.items():
            errors[name].append(warping_error(film[at], film[at + 1], flow, seen))
    return {name: float(np.mean(own)) if own else float("nan") for name, own in errors.items()}
