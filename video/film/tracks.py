"""The streams other than the picture: copied unchanged if the container can hold them, else
converted or left out with a warning.

No table lists what a muxer really writes: it may accept a header and reject the packets, or
store them as private data. So the first packets of each stream are written to memory, with the
trailer, and read back, before a frame is painted.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from st.runtime.errors import printable
from st.video.film.containers import Samples, is_cover
from st.video.film.sound import SoundTrack, encoders_for
from st.video.film.subtitles import SubtitleTrack

# Metadata of streams that muxers and demuxers write themselves; stale in a copy.
_STALE = {
    "encoder",
    "duration",
    "rotate",
    "number_of_frames",
    "number_of_bytes",
    "bps",
    "vendor_id",
    "alpha_mode",
}
_STALE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands"}
_EDIT_LISTS = ("mp4", "mov")  # containers that can mark packets as not shown
_COVER_FILES = {
    "mjpeg": ("cover.jpg", "image/jpeg"),
    "png": ("cover.png", "image/png"),
    "bmp": ("cover.bmp", "image/bmp"),
    "gif": ("cover.gif", "image/gif"),
    "webp": ("cover.webp", "image/webp"),
    "tiff": ("cover.tif", "image/tiff"),
}
_NAMES = {"mp4": "MP4", "mov": "MOV", "matroska": "Matroska", "webm": "WebM", "mpegts": "MPEG-TS"}
_MPEG_AUDIO = {"mp1", "mp2", "mp3"}
_MAX_DELAY = 0.1  # maximum delay of a sound decoder, in seconds
_TRIAL_PACKETS = 24  # per stream

Build = Callable[[OutputContainer, Stream], "Track"]


class Track(Protocol):
    """Writes the packets of one stream."""

    def put(self, packet: Packet[Any]) -> None: ...
    def finish(self) -> None: ...


@dataclass(frozen=True)
class _Way:
    """One way to write a stream. done: the change, for the warning; "" for a plain copy.

    codec: FFmpeg's number of the codec that the written stream must have; None: any of its type.
    """

    build: Build
    done: str
    codec: int | None


def add_tracks(
    target: OutputContainer,
    streams: Iterable[Stream],
    sound: bool,
    samples: Samples,
    warn: Callable[[str], None],
) -> dict[int, Track]:
    """A track in `target` for each of `streams` that it can hold, by stream index.

    sound: whether to keep sound tracks.
    samples: of the same file. A pipe cannot be read twice, so its streams are tried with headers
        only.
    warn: called with one line for each stream that is not copied unchanged.
    """
    tracks: dict[int, Track] = {}
    for stream in streams:
        if stream.type == "audio" and not sound:
            continue
        if track := _track(target, stream, samples, warn):
            tracks[stream.index] = track
    return tracks


def file_metadata(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _STALE_FILE}


def copy_metadata(made: Stream, stream: Stream) -> None:
    """Copy title, language and disposition of `stream` to `made`."""
    for key, value in stream.metadata.items():
        if key.lower() not in _STALE and not key.startswith("_STATISTICS"):
            made.metadata[key] = value
    made.disposition = stream.disposition


def described(stream: Stream) -> str:
    """A description of the stream, for messages."""
    return f"{_kind(stream)} stream {stream.index} ({printable(_codec_name(stream), 40)})"


def _kind(stream: Stream) -> str:
    return "cover" if is_cover(stream) else stream.type


def _track(
    target: OutputContainer,
    stream: Stream,
    samples: Samples,
    warn: Callable[[str], None],
) -> Track | None:
    container = target.format.name
    if _remade(container, stream):
        return None
    if container == "matroska" and is_cover(stream):
        if _attached(target, stream, samples):
            return None
    else:
        for way in _ways(container, stream):
            if not _works(way, container, stream, samples):
                continue
            if way.done:
                warn(f"{_NAMES[container]} cannot hold {described(stream)} unchanged: {way.done}")
            elif stream.type == "video" and not is_cover(stream):
                warn(f"{described(stream)} is a second video stream: copied, not painted")
            return way.build(target, stream)
    if not _made_by_muxers(stream):
        warn(f"{_NAMES[container]} cannot hold {described(stream)}: left out")
    return None


def _ways(container: str, stream: Stream) -> Iterable[_Way]:
    """All ways to write a stream, the best one first."""
    context = _context(stream)
    yield _Way(_copied, "", context.codec.id if context is not None else None)
    if stream.type == "audio" and context is not None:
        for encoder in encoders_for(container, context):

            def build(target: OutputContainer, source: Stream, encoder: Any = encoder) -> Track:
                made = SoundTrack(target, source, encoder)
                copy_metadata(made.stream, source)
                return made

            yield _Way(build, encoder.described(context), encoder.codec_id)
    elif stream.type == "subtitle" and context is not None:
        yield _Way(_converted_subtitles, "converted", None)


def _copied(target: OutputContainer, stream: Stream) -> Track:
    copy = target.add_stream_from_template(stream, opaque=True)
    copy_metadata(copy, stream)
    return CopiedTrack(target, copy)


def _converted_subtitles(target: OutputContainer, stream: Stream) -> Track:
    made = SubtitleTrack(target, stream)
    copy_metadata(made.stream, stream)
    return made


def _works(way: _Way, container: str, stream: Stream, samples: Samples) -> bool:
    """Whether the container can hold the stream that way: write it and read it back."""
    packets: list[Packet[Any]] = []
    if samples.spare:
        stream = samples.container.streams[stream.index]
        packets = [copied(p) for p in samples.packets[stream.index][:_TRIAL_PACKETS]]
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=container) as trial:
            track = way.build(trial, stream)
            trial.start_encoding()
            for packet in packets:
                track.put(packet)
            track.finish()
        return not packets or _reads_back(file, way, stream)
    except (FFmpegError, ValueError, KeyError):
        return False


def _reads_back(file: io.BytesIO, way: _Way, stream: Stream) -> bool:
    file.seek(0)
    with av.open(file) as written:
        for made in written.streams:
            context = _context(made)
            found = context.codec if context is not None else None
            same = found is not None and way.codec == found.id
            # MPEG-TS has one number for all MPEG audio codecs.
            same |= found is not None and {_codec_name(stream), _name(found)} <= _MPEG_AUDIO
            if made.type == stream.type and (way.codec is None or same):
                return True
    return False


def copied(packet: Packet[Any]) -> Packet[Any]:
    """A copy of the packet. Muxers modify the times of the packets that they write."""
    copy: Packet[Any] = Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration or 0
    copy.time_base = packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy


def _context(stream: Stream) -> Any:
    """The stream's codec context; None without a decoder, and for attachments."""
    return getattr(stream, "codec_context", None)


