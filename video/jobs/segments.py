"""Paint videos in segments and assemble them at the end: a crash costs only seconds of work.

Every segment has a fixed number of frames and its own encoder. A video that was resumed, or whose
segments were painted on other machines, therefore equals that of an uninterrupted run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from st.runtime.errors import StError
from st.video.film.color import Converter, RgbFrame
from st.video.film.picture_format import VideoFormat
from st.video.film.reader import Film
from st.video.film.writer import FilmSink
from st.video.jobs.segment_store import StoredSegment, read_packets

SEGMENT_FRAMES = 96  # each segment begins with a keyframe, so shorter ones would cost size
RAW = 1 << 30  # maximum bytes of RGB per segment, whose coded form is held in memory
LEAD = Fraction(1)  # seconds by which the picture is written ahead of the other streams


class SegmentConsumer(Protocol):
    """Receives finished segments in order; `SegmentStore` is one."""

    def add(
        self, packets: Sequence[Packet[Any]], frames: int, last: bool, state: dict[str, Any]
    ) -> None: ...


def segment_frames(video_format: VideoFormat) -> int:
    """The number of frames in a segment of a video of this format."""
    return max(1, min(SEGMENT_FRAMES, RAW // (3 * video_format.width * video_format.height)))


class SegmentSink:
    """Encodes painted frames into segments that follow the finished ones."""

    def __init__(
        self,
        film: FilmSink,
        segments: SegmentConsumer,
        state: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """state: returns the painter's state after the frame that it has just painted. A painter
        with a state uses one thread."""
        self._state = state or (lambda: {})
        self._after: dict[str, Any] = {}
        self.video_format: VideoFormat = film.video_format
        self._film = film
        self._segments = segments
        self._encoder = film.encoder()
        self._packets: list[Packet[Any]] = []
        self._frames = 0
        self._enough = segment_frames(self.video_format)

    def prepare_frame(
        self,
        converter: Converter,
        rgb: NDArray[np.uint8],
        opened: RgbFrame,
        source: VideoFrame,
    ) -> tuple[VideoFrame, dict[str, Any]]:
        return self._film.prepare_frame(converter, rgb, opened, source), self._state()

    def write(self, prepared: tuple[VideoFrame, dict[str, Any]]) -> None:
        frame, after = prepared
        if self._frames == self._enough:
            self._finish(last=False)
            self._encoder = self._film.encoder()
        self._packets += self._encoder.encode(frame)
        self._frames += 1
        self._after = after

    def copy(self, packet: Packet[Any]) -> None:
        """Do nothing: the other streams are read again when the video is assembled."""

    def close(self) -> None:
        """Finish the last segment of the video."""
        if self._frames:
            self._finish(last=True)

    def abandon(self) -> None:
        """Drop the unfinished segment; finished ones are kept."""
        self._packets = []

    @property
    def frames(self) -> int:
        """Number of frames in the unfinished segment."""
        return self._frames

    def unfinished(self) -> list[Packet[Any]]:
        """The packets of a segment that a stop cut short. They complete a partial video, but cannot
        be used when the video is resumed."""
        return [*self._packets, *self._encoder.encode(None)] if self._frames else []

    def _finish(self, last: bool) -> None:
        packets = [*self._packets, *self._encoder.encode(None)]
        self._segments.add(packets, self._frames, last, self._after)
        self._packets, self._frames = [], 0


class RemainingFrames:
    """A video's frames without the first ones, which are decoded and dropped. No other streams."""

    def __init__(self, film: Film, skipped: int, passed: Callable[[], None]) -> None:
        """skipped: number of frames to drop. passed: called for each of them."""
        self.video_format = film.video_format
        self._film = film
        self._skipped = skipped
        self._passed = passed

    def items(self) -> Iterator[VideoFrame]:
        left = self._skipped
        for item in self._film.items():
            if isinstance(item, Packet):
                continue
            if left:
                left -= 1
                self._passed()
                continue
            yield item


def assemble(
    target: FilmSink,
    film: Film,
    segments: list[StoredSegment],
    rest: list[Packet[Any]],
    cut: bool = False,
) -> None:
    """Write the picture from all segments, interleaved with the other streams of `film`.

    film: newly opened, at its beginning. rest: packets after the last segment.
    cut: whether the other streams end with the picture.
    Does not close `target`. Raises StError: a segment file is missing.
    """
    pictures = _pictures(target, segments, rest)
    waiting = next(pictures, None)
    for packet in film.copied():
        when = packet.dts if packet.dts is not None else packet.pts
        now = None if when is None else when * packet.time_base
        while waiting is not None and (now is None or _seconds(waiting) <= now + LEAD):
            target.put(waiting)
            waiting = next(pictures, None)
            if now is None:
                break
        if cut and waiting is None and now is not None and now > target.written:
            break
        target.copy(packet)
    while waiting is not None:
        target.put(waiting)
        waiting = next(pictures, None)


def _seconds(packet: Packet[Any]) -> Fraction:
    return Fraction(packet.dts or 0) * packet.time_base


def _pictures(
    target: FilmSink, segments: list[StoredSegment], rest: list[Packet[Any]]
) -> Iterator[Packet[Any]]:
    """All packets, with increasing decoding times. Each segment has its own encoder, so the times
    of two segments may overlap and are corrected here."""
    base, last = target.video_format.time_base, None

    def all_packets() -> Iterator[Packet[Any]]:
        for segment in segments:
            try:
                yield from read_packets(segment)
            except (OSError, ValueError, KeyError) as error:
                raise StError(f"{segment.path}: a finished segment is missing ({error})") from None
        yield from rest

    for packet in all_packets():
        packet.time_base = base
        if packet.dts is not None and last is not None and packet.dts <= last:
            packet.dts = last + 1
        if packet.dts is not None and packet.pts is not None and packet.dts > packet.pts:
            packet.dts = packet.pts
        last = packet.dts if packet.dts is not None else last
        yield packet
