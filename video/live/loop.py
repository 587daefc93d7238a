"""The live loop: paints the newest frame and passes it to the display and the outputs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from st.video.live.capture import Capture
from st.video.live.compose import Compare, Picture, compared, mirrored
from st.video.live.latest import LatestSlot
from st.video.live.outlet import Outlet
from st.video.live.painter import LivePainter

SILENCE = 2.0  # seconds without a frame before the viewer sees a message


@dataclass(frozen=True)
class Shown:
    """A picture to show, (H, W, 3) uint8 RGB, and its capture time (time.monotonic(), seconds)."""

    picture: Picture
    when: float


class Meter:
    """Recent frame rate, and recent delay from capture to the call of `count`."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=60)
        self._delays: deque[float] = deque(maxlen=1000)
        self.counted = 0

    def count(self, captured: float) -> None:
        now = time.monotonic()
        self.counted += 1
        self._times.append(now)
        self._delays.append(now - captured)

    @property
    def rate(self) -> float:
        """Frames per second over the last 1.5 s or 60 frames; 0 if there are too few."""
        recent = [t for t in self._times if t >= self._times[-1] - 1.5] if self._times else []
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    def delay(self, share: float = 0.5, last: int = 1000) -> float:
        """The `share` quantile of the last `last` delays, in seconds; by default the median."""
        delays = list(self._delays)[-last:]
        return float(np.quantile(delays, share)) if delays else 0.0


class Live:
    """A thread that paints the newest frame, at most `target_fps` times a second.

    mirror, compare: may be changed at any time.
    shown: slot that holds the newest painted picture.
    limit: number of pictures after which the loop stops; None for no limit.
    outlets: each receives every picture.
    painted: number of pictures painted so far.
    error: the exception that stopped the loop, if any.
    """

    def __init__(self, capture: Capture, painter: LivePainter, target_fps: float) -> None:
        self._capture, self.painter = capture, painter
        self._period = 1 / target_fps
        self.limit: int | None = None
        self._stop = threading.Event()
        self.mirror = False
        self.compare: Compare = ""
        self.shown: LatestSlot[Shown] = LatestSlot()
        self.outlets: tuple[Outlet, ...] = ()
        self.painted = 0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="paint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, outlet: Outlet) -> None:
        self.outlets = (*self.outlets, outlet)

    def remove(self, outlet: Outlet) -> None:
        self.outlets = tuple(o for o in self.outlets if o is not outlet)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def trouble(self) -> str:
        """One line about a problem with the source; "" if there is none."""
        if self._capture.trouble:
            return self._capture.trouble
        if self._capture.away > SILENCE and not self._capture.ended:
            return f"no picture for {self._capture.away:.0f} s"
        return ""

    def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._paint_on()
        except Exception as error:  # raised again by `follow`, in the caller's thread
            self.error = error

    def _paint_on(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set() and self.painted != self.limit:
            # Wait before taking a frame, so that the frame is the newest one.
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            captured = self._capture.latest.take(timeout=0.1)
            if captured is None:
                if self._capture.ended:
                    return
                continue
            # Accept a frame up to half a period early, so that a camera at this rate loses none.
            now = time.monotonic()
            due = max(due + self._period, now + self._period / 2)
            source = mirrored(captured.rgb) if self.mirror else captured.rgb
            picture = compared(source, self.painter(source), self.compare)
            self.painted += 1
            self.shown.put(Shown(picture, captured.when))
            for outlet in self.outlets:
                outlet.offer(picture, captured.when)


def follow(
    live: Live, stop: threading.Event, show: Callable[[Shown | None], bool], meter: Meter
) -> None:
    """Call `show` with each new picture, or with None 30 times a second if there is no new one.

    Returns when `show` returns False, `stop` is set or the loop ends.

    Raises: the exception that stopped the loop.
    """
    while not stop.is_set():
        shown = live.shown.take(1 / 30)
        if not show(shown):
            break
        if shown is not None:
            meter.count(shown.when)
        elif not live.running:
            break
    if live.error is not None:
        raise live.error
