"""Recordings of a show, begun and ended while it runs."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from st.runtime.errors import printable
from st.video.live.loop import Live
from st.video.live.outlet import Outlet
from st.video.live.recorder import Recorder


class Recordings:
    """One recording at a time.

    running: the one that runs. written: pictures in all that are ended.
    troubles: what went wrong with those, a line each.
    """

    def __init__(self, live: Live, size: tuple[int, int], rate: float, folder: Path) -> None:
        """size: (width, height), both even. rate: about how many pictures a second.
        folder: for recordings without a name."""
        self._live, self._size, self._rate, self._folder = live, size, rate, folder
        self.running: Outlet | None = None
        self._path = Path()
        self.written = 0
        self.troubles: list[str] = []

    def start(self, path: Path | None = None) -> str:
        """Begin one; returns a line for the viewer.

        Raises BadInput, OSError: it cannot be written there.
        """
        self.stop()
        self._path = path or free_name(self._folder / f"{stamp()}.mp4")
        opener = partial(Recorder, self._path, self._size, self._rate)
        self.running = Outlet(opener, self._size)
        self._live.add(self.running)
        return f"recording {printable(self._path)}"

    def stop(self) -> str:
        """End the one that runs, if any; returns a line for the viewer."""
        ended, self.running = self.running, None
        if ended is None:
            return ""
        self._live.remove(ended)
        ended.close()
        if ended.trouble:
            line = f"{printable(self._path)} could not be recorded: {ended.trouble}"
            self.troubles.append(line)
            return line
        self.written += ended.written
        return f"recorded {printable(self._path)}"


def stamp() -> str:
    """A name for what is saved now."""
    return time.strftime("st-webcam-%Y%m%d-%H%M%S")


def free_name(wanted: Path) -> Path:
    """The path, or with -2, -3, … where files stand already."""
    path, number = wanted, 2
    while path.exists():
        path, number = wanted.with_stem(f"{wanted.stem}-{number}"), number + 1
    return path
