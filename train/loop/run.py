"""Settings of a training that are independent of the method, and its progress reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from st.train.bank.teacher import Teacher
from st.train.checkpoint import Checkpoint


def resume_file(output: Path) -> Path:
    """The file that the training of the checkpoint `output` saves its state in."""
    return output.with_suffix(".resume.pt")


@dataclass(frozen=True)
class Run:
    """Settings of a training that are independent of the method.

    content: folders of photographs. If empty, styles added to a bank are trained on their own
        pictures.
    styles: style pictures, NAME=PICTURE, or folders of them.
    output: the checkpoint to write.
    initial: another network, for the initial weights where names and shapes match.
    teacher: the network that paints the targets of the first steps.
    base: the bank to add the styles to, its other weights frozen; None to train a new network.
    start: (styles or 1, K) initial rows of the added styles; by default the best of the bank's.
    video: folders of clips for the temporal loss, in addition to warped photographs.
    minutes: time limit, which the learning rate's decay is adjusted to; None for no limit.
    pause_after: minutes until the state is saved and the training stops unfinished; a resumed
        training gives the same result as an uninterrupted one. None: never.
    compiled: compile the transform network, which takes about a minute.
    average: decay of a moving average of the weights, used for the checkpoint and the preview; 0
        for none.
    hold_out: exclude one photograph in this many: see `st.train.data.files.held_out`; 0 for none.
    picture_memory: megabytes of the picture cache, all workers together.
    preview_every, save_every: steps between previews, and between saved states.
    workers: processes that read pictures; 0 to read in the training's own process.
    """

    content: tuple[Path, ...]
    styles: tuple[str, ...]
    output: Path
    initial: Checkpoint | None = None
    teacher: Teacher | None = None
    base: Checkpoint | None = None
    start: Tensor | None = None
    video: tuple[Path, ...] = ()
    minutes: float | None = None
    pause_after: float | None = None
    average: float = 0.0
    hold_out: int = 0
    resume: bool = False
    seed: int = 0
    device: str = "auto"
    devices: str | int = 1
    nodes: int = 1
    precision: str = "auto"
    compiled: bool = False
    preview_every: int = 500
    save_every: int = 250
    workers: int = 1
    picture_memory: int = 1024

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
    """A finished step.

    losses: its weighted loss terms. planned: estimated last step of the training. unreadable: a
    message for each unreadable picture found since the last step. paused: the training stops here,
    unfinished: see `Run.pause_after`.
    """

    step: int
    losses: dict[str, float]
    planned: int
    unreadable: tuple[str, ...] = ()
    paused: bool = False
