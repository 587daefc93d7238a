"""A film file or pipe, opened without trust and read packet by packet."""

from __future__ import annotations

import io
import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from st.runtime.errors import BadInput, StError, printable
from st.runtime.system.atomic_files import check_no_pipe
from st.video.film.color import Tags, has_alpha
from st.video.film.deinterlace import Deinterlacer
from st.video.film.picture_format import Look
from st.video.film.rotation import Turn
from st.video.film.time_range import Window

# Film formats proper. Not among them: playlists (concat, hls, dash, imf), which open other files,
# picture patterns, devices and scripts.
FORMATS = (
    "3gp,aiff,amv,apng,asf,av1,avi,dv,dvbsub,f4v,flv,gif,gxf,h261,h263,h264,hevc,ivf,m4a,m4v,"
    "matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,swf,vc1,vivo,vvc,webm,wtv,"
    "yuv4mpegpipe"
)
MAX_PIXELS = 178_000_000
MAX_READ_ERRORS = 1000
MOST_GAP = 3600  # seconds from a frame to the next; more is a damaged clock
SEEKABLE = ("matroska", "mov")  # formats whose index makes a seek land before the moment


class Memory(io.RawIOBase):
    """A film file's bytes that lie in memory: a source to seek in, unlike a pipe."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._data) if size < 0 else self._at + size
        piece = bytes(self._data[self._at : end])
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class Film:
    """A film to be painted: its main picture stream decoded, the others as packets.

    Attributes:
        look: of the first frame.
        video: the stream that is decoded.
        others: the streams to copy.
        expected: about how many frames to come; None when unknown.
        damaged: packets that could not be decoded and frames that the decoder had to guess, so far.
    """

    def __init__(self, source: Path | BinaryIO | Memory, window: Window | None = None) -> None:
        """Open `source` and decode its first frame.

        Raises:
            BadInput: missing, no film, a playlist, no picture stream, nothing in the window.
        """
        self.window = window or Window()
        self.name = "standard input" if not isinstance(source, Path) else printable(source)
        self.container = open_container(source, self.name)
        self.damaged = 0
        self._last_pts: int | None = None
        self._deinterlacer = Deinterlacer()
        try:
            self.video = main_picture(self.container, self.name)
            self.others = [s for s in self.container.streams if s is not self.video]
            self._decoder = _decoder(self.video)
            self.time_base = self.video.time_base or Fraction(1, 90000)
            rate = self.video.average_rate or self.video.guessed_rate
            self._rate = rate if rate and rate <= 1000 else Fraction(25)
            self.begins = Fraction(self.container.start_time or 0, av.time_base)
            self._seek(isinstance(source, Path | Memory))
            self._items = self._read()
            self._early: deque[VideoFrame | Packet] = deque()
            self.look = self._first_look()
        except BaseException:
            self.container.close()
            raise

    @property
    def deinterlaced(self) -> bool:
        """Whether some frames were interlaced, so far; they come whole, as many as before."""
        return self._deinterlacer.used

    @property
    def offset(self) -> Fraction:
        """Seconds taken off every timestamp."""
        if self.window.start:
            return self.begins + self.window.start
        # A broadcast's clock starts anywhere; films that st writes keep a meaningful start.
        return Fraction(0) if self.container.format.name in _KEEP_START else self.begins

    @property
    def expected(self) -> int | None:
        seconds = Fraction(self.container.duration or 0, av.time_base)
        if self.window.start or self.window.duration or not self.video.frames:
            seconds = self.window.length(seconds)
            return round(seconds * self.look.rate) or None
        return self.video.frames

    def items(self) -> Iterator[VideoFrame | Packet]:
        """Frames, in order and with rising `pts` in `look.time_base`, and the packets of `others`
        as they lie between them."""
        while self._early:
            yield self._early.popleft()
        yield from self._items

    def copied(self) -> Iterator[Packet]:
        """Only the packets of `others`, no picture decoded; instead of `items`, not after it."""
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
        """Go on from the keyframe at or before that moment, as if opened there.

        ticks: of the picture stream's clock. `damaged` counts from there. Frames of before the
        keyframe that come after it in the file may be damaged.
        Raises FFmpegError: the file cannot be sought in.
        """
        self.container.seek(ticks, stream=self.video)
        self._decoder.flush_buffers()
        self._early.clear()
        self._deinterlacer = Deinterlacer()
        self._last_pts, self.damaged = None, 0
        self._items = self._read()

    def close(self) -> None:
        self.container.close()

    def _seek(self, seekable: bool) -> None:
        wanted = self.window.start
        if not (wanted and seekable and set(self.container.format.name.split(",")) & {*SEEKABLE}):
            return
        try:
            self.container.seek(math.floor((self.begins + wanted) * av.time_base))
        except FFmpegError:
            self.container.seek(0)  # without an index: decode from the beginning

    def _first_look(self) -> Look:
        for item in self._items:
            self._early.append(item)
            if isinstance(item, VideoFrame):
                return self._look(item)
        if self.window.start:
            raise BadInput(f"{self.name}: nothing to show at --start {float(self.window.start):g}")
        raise BadInput(f"{self.name}: not one frame could be decoded")

    def _look(self, frame: VideoFrame) -> Look:
        if frame.width * frame.height > MAX_PIXELS:
            raise BadInput(f"{self.name}: frames of {frame.width}×{frame.height} are too large")
        aspect = self.video.sample_aspect_ratio
        return Look(
            width=frame.width,
            height=frame.height,
            tags=Tags.of(frame),
            rate=self._rate,
            time_base=self.time_base,
            aspect=aspect if aspect and 0 < aspect < 100 else Fraction(1),
            turn=Turn.of(frame),
            alpha=has_alpha(frame),
            bits=max(component.bits for component in frame.format.components),
        )

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
        """Every packet, reading on after damage; then None: time to flush the decoder."""
        errors = 0
        while errors < MAX_READ_ERRORS:
            try:
                for packet in self.container.demux():
                    if packet.size:
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
        """The frame with a pts after the last one's, less the offset; none outside the window."""
        last = self._last_pts
        gap = 0 if frame.pts is None or last is None else (frame.pts - last) * self.time_base
        if gap > MOST_GAP:
            self.damaged += 1
            frame.pts = None
        if frame.pts is None:
            step = max(1, round(1 / (self._rate * self.time_base)))
            frame.pts = 0 if last is None else last + step
        if last is not None and frame.pts <= last:
            frame.pts = last + 1
        self._last_pts = frame.pts
        seconds = frame.pts * self.time_base - self.begins
        if self.window.ends_before(seconds):
            done.add(self.video.index)
        elif not self.window.starts_after(seconds):
            frame.pts -= round(self.offset / self.time_base)
            frame.time_base = self.time_base
            yield frame

    def _within(self, packet: Packet[Any], done: set[int]) -> bool:
        """Whether a copied packet belongs to the window; takes the offset off its times."""
        when = packet.pts if packet.pts is not None else packet.dts
        if when is None or packet.time_base is None:
            return not self.window.start
        seconds = when * packet.time_base - self.begins
        if self.window.ends_before(seconds):
            done.add(packet.stream_index)
            return False
        lasts = (packet.duration or 0) * packet.time_base
        if packet.stream.type == "subtitle" and self.window.start:
            if self.window.starts_after(seconds + lasts):
                return False
            late = max(0, math.ceil((self.window.start - seconds) / packet.time_base))
            when, packet.duration = when + late, max(0, (packet.duration or 0) - late)
            packet.pts = packet.dts = when
        elif self.window.starts_after(seconds):
            return False
        shift = round(self.offset / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return True


_KEEP_START = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


def open_container(source: Path | BinaryIO | Memory, name: str) -> InputContainer:
    """A film's container, without trust. name: for messages. Raises BadInput."""
    if isinstance(source, Path):
        if not source.exists():
            raise BadInput(f"{name}: no such file")
        check_no_pipe(source, name)
        # Absolute, so that no part of the name is taken for a protocol.
        file: Any = str(source.absolute())
    else:
        file = source if isinstance(source, Memory) else _Pipe(source)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        film: InputContainer = av.open(  # type: ignore[assignment]
            file, mode="r", container_options=options, metadata_errors="replace"
        )
        return film
    except FFmpegError as error:
        hint = "" if isinstance(source, Path) else " (a pipe needs Matroska or MPEG-TS)"
        why = printable(error.strerror, 80)
        raise BadInput(f"{name}: no film that st can read: {why}{hint}") from None
    except (ValueError, UnicodeError) as error:
        raise BadInput(f"{name}: no film that st can read: {printable(error, 80)}") from None


class _Pipe:
    """A pipe to read from; without seek(), which a real file's object would pretend to have."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read


def main_picture(container: InputContainer, name: str) -> VideoStream:
    """The picture stream that is painted. name: for messages. Raises BadInput: there is none."""
    pictures = [s for s in container.streams.video if not _is_cover(s)]
    for stream in pictures:
        if stream.codec_context is not None:
            return stream
    if pictures:
        raise BadInput(f"{name}: st has no decoder for its picture")
    raise BadInput(f"{name}: no picture in it, only {_kinds(container)}")


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _kinds(container: InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """The stream's decoder; for VP8 and VP9 with alpha, libvpx, since FFmpeg's own drops it."""
    context = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and context.name in ("vp8", "vp9"):
        name = "libvpx" if context.name == "vp8" else "libvpx-vp9"
        context = VideoCodecContext.create(name, "r")  # type: ignore[assignment]
    if not isinstance(context, VideoCodecContext):
        raise StError("the picture stream has no picture decoder")
    return context
