"""Reads a video from an untrusted file or pipe, packet by packet."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from st.runtime.errors import BadInput, StError, printable
from st.video.film.clock import Clock
from st.video.film.color import Tags, has_alpha, transparent
from st.video.film.containers import (
    MAX_READ_ERRORS,
    MemoryFile,
    Samples,
    Source,
    main_video,
    open_container,
    open_samples,
    reopened,
)
from st.video.film.deinterlace import Deinterlacer
from st.video.film.picture_format import VideoFormat
from st.video.film.pipes import Pipe, open_pipe
from st.video.film.rotation import DisplayRotation
from st.video.film.time_range import TimeRange

MAX_SCANNED = 400_000_000  # pixels of an animation to search for transparency
FINE = 10_000  # minimum ticks per second if times are shifted
MAX_PIXELS = 178_000_000
MAX_GAP = 3600  # seconds between frames; a larger gap is a damaged timestamp
SEEKABLE = ("matroska", "mov")  # formats whose index lets a seek land before its target


class Film:
    """A video to paint: frames of its main video stream, packets of the others.

    Attributes:
        video_format: the format of the first frame.
        video: the stream that is decoded.
        others: the streams to copy.
        expected: the approximate number of frames; None if unknown.
        damaged: so far, packets that failed to decode and frames that the decoder concealed.
    """

    def __init__(
        self, source: Path | MemoryFile | BinaryIO, time_range: TimeRange | None = None
    ) -> None:
        """Open `source` and decode its first frame.

        Raises:
            BadInput: no such file, not a video, no video stream, or no frame in the time range.
        """
        self.time_range = time_range or TimeRange()
        self.name = "standard input" if not isinstance(source, Path) else printable(source)
        self._spooled: Any = None
        self.source = self._readable(source)
        self.container = self._open()
        self.damaged = 0
        self._clock = Clock(self.container)
        self._last_pts: int | None = None
        self._deinterlacer = Deinterlacer()
        try:
            self.video = main_video(
                self.container, partial(open_samples, self.source, self.name), self.name
            )
            self.others = [s for s in self.container.streams if s is not self.video]
            self._decoder = _decoder(self.video)
            own = self.video.time_base or Fraction(1, 90000)
            # Coarse ticks (one frame in AVI) cannot represent shifted times.
            self.ticks = max(1, math.ceil(own * FINE)) if self.time_range.start else 1
            self.time_base = own / self.ticks
            rate = self.video.average_rate or self.video.guessed_rate
            self._rate = rate if rate and rate <= 1000 else Fraction(25)
            self.begins = Fraction(self.container.start_time or 0, av.time_base)
            self._seek(isinstance(self.source, Path | MemoryFile))
            self._items = self._read()
            self._early: deque[VideoFrame | Packet] = deque()
            self.video_format = self._first_format()
        except BaseException:
            self.close()
            raise

    def _readable(self, source: Path | MemoryFile | BinaryIO) -> Source:
        if isinstance(source, Path | MemoryFile):
            return source
        opened = open_pipe(source)
        if isinstance(opened, Pipe):
            return opened
        self._spooled = opened
        return Path(opened.name)

    def _open(self) -> InputContainer:
        try:
            return open_container(self.source, self.name)
        except BaseException:
            if self._spooled is not None:
                self._spooled.close()
            raise

    @property
    def deinterlaced(self) -> bool:
        """Whether any frame so far was deinterlaced; the number of frames stays."""
        return self._deinterlacer.used

    @property
    def jumps(self) -> int:
        """How many timestamp jumps were removed so far."""
        return self._clock.jumps

    @property
    def offset(self) -> Fraction:
        """Seconds that are subtracted from every timestamp."""
        if self.time_range.start:
            return self.begins + self.time_range.start
        # Broadcasts start at an arbitrary time; in these formats the start is meaningful.
        return Fraction(0) if self.container.format.name in _KEEP_START else self.begins

    @property
    def expected(self) -> int | None:
        seconds = Fraction(self.container.duration or 0, av.time_base)
        if self.time_range.start or self.time_range.duration or not self.video.frames:
            seconds = self.time_range.length(seconds)
            return round(seconds * self.video_format.rate) or None
        return self.video.frames

    def items(self) -> Iterator[VideoFrame | Packet]:
        """Frames with increasing `pts` in `video_format.time_base`, interleaved with the packets
        of `others` in file order."""
        while self._early:
            yield self._early.popleft()
        yield from self._items

    def copied(self) -> Iterator[Packet]:
        """Only the packets of `others`, without decoding. Call this instead of `items`."""
        while self._early:
            item = self._early.popleft()
            if isinstance(item, Packet):
                yield item
        done: set[int] = set()
        for packet in self._packets():
            if packet is None or packet.stream_index == self.video.index:
                continue
            if self._within(packet, done):
                yield packet

    def begin_at(self, ticks: int) -> None:
        """Seek to the keyframe at or before this time, as if the video were opened there.

        ticks: in the time base of the video stream. `damaged` restarts at 0. Frames that follow
        the keyframe in the file but precede it in time may be damaged.
        Raises FFmpegError: the file is not seekable.
        """
        self.container.seek(ticks, stream=self.video)
        self._decoder.flush_buffers()
        self._early.clear()
        self._deinterlacer = Deinterlacer()
        self._clock = Clock(self.container)
        self._last_pts, self.damaged = None, 0
        self._items = self._read()

    def samples(self) -> Samples:
        """The first packets of every stream. The caller closes the result."""
        sampled = open_samples(self.source, self.name)
        if sampled is not None:
            return sampled
        return Samples(self.container, [p for p in self._early if isinstance(p, Packet)])

    def close(self) -> None:
        self.container.close()
        if self._spooled is not None:
            self._spooled.close()

    def _seek(self, seekable: bool) -> None:
        wanted = self.time_range.start
        if not (wanted and seekable and set(self.container.format.name.split(",")) & {*SEEKABLE}):
            return
        try:
            self.container.seek(math.floor((self.begins + wanted) * av.time_base))
        except FFmpegError:
            self.container.seek(0)  # without an index: decode from the beginning

    def _first_format(self) -> VideoFormat:
        for item in self._items:
            self._early.append(item)
            if isinstance(item, VideoFrame):
                return self._format_of(item)
        if self.time_range.start:
            start = float(self.time_range.start)
            raise BadInput(f"{self.name}: no frame after {start:g} s; start earlier")
        raise BadInput(f"{self.name}: no frame could be decoded")

    def _format_of(self, frame: VideoFrame) -> VideoFormat:
        if frame.width * frame.height > MAX_PIXELS:
            raise BadInput(f"{self.name}: frames of {frame.width}×{frame.height} are too large")
        aspect = self.video.sample_aspect_ratio
        return VideoFormat(
            height=frame.height,
            width=frame.width,
            tags=Tags.of(frame),
            rate=self._rate,
            time_base=self.time_base,
            aspect=aspect if aspect and 0 < aspect < 100 else Fraction(1),
            rotation=DisplayRotation.of(frame),
            alpha=has_alpha(frame) and not self._opaque_animation(),
            bits=max(component.bits for component in frame.format.components),
        )

    def _opaque_animation(self) -> bool:
        """Whether this is a GIF or APNG without transparent pixels; all have alpha channels."""
        if self.container.format.name not in ("gif", "apng"):
            return False
        if not isinstance(self.source, Path | MemoryFile):
            return False
        with closing(reopened(self.source, self.name)) as container:
            seen = 0
            for packet in container.demux(video=0):
                for frame in packet.decode():
                    seen += frame.width * frame.height
                    if seen > MAX_SCANNED or transparent(frame):
                        return False
        return True

    def _read(self) -> Iterator[VideoFrame | Packet]:
        done: set[int] = set()
        waiting = {s.index for s in self.others if s.type == "audio"} | {self.video.index}
        for packet in self._packets():
            if packet is not None and packet.stream_index != self.video.index:
                if self._within(packet, done):
                    yield packet
                continue
            for decoded in self._decode(packet):
                for frame in self._deinterlacer.push(decoded):
                    yield from self._timed(frame, done)
            if waiting <= done:
                return
        for frame in self._deinterlacer.flush():
            yield from self._timed(frame, done)

    def _packets(self) -> Iterator[Packet[Any] | None]:
        """All packets, past read errors; then None, to flush the decoder."""
        errors = 0
        while errors < MAX_READ_ERRORS:
            try:
                for packet in self.container.demux():
                    if packet.size:
                        self._clock.correct(packet)
                        yield packet
                break
            except (FFmpegError, UnicodeDecodeError):
                errors += 1
                self.damaged += 1
        yield None

    def _decode(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        try:
            frames = self._decoder.decode(packet)
        except EOFError:
            return []
        except FFmpegError:
            self.damaged += 1
            return []
        self.damaged += sum(frame.is_corrupt for frame in frames)
        return frames

    def _timed(self, frame: VideoFrame, done: set[int]) -> Iterator[VideoFrame]:
        """Yield the frame with an increasing, shifted pts; nothing outside the time range."""
        last = self._last_pts
        if frame.pts is not None:
            frame.pts *= self.ticks
        frame.duration *= self.ticks
        gap = 0 if frame.pts is None or last is None else (frame.pts - last) * self.time_base
        if gap > MAX_GAP:
            self.damaged += 1
            frame.pts = None
        if frame.pts is None:
            step = max(1, round(1 / (self._rate * self.time_base)))
            frame.pts = 0 if last is None else last + step
        if last is not None and frame.pts <= last:
            frame.pts = last + 1
        self._last_pts = frame.pts
        seconds = frame.pts * self.time_base - self.begins
        if self.time_range.ends_before(seconds):
            done.add(self.video.index)
        elif not self.time_range.starts_after(seconds):
            frame.pts -= round(self.offset / self.time_base)
            frame.time_base = self.time_base
            yield frame

    def _within(self, packet: Packet[Any], done: set[int]) -> bool:
        """Whether a copied packet lies in the time range; shifts its times by the offset."""
        when = packet.pts if packet.pts is not None else packet.dts
        if when is None or packet.time_base is None:
            return not self.time_range.start
        seconds = when * packet.time_base - self.begins
        if self.time_range.ends_before(seconds):
            done.add(packet.stream_index)
            return False
        lasts = (packet.duration or 0) * packet.time_base
        if packet.stream.type == "subtitle" and self.time_range.start:
            if self.time_range.starts_after(seconds + lasts):
                return False
            late = max(0, math.ceil((self.time_range.start - seconds) / packet.time_base))
            when, packet.duration = when + late, max(0, (packet.duration or 0) - late)
            packet.pts = packet.dts = when
        elif self.time_range.starts_after(seconds):
            return False
        shift = round(self.offset / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return True


_KEEP_START = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """The stream's decoder. VP8 and VP9 with alpha use libvpx; FFmpeg's own drops alpha."""
    context = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and context.name in ("vp8", "vp9"):
        name = "libvpx" if context.name == "vp8" else "libvpx-vp9"
        context = VideoCodecContext.create(name, "r")  # type: ignore[assignment]
    if not isinstance(context, VideoCodecContext):
        raise StError("no decoder for the video stream")
    return context
