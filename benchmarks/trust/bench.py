"""Shared parts of the goals of benchmarks.trust."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from benchmarks.report import progress
from tests.support.hostile.bad_files import KINDS
from tests.support.hostile.entry_points import ENTRY_POINTS, Case, suits
from tests.support.hostile.goods import Goods
from tests.support.hostile.runner import Outcome, run_cases

TESTS = Path(__file__).parents[2] / "tests"
WHOLE = 1000  # the count at which goals are measured completely


class Reached(NamedTuple):
    """The result as text, and whether the goal is met."""

    figure: str
    passed: bool


@dataclass(frozen=True)
class Bench:
    """count: number of bad inputs of G1; the other goals scale with it. folder: an empty one."""

    count: int
    seed: int
    good: Goods
    folder: Path

    def scaled(self, most: int, least: int = 1) -> int:
        """Scale a number of the goal's definition by the count."""
        return max(least, most * self.count // WHOLE)

    @property
    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def run(self, chosen: Iterable[Case], label: str) -> list[Outcome]:
        chosen = list(chosen)
        with progress() as bar:
            found = run_cases(chosen, self.good, self.folder)
            return list(bar.track(found, total=len(chosen), description=label))

    def through(self, prefix: str, words: Iterable[str], seeds: int = 1) -> list[Case]:
        """Cases whose kind contains one of `words`, at entry points that start with `prefix`."""
        words = tuple(words)
        return [
            Case(name, kind, self.seed + more)
            for name, entry in ENTRY_POINTS.items()
            for kind in KINDS
            if name.startswith(prefix) and suits(kind, entry) and any(w in kind.name for w in words)
            for more in range(seeds if kind.often else 1)
        ]


Goal = Callable[[Bench], Reached]


def tell(faults: Iterable[str]) -> None:
    """Print the failures in detail on standard error."""
    for fault in faults:
        click.echo(fault, err=True)
