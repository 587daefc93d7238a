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
CLOSING = 10.0  # seconds that a writer gets to finish


class Writer(Protocol):
    """Writes pictures of one size."""

    def write(self, picture: Picture, when: float) -> None:
        """A picture, (H, W, 3) uint8 RGB, and the time.monotonic() it belongs to."""

    def close(self, when: float) -> None:
        """Finish; the last picture was shown until `when`."""

    def abandon(self) -> None:
        """Release everything after a failure."""


class Outlet:
    """Writes the newest picture; pictures that arrive while it is busy are dropped.

    written: pictures, so far. trouble: "" or what is wrong, in a line.
    """

    def __init__(
        self, opener: Callable[[], Writer], size: tuple[int, int], *, again: bool = False
    ) -> None:
        """Open at once. size: (width, height) that pictures are brought to.
        again: open anew, with growing pauses, after a failure.

        Raises: what opening raises.
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
        """Write the waiting picture and finish. A second call does nothing."""
        self._end = self._end or time.monotonic()
        self._closing.set()
        self._thread.join(CLOSING)
        if self._thread.is_alive():
            self.trouble = self.trouble or "did not finish in time"

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            closing = self._closing.is_set()  # first: what was offered before it is written
            item = self._latest.take(0.0 if closing else 0.1)
            if item is None:
                if closing:
                    break
                continue
            try:
                if self._writer is None:
                    self._writer = self._opener()
                self._writer.write(fitted(item[0], self._size), item[1])
            except Exception as error:  # a library's own, too: the show goes on without it
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
