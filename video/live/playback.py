"""A video as a frame source: played at its own rate, once or in a loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from av.video.frame import VideoFrame

from st.runtime.errors import StError
from st.video.film.color import Converter
from st.video.film.picture_format import VideoFormat
from st.video.film.reader import Film
from st.video.live.capture import Captured
from st.video.live.compose import Picture

LATE = 0.1  # seconds; a frame that is later than this may be skipped
JUMP = 5.0  # seconds; a larger gap in the timestamps restarts the clock


class Pace:
    """Converts frame timestamps to display times."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._shown = 0.0

    def due(self, seconds: float) -> float:
        """The time.monotonic() at which to show the frame with this timestamp, in seconds.

        If playback is over a second late, or the timestamps jump, the clock restarts here.
        """
        now = time.monotonic()
        if self._begin is None or not -1 < self._begin + seconds - now < JUMP:
            self._begin = now - seconds
        return self._begin + seconds

    def skips(self, due: float) -> bool:
        """Whether to skip this frame: it is late, and one was shown in the last 0.5 s."""
        now = time.monotonic()
        if now - due > LATE and now - self._shown < 0.5:
            return True
        self._shown = now
        return False


class Playback:
    """See st.video.live.capture.FrameSource."""

    def __init__(
        self,
        path: Path,
        stop: threading.Event,
        loop: bool = False,
        box: tuple[int, int] | None = None,
    ) -> None:
        """box: maximum (height, width); larger frames are scaled down to fit.

        Raises BadInput: the file is not a video.
        """
        self._path, self._stop, self._loop = path, stop, loop
        self._film = Film(path)
        self._format = boxed(self._film.video_format.upright().square(), box)
        self._converter = Converter()
        self._frames = self._play()
        self.rate: float | None = float(self._film.video_format.rate)
        self.description = (
            f"{self._film.name}: {self._format.width}×{self._format.height} "
            f"at {self.rate:.4g} frames/s" + (", in a loop" if loop else "")
        )

    def read(self) -> Captured | None:
        return next(self._frames, None)

    def close(self) -> None:
        self._film.close()

    def _play(self) -> Iterator[Captured]:
        while True:
            pace, some = Pace(), False
            for item in self._film.items():
                if not isinstance(item, VideoFrame) or item.pts is None:
                    continue
                some = True
                due = pace.due(float(item.pts * self._film.time_base))
                if pace.skips(due):
                    continue
                rgb = self._upright(item)
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                yield Captured(rgb, time.monotonic())
            if not self._loop:
                return
            if not some:
                raise StError(f"{self._film.name}: no frame could be decoded")
            self._film.close()
            self._film = Film(self._path)

    def _upright(self, frame: VideoFrame) -> Picture:
        rotation, shown = self._film.video_format.rotation, self._format
        size = (shown.width, shown.height) if rotation.swaps else (shown.height, shown.width)
        return rotation.apply(self._converter.open(frame, *size).rgb)


def boxed(video_format: VideoFormat, box: tuple[int, int] | None) -> VideoFormat:
    """Scale the format down to fit `box`, (height, width), keeping the aspect ratio."""
    if box is None:
        return video_format
    height, width = video_format.height, video_format.width
    scale = min(1.0, box[0] / height, box[1] / width)
    return video_format.resized((max(2, round(height * scale)), max(2, round(width * scale))))
