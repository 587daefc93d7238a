"""Write painted pictures in a thread, so that no disk or network delays the display."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from st.runtime.errors import printable
from st.video.live.compose import Picture, fitted
from st.video.live.latest import LatestSlot

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a stream is opened again
CLOSING = 10.0  # timeout for a writer to finish, in seconds


class Writer(Protocol):
    """Writes pictures of one size."""

    def write(self, picture: Picture, when: float) -> None:
        """Write (H, W, 3) uint8 RGB. when: its capture time, in seconds of time.monotonic()."""

    def close(self, when: float) -> None:
        """Finish the output. when: end of the last picture, in seconds of time.monotonic()."""

    def abandon(self) -> None:
        """Release all resources after a failure."""


class Outlet:
    """Writes the newest picture; pictures that arrive while it is busy are dropped.

    written: number of pictures so far. trouble: one line that describes the problem, or "".
    """

    def __init__(
        self, opener: Callable[[], Writer], size: tuple[int, int], *, again: bool = False
    ) -> None:
        """Open the writer at once.

        size: (height, width) to which pictures are fitted.
        again: whether to reopen the writer after a failure, with growing pauses.

        Raises: any exception of `opener`.
        """
        self._opener, self._size, self._again = opener, size, again
        self._writer: Writer | None = opener()
        self._latest: LatestSlot[tuple[Picture, float]] = LatestSlot()
        self._end: float | None = None
        self._closing = threading.Event()
        self.written = 0
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def offer(self, picture: Picture, when: float) -> None:
        self._latest.put((picture, when))

    def close(self) -> None:
        """Write the pending picture and finish. A second call does nothing."""
        self._end = self._end or time.monotonic()
        self._closing.set()
        self._thread.join(CLOSING)
        if self._thread.is_alive():
            self.trouble = self.trouble or "did not finish in time"

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            closing = self._closing.is_set()  # read first: earlier offers are still written
            item = self._latest.take(0.0 if closing else 0.1)
            if item is None:
                if closing:
                    break
                continue
            try:
                if self._writer is None:
                    self._writer = self._opener()
                self._writer.write(fitted(item[0], self._size), item[1])
            except Exception as error:  # includes errors of libraries; the session continues
                self.trouble = _told(error)
                self._give_up()
                if not self._again:
                    return
                self._closing.wait(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            self.written += 1
            self.trouble, pause = "", FIRST_PAUSE
        self._finish()

    def _finish(self) -> None:
        try:
            if self._writer is not None:
                self._writer.close(self._end or 0.0)
        except Exception as error:
            self.trouble = _told(error)

    def _give_up(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()


def _told(error: Exception) -> str:
    """The system's error message without the name of a temporary file."""
    return printable((isinstance(error, OSError) and error.strerror) or error)
