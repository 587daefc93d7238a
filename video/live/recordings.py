"""Starts and stops recordings during a live session."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from st.runtime.errors import printable
from st.runtime.system.file_names import free_name
from st.video.live.loop import Live
from st.video.live.outlet import Outlet
from st.video.live.recorder import Recorder


class Recordings:
    """One recording at a time.

    running: the current recording, if any.
    written: total number of pictures in all finished recordings.
    troubles: one line for each recording that failed.
    """

    def __init__(self, live: Live, size: tuple[int, int], rate: float, folder: Path) -> None:
        """size: (height, width), both even. rate: nominal frame rate, in frames per second.
        folder: where recordings without an explicit path are saved."""
        self._live, self._size, self._rate, self._folder = live, size, rate, folder
        self.running: Outlet | None = None
        self._path = Path()
        self.written = 0
        self.troubles: list[str] = []

    def start(self, path: Path | None = None) -> str:
        """Start a recording, after stopping the current one; returns a line for the viewer.

        Raises BadInput, OSError: the file cannot be written.
        """
        self.stop()
        self._path = path or free_name(self._folder / f"{stamp()}.mp4", Path.exists)
        opener = partial(Recorder, self._path, self._size, self._rate)
        self.running = Outlet(opener, self._size)
        self._live.add(self.running)
        return f"recording {printable(self._path)}"

    def stop(self) -> str:
        """Stop the current recording; returns a line for the viewer, "" if there was none."""
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
    """A file name stem with the current local time."""
    return time.strftime("st-webcam-%Y%m%d-%H%M%S")
