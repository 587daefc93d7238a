"""Where and how a training runs, whatever the method; and what it says as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from st.train.checkpoint import Checkpoint


def resume_file(output: Path) -> Path:
    """Where the training that writes this checkpoint keeps its state."""
    return output.with_suffix(".resume.pt")


@dataclass(frozen=True)
class Run:
    """Where and how a training runs, whatever the method.

    content: folders; without any, a bank that styles are added to learns on their pictures.
    begun: a network of whatever method whose weights this one begins with, where they fit.
    teacher: a network whose pictures are copied in the first steps.
    base: the bank that the styles are added to, all else of it kept; None to train from the start.
    start: the rows that the added styles start at; by default the best of the bank's.
    video: folders of clips that the temporal loss learns from, beside photographs set in motion.
    minutes: end after so long, with the learning rate's fall timed to it; None ends at the steps.
    hold_out: one photograph in so many is kept from training, see
        `st.train.data.pictures.held_out`.
    """

    content: tuple[Path, ...]
    styles: tuple[str, ...]
    output: Path
    begun: Checkpoint | None = None
    teacher: Checkpoint | None = None
    base: Checkpoint | None = None
    start: Tensor | None = None
    video: tuple[Path, ...] = ()
    minutes: float | None = None
    hold_out: int = 0
    resume: bool = False
    seed: int = 0
    device: str = "auto"
    devices: str | int = 1
    nodes: int = 1
    precision: str = "auto"
    preview_every: int = 500
    save_every: int = 250
    workers: int = 1

    @property
    def resume_file(self) -> Path:
        return resume_file(self.output)

    @property
    def preview_file(self) -> Path:
        return self.output.with_suffix(".preview.jpg")

    @property
    def log_folder(self) -> Path:
        return self.output.with_suffix(".logs")


@dataclass(frozen=True)
class Progress:
    """One finished step, its weighted loss terms, and how many steps it will be as things stand."""

    step: int
    losses: dict[str, float]
    planned: int
