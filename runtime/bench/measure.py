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
from st.runtime.painting.optical_flow import MIN_SEEN, backward_flow, warping_error
from st.runtime.stylizer import Stylizer

WARM_UP = 5  # frames at the start of each round that are not measured
ROUNDS = 4  # devices alternate, so that other load on the machine affects all of them equally
PAIRS = 24  # maximum number of frame pairs for the warping error


@dataclass(frozen=True)
class Figures:
    """Measurements of one device.

    p50, p95: milliseconds per frame, from the picture in memory to the painting in memory.
    error: warping error, in units of (0..1)²; NaN where it is undefined.
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
    """Measurements of all devices. source_error: the warping error of the source frames."""

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
    """Measure `count` frames of `size` (height, width) on each device, in alternating rounds.

    clip: a video to take frames from; by default a moving texture.
    step: called ROUNDS + 1 times for each device, to report progress.
    Raises what Stylizer raises, and BadInput: the clip cannot be decoded.
    """
    height, width = size
    given = frames_of(clip, size, WARM_UP + -(-count // ROUNDS))
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
    """Return the first paintings, and the seconds of each frame after WARM_UP."""
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
    """Mean warping error of each video along the optical flow of `source`.

    Pairs of frames across a cut are skipped; NaN if no pair is left.
    """
    errors: dict[str, list[float]] = {name: [] for name in films}
    for at, (previous, current) in enumerate(itertools.pairwise(source)):
        flow, seen = backward_flow(previous, current)
        if seen.mean() < MIN_SEEN:
            continue
        for name, film in films.items():
            errors[name].append(warping_error(film[at], film[at + 1], flow, seen))
    return {name: float(np.mean(own)) if own else float("nan") for name, own in errors.items()}
