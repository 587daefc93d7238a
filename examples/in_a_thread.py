"""A painting thread for an app that must not wait: it paints the newest frame and drops older ones.

    python examples/in_a_thread.py film.mp4 painted.png --style the_scream

The main thread plays a video at its own rate, like a game or a camera, and offers each frame to the
thread, which paints the newest one. The last painting is saved.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from st.runtime import StError, Stylizer

Frame = NDArray[np.uint8]  # (height, width, 3), RGB


class PaintingThread(threading.Thread):
    """Give it frames with `offer`, and read `painted` whenever you draw."""

    def __init__(self, paint: Stylizer) -> None:
        super().__init__(daemon=True)
        self._paint = paint  # may be shared: any thread can call a Stylizer
        self._newest: Frame | None = None
        self._changed = threading.Condition()
        self._ending = False
        self.painted: Frame | None = None
        self.count = 0

    def offer(self, frame: Frame) -> None:
        """Return at once. A pending frame is replaced by this one."""
        with self._changed:
            self._newest = frame
            self._changed.notify()

    def finish(self) -> None:
        """Paint the pending frame, and end."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self.join()

    def run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ending)
                frame, self._newest = self._newest, None
            if frame is None:
                return
            self.painted = self._paint(frame)  # ONNX Runtime frees the GIL while it computes
            self.count += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A painting thread beside an app that must not wait."
    )
    parser.add_argument("film")
    parser.add_argument("output", help="picture to save the last painting as")
    parser.add_argument("--style", default="wave")
    given = parser.parse_args()

    painter = PaintingThread(Stylizer("paintings").set_style(given.style))
    painter.start()
    played = 0
    with av.open(given.film) as film:
        rate = float(film.streams.video[0].average_rate or 25)
        for frame in film.decode(video=0):
            painter.offer(frame.to_ndarray(format="rgb24"))
            played += 1
            time.sleep(1 / rate)  # the app's own work; it never waits for a painting
    painter.finish()
    if painter.painted is None:
        sys.exit(f"Error: {given.film} has no frames")
    Image.fromarray(painter.painted).save(given.output)
    print(f"{played} frames played, {painter.count} painted, the last one saved")


if __name__ == "__main__":
    try:
        main()
    except (StError, OSError, ValueError) as error:  # the video or picture cannot be read
        sys.exit(f"Error: {error}")
