"""Moving masks: videos of the same length as the source, white where a style paints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from st.runtime.painting.regions import as_mask
from st.runtime.pictures.batch import READ_SUFFIXES
from st.video.film.reader import Film
from st.video.film.time_range import TimeRange

Gray = NDArray[np.uint8]  # (H, W)


class MaskFilm:
    """A mask video, read in step with the source.

    short: whether it ended more than half a second before the source.
    """

    def __init__(self, path: Path, time_range: TimeRange) -> None:
        """Raises BadInput: not a video."""
        self._film = Film(path, time_range)
        self._rotation = self._film.video_format.rotation
        self._frames: Iterator[tuple[Fraction, VideoFrame]] = self._timed()
        self._now: tuple[Fraction, VideoFrame] = next(self._frames)
        self._next = next(self._frames, None)
        self._gray: Gray | None = None
        self.short = False

    def at(self, seconds: Fraction) -> Gray:
        """The mask at this time after the video's first frame; after its end, the last mask.

        Times must not decrease from call to call.
        """
        # Timestamps rounded to milliseconds differ by half a tick.
        late = seconds + Fraction(1, 1000)
        while self._next is not None and self._next[0] <= late:
            self._now, self._next, self._gray = self._next, next(self._frames, None), None
        self.short = self._next is None and seconds > self._now[0] + Fraction(1, 2)
        if self._gray is None:
            rgb = np.asarray(self._now[1].to_ndarray(format="rgb24"), np.uint8)
            gray = cv2.cvtColor(self._rotation.apply(rgb), cv2.COLOR_RGB2GRAY)
            self._gray = np.asarray(gray, np.uint8)
        return self._gray

    def _timed(self) -> Iterator[tuple[Fraction, VideoFrame]]:
        """Yield (seconds since the first frame, frame)."""
        began: Fraction | None = None
        for item in self._film.items():
            if isinstance(item, VideoFrame):
                seconds = (item.pts or 0) * self._film.video_format.time_base
                began = seconds if began is None else began
                yield seconds - began, item

    def close(self) -> None:
        self._film.close()


class MaskFilms:
    """The masks of all regions, frame by frame; each is a picture or a video."""

    def __init__(self, sources: Sequence[Gray | MaskFilm]) -> None:
        self._sources = sources
        self._began: Fraction | None = None

    def of(self, frame: VideoFrame) -> list[Gray]:
        """The masks for this frame. Frames must come in the order of the video."""
        seconds = (frame.pts or 0) * Fraction(frame.time_base or 0)
        self._began = seconds if self._began is None else self._began
        since = seconds - self._began
        return [s.at(since) if isinstance(s, MaskFilm) else s for s in self._sources]

    def short(self) -> bool:
        """Whether a mask video ended before the video did."""
        return any(isinstance(source, MaskFilm) and source.short for source in self._sources)

    def close(self) -> None:
        for source in self._sources:
            if isinstance(source, MaskFilm):
                source.close()


def open_masks(paths: Sequence[Path], time_range: TimeRange) -> MaskFilms | None:
    """Open the masks if any is a video; None if all are pictures. Raises BadInput."""
    if not any(is_film(path) for path in paths):
        return None
    opened: list[Gray | MaskFilm] = []
    try:
        for path in paths:
            opened.append(MaskFilm(path, time_range) if is_film(path) else as_mask(path))
    except BaseException:
        MaskFilms(opened).close()
        raise
    return MaskFilms(opened)


def is_film(path: Path) -> bool:
    return path.suffix.lower() not in READ_SUFFIXES
