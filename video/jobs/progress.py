"""Progress bar of a video: frames per second and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import MofNCompleteColumn, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from st.runtime.cli.progress import progress_bars
from st.runtime.errors import printable


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} frames/s" if speed else "– frames/s")


@contextmanager
def progress(name: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each frame. total: expected frames; None if unknown."""
    with progress_bars(
        MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), transient=False
    ) as bar:
        task = bar.add_task(printable(name, 40), total=total)
        yield lambda: bar.advance(task)
