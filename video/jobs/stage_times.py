"""Measure how long decoding, painting and encoding of a video were busy, and name the bottleneck.

A stage is busy while it works on a frame, not while it waits for a frame or for room. The stages
run concurrently with short queues between them, so the bottleneck is busy nearly all the time and
the others wait for it. The time is wall time: where stages share processors, it includes the time
in which a stage waits for a processor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

Stage = Literal["decoding", "painting", "encoding"]
STAGES: tuple[Stage, ...] = ("decoding", "painting", "encoding")


class StageTimes:
    """Busy time of each stage, from the creation of this object. Thread-safe.

    Decoding includes waiting for the input, and encoding includes writing the output.
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self.painters = 1  # frames that are painted concurrently

    @contextmanager
    def busy(self, stage: Stage) -> Iterator[None]:
        """Count the time inside this context for `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            with self._lock:
                self._seconds[stage] += seconds

    def decoded(self, items: Iterator[Any]) -> Iterator[Any]:
        """The same items; the time to get each of them counts as decoding."""
        end = object()
        while True:
            with self.busy("decoding"):
                item = next(items, end)
            if item is end:
                return
            yield item

    def shares(self) -> dict[Stage, float]:
        """The fraction of the time so far, 0..1, in which each stage was busy.

        For painting, this is the mean over all painters.
        """
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        with self._lock:
            seconds = dict(self._seconds)
        seconds["painting"] /= self.painters
        return {stage: min(1.0, seconds[stage] / elapsed) for stage in STAGES}


def bottleneck(shares: dict[Stage, float]) -> Stage:
    """The stage that was busy for the largest part of the time."""
    return max(shares, key=lambda stage: shares[stage])


def describe(shares: dict[Stage, float]) -> str:
    """One line for the user: the bottleneck, and how busy each stage was."""
    first = bottleneck(shares)
    told = [f"{first} busy {shares[first]:.0%} of the time"]
    told += [f"{stage} {shares[stage]:.0%}" for stage in STAGES if stage != first]
    return f"slowest stage: {', '.join(told)}"
