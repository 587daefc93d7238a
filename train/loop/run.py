"""Where and how a training runs, whatever the method; and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from st.train.checkpoint import Checkpoint


def resume_file(output: Path) -> Path:
    """Where the training that writes the checkpoint `output` keeps its state."""
    return output.with_suffix(".resume.pt")


@dataclass(frozen=True)
class Run:
    """Where and how a training runs, whatever the method.

    content: folders of photographs; without any, styles that are added to a bank are trained on
        their own pictures.
    styles: style pictures, NAME=PICTURE, or folders of them.
    output: the checkpoint to write.
    initial: another network; where names and shapes match, its weights are the initial ones.
    teacher: a network whose pictures are copied in the first steps.
    base: the bank to add the styles to, with all else of it frozen; None to train a new network.
    start: (styles or 1, K) initial rows of the added styles; by default the best of the bank's.
    video: folders of clips for the temporal loss, beside photographs set in motion.
    minutes: end after so long, with the learning rate's decay timed to it; None: after all steps.
    pause_after: minutes after which the state is saved and the training ends unfinished, so that
        resuming it goes on as if it had not stopped; None: never.
    average: decay of a moving average of the weights, which the checkpoint and the preview then
        hold; 0 for none.
    hold_out: one photograph in so many is kept from training: see `st.train.data.files.held_out`.
    picture_memory: megabytes for pictures kept in memory, in all workers together.
    preview_every, save_every: steps between previews, and between saved states.
    workers: processes that read pictures; 0: the training's own.
    """

    content: tuple[Path, ...]
    styles: tuple[str, ...]
    output: Path
    initial: Checkpoint | None = None
    teacher: Checkpoint | None = None
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
    """One finished step.

    losses: its weighted loss terms. planned: the step at which the training will end, as expected
    now. unreadable: why pictures could not be read, one message each, for those met since the last
    step. paused: the training ends here, unfinished: see `Run.pause_after`.
    """

    step: int
    losses: dict[str, float]
    planned: int
    unreadable: tuple[str, ...] = ()
    paused: bool = False