def _codec_name(stream: Stream) -> str:
    context = _context(stream)
    return _name(context.codec) if context is not None else "no codec"


def _name(codec: Any) -> str:
    return codec.canonical_name


def _made_by_muxers(stream: Stream) -> bool:
    """Whether this is the track of an MP4's chapters or time code."""
    return (
        stream.type == "data"
        and stream.container.format.name.startswith("mov")
        and bool(stream.container.chapters() or "timecode" in stream.metadata)
    )


def _remade(container: str, stream: Stream) -> bool:
    """Whether the muxer writes such a track by itself, from chapters and metadata."""
    return container in _EDIT_LISTS and _made_by_muxers(stream)


def _attached(target: OutputContainer, stream: Stream, samples: Samples) -> bool:
    """Write a cover as an attachment, as in Matroska. False: its data is not available."""
    codec = _codec_name(stream)
    packets = samples.packets[stream.index]
    if not packets or codec not in _COVER_FILES:
        return False
    name, kind = _COVER_FILES[codec]
    made = target.add_attachment(
        stream.metadata.get("filename", name),
        stream.metadata.get("mimetype", kind),
        bytes(packets[0]),
    )
    for key, value in stream.metadata.items():
        if key.lower() not in {*_STALE, "filename", "mimetype"}:
            made.metadata[key] = value
    return True


class CopiedTrack:
    """Copies packets, and repairs damaged timestamps, which muxers reject."""

    def __init__(self, target: OutputContainer, stream: Stream) -> None:
        self._target = target
        self._stream = stream
        self._last: int | None = None  # decoding time, in ticks of the target's stream
        self._has_edit_lists = target.format.name in _EDIT_LISTS
        self._hidden: list[Packet[Any]] = []  # packets not shown, from a source with edit lists

    def put(self, packet: Packet[Any]) -> None:
        if packet.is_discard and not self._has_edit_lists:
            self._hidden.append(packet)
            return
        # A decoder needs the packets of its delay. Longer hidden parts were cut and must stay out.
        if self._hidden:
            hidden, self._hidden = self._hidden, []
            if sum((p.duration or 0) * p.time_base for p in hidden) <= _MAX_DELAY:
                for earlier in hidden:
                    self._mux(earlier)
        self._mux(packet)

    def _mux(self, packet: Packet[Any]) -> None:
        own, base = self._stream.time_base, packet.time_base
        assert own is not None
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            packet.dts = 0 if self._last is None else round((self._last + 1) * own / base)
        # Two times that differ in ticks of the source may be equal in ticks of the target.
        if self._last is not None and round(packet.dts * base / own) <= self._last:
            shift = 0 if packet.pts is None else max(0, packet.pts - packet.dts)
            packet.duration = round((packet.duration or 0) * base / own)
            packet.time_base = base = own
            packet.dts = self._last + 1
            packet.pts = packet.dts + round(shift * packet.time_base / own)
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        self._last = round(packet.dts * base / own)
        packet.stream = self._stream
        self._target.mux(packet)

    def finish(self) -> None:
        """Do nothing: no packet is pending."""
