"""Read the newest frame of a camera, stream or video; reopen a source that was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import StError
from st.video.live.latest import LatestSlot

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before the source is opened again


@dataclass(frozen=True)
class Captured:
    """A frame, (H, W, 3) uint8 RGB, and its arrival time, in seconds of time.monotonic()."""

    rgb: NDArray[np.uint8]
    when: float


class Lost(StError):
    """The source stopped delivering frames; opening it again may work."""


class FrameSource(Protocol):
    """An opened source.

    description: size, rate and format in effect, in one line.
    rate: frames per second, if known.
    """

    description: str
    rate: float | None

    def read(self) -> Captured | None:
        """Wait for the next frame; None at the end of the source. Raises Lost."""

    def close(self) -> None: ...


Opener = Callable[[threading.Event], FrameSource]  # the event is set when reading must end


class Capture:
    """A thread that reads frames and keeps the newest.

    latest: slot that holds the newest frame.
    size: (height, width) of the first frame, in pixels.
    trouble: "" while frames arrive, else one line that describes the problem.
    ended: whether the source reached its end.
    reopened: number of times the source was lost and opened again.
    """

    def __init__(self, opener: Opener) -> None:
        """Open the source and wait for its first frame.

        Raises: any exception of `opener`; Lost: it delivers no frame.
        """
        self._opener = opener
        self._stop = threading.Event()
        self._source: FrameSource | None = opener(self._stop)
        self.latest: LatestSlot[Captured] = LatestSlot()
        self.trouble = ""
        self.ended = False
        self.reopened = 0
        self.description = self._source.description
        self.rate = self._source.rate
        try:
            first = self._source.read()
            if first is None:
                raise Lost(f"{self.description}: no frame arrived")
        except BaseException:
            self._source.close()
            raise
        self.size = first.rgb.shape[0], first.rgb.shape[1]
        self.last = first.when
        self.latest.put(first)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. If it hangs in a driver, it is left to end with the process."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                if self._source is None:
                    self._source = self._opener(self._stop)
                captured = self._source.read()
            except Exception as error:  # includes errors of libraries: open the source again
                if self._stop.is_set():
                    break
                self._release()
                self.trouble = f"{error}: trying again"
                self._stop.wait(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            if captured is None:
                self.ended = True
                break
            if self.trouble:
                self.reopened += 1
                self.description = self._source.description
            self.trouble, pause, self.last = "", FIRST_PAUSE, captured.when
            self.latest.put(captured)
        self._release()

    def _release(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None

    @property
    def away(self) -> float:
        """Seconds since the last frame."""
        return time.monotonic() - self.last
