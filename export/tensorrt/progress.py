"""Progress bar of a TensorRT build, by phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID, TimeElapsedColumn

from st.runtime.cli.progress import progress_bars
from st.runtime.errors import printable


class BuildBar:
    """Shows the file that is built and, below it, TensorRT's current phases."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._file: TaskID | None = None
        self._phases: dict[str, TaskID] = {}

    def of(self, path: Path) -> BuildBar:
        """Start the next file."""
        self.clear()
        self._file = self._shown.add_task(printable(path.name, 60), total=None)
        return self

    def __call__(self, message: dict[str, Any]) -> None:
        """A message of st.export.tensorrt.worker."""
        if "start" in message:
            name = message["start"]
            depth = 2 if message["of"] in self._phases else 1
            self._phases[name] = self._shown.add_task(
                "  " * depth + printable(name, 50), total=message["steps"]
            )
        elif (name := message.get("step")) in self._phases:
            self._shown.update(self._phases[name], completed=message["at"] + 1)
        elif (name := message.get("finish")) in self._phases:
            self._shown.remove_task(self._phases.pop(name))

    def clear(self) -> None:
        for task in (*self._phases.values(), self._file):
            if task is not None:
                self._shown.remove_task(task)
        self._phases, self._file = {}, None


@contextmanager
def build_bar() -> Iterator[BuildBar]:
    """The bar on standard error, where that is a terminal."""
    with progress_bars(TimeElapsedColumn()) as shown:
        bar = BuildBar(shown)
        yield bar
        bar.clear()
