"""Opening untrusted video files and pipes, and choosing the video stream to paint."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from st.runtime.errors import BadInput, printable
from st.runtime.system.atomic_files import check_no_pipe
from st.video.film.pipes import Pipe

# Video formats only: playlists (concat, hls, dash, imf), picture patterns, devices and scripts can
# open other files.
FORMATS = (
    "3gp,aiff,amv,apng,asf,av1,avi,dv,dvbsub,f4v,flv,gif,gxf,h261,h263,h264,hevc,ivf,m4a,m4v,"
    "matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,swf,vc1,vivo,vvc,webm,wtv,"
    "yuv4mpegpipe"
)
SAMPLE_PACKETS = 2000  # of all streams, read to find out what they contain
SAMPLE_BYTES = 32 << 20
MAX_READ_ERRORS = 1000


class MemoryFile(io.RawIOBase):
    """A video file in memory: unlike a pipe, it can seek."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def again(self) -> MemoryFile:
        """Another reader of the same bytes, at their start."""
        return MemoryFile(self._data)

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


Source = Path | MemoryFile | Pipe


def open_container(source: Source, name: str) -> InputContainer:
    """Open the container of an untrusted video. name: for messages. Raises BadInput."""
    if isinstance(source, Path):
        if not source.exists():
            raise BadInput(f"{name}: no such file")
        check_no_pipe(source, name)
        # An absolute path, so that no part of it is read as a protocol.
        file: Any = str(source.absolute())
    else:
        file = source
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        film: InputContainer = av.open(  # type: ignore[assignment]
            file, mode="r", container_options=options, metadata_errors="replace"
        )
        return film
    except FFmpegError as error:
        once = " (pipes need a format like Matroska, which is read in one pass)"
        hint = once if isinstance(source, Pipe) else ""
        why = printable(error.strerror, 80)
        raise BadInput(f"{name}: no video that st can read: {why}{hint}") from None
    except (ValueError, UnicodeError) as error:
        raise BadInput(f"{name}: no video that st can read: {printable(error, 80)}") from None


class Samples:
    """The first packets of every stream.

    container: the one that the streams belong to. packets: by stream index. spare: whether nothing
    else reads this container, so that its decoders may be used.
    """

    def __init__(
        self, container: InputContainer, packets: Iterable[Packet[Any]], spare: bool = False
    ) -> None:
        self.container = container
        self.packets: dict[int, list[Packet[Any]]] = {s.index: [] for s in container.streams}
        for packet in packets:
            self.packets[packet.stream_index].append(packet)
        self.spare = spare

    def close(self) -> None:
        if self.spare:
            self.container.close()


def reopened(source: Path | MemoryFile, name: str) -> InputContainer:
    """Open a source again, independent of other readers. Raises BadInput."""
    return open_container(source.again() if isinstance(source, MemoryFile) else source, name)


def open_samples(source: Source, name: str) -> Samples | None:
    """A video's first packets, read independently of its reader; None for a pipe.

    Raises BadInput.
    """
    if not isinstance(source, Path | MemoryFile):
        return None
    container = reopened(source, name)
    return Samples(container, _first_packets(container), spare=True)


def _first_packets(container: InputContainer) -> Iterator[Packet[Any]]:
    count = size = errors = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux():
                count, size = count + 1, size + packet.size
                if packet.size:
                    yield packet
                if count >= SAMPLE_PACKETS or size >= SAMPLE_BYTES:
                    return
            return
        except (FFmpegError, UnicodeDecodeError):
            errors += 1


def main_video(
    container: InputContainer, sample: Callable[[], Samples | None], name: str
) -> VideoStream:
    """The video stream to paint: videos before stills, then the default, the largest, the first.

    sample: returns the first packets, which distinguish stills from videos, or None if they cannot
    be read ahead; called only if there are several streams. name: for messages.
    Raises BadInput: there is no video stream, or no decoder for it.
    """
    pictures = [s for s in container.streams.video if not is_still(s)]
    if not pictures:
        pictures = [s for s in container.streams.video if not is_cover(s)]
    if not pictures:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise BadInput(f"{name}: no picture in it, only {kinds}")
    decodable = [s for s in pictures if s.codec_context is not None]
    if not decodable:
        raise BadInput(f"{name}: st has no decoder for its picture")
    if len(decodable) == 1:
        return decodable[0]
    counts = _packet_counts(decodable, sample)

    def rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
        default = bool(stream.disposition & Disposition.default)
        return counts[stream.index] > 1, default, stream.width * stream.height, -stream.index

    return max(decodable, key=rank)


def _packet_counts(
    streams: list[VideoStream], sample: Callable[[], Samples | None]
) -> Counter[int]:
    """Approximate packet counts of the streams, from the header or from the first packets."""
    known = Counter({stream.index: stream.frames for stream in streams})
    if all(known.values()):
        return known
    sampled = sample()
    if sampled is None:  # FFmpeg has counted frames while opening the pipe
        best = streams[0].container.streams.best("video")
        return Counter() if best is None else Counter({best.index: 2})
    with closing(sampled):
        return Counter({s.index: len(sampled.packets[s.index]) for s in streams})


def is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def is_still(stream: Stream) -> bool:
    """Whether the file marks a stream as a still picture, such as a cover or a preview."""
    return bool(
        stream.disposition
        & (Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image)
    )
