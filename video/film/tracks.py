"""The streams beside the picture: copied bit for bit where the container takes them, converted or
left out with a word where it does not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, Protocol

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from st.runtime.errors import printable

# What a muxer or demuxer writes about a stream by itself; stale in a copy.
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
_TEXT_SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
_SOUND = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus", "mpegts": "aac"}


class Track(Protocol):
    """Where the packets of one stream go."""

    def put(self, packet: Packet[Any]) -> None: ...
    def finish(self) -> None: ...


def add_tracks(
    target: OutputContainer, streams: Iterable[Stream], sound: bool, warn: Callable[[str], None]
) -> dict[int, Track]:
    """A track in `target` for each of `streams` that it can hold, by stream index.

    sound: whether to keep sound tracks. warn: gets one line for each stream not kept as it is.
    """
    tracks: dict[int, Track] = {}
    for stream in streams:
        if stream.type == "audio" and not sound:
            continue
        if track := _track(target, stream, warn):
            tracks[stream.index] = track
    return tracks


def file_metadata(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _STALE_FILE}


def dress(made: Stream, stream: Stream) -> None:
    """Give `made` the names, language and disposition of `stream`."""
    for key, value in stream.metadata.items():
        if key.lower() not in _STALE and not key.startswith("_STATISTICS"):
            made.metadata[key] = value
    made.disposition = stream.disposition


def _track(target: OutputContainer, stream: Stream, warn: Callable[[str], None]) -> Track | None:
    container = target.format.name
    made: Track | None = None
    if _takes(container, stream):
        copy = target.add_stream_from_template(stream, opaque=True)
        dress(copy, stream)
        return Copy(target, copy)
    if stream.type == "audio" and stream.codec_context is not None:
        made = _converted(Sound, target, stream)
    elif stream.type == "subtitle" and stream.codec_context is not None:
        made = _converted(Subtitles, target, stream)
    if not _remade(stream):
        what = f"{stream.type} stream {stream.index} ({printable(_codec_name(stream), 40)})"
        fate = "converted" if made else "left out"
        warn(f"{what} does not go into {container}: {fate}")
    return made


def _codec_name(stream: Stream) -> str:
    context = getattr(stream, "codec_context", None)  # attachments have no such attribute
    return context.name if context is not None else "no codec"


def _remade(stream: Stream) -> bool:
    """Whether this is the track of an MP4's chapters or time code: muxers make those anew."""
    return (
        stream.type == "data"
        and stream.container.format.name.startswith("mov")
        and bool(stream.container.chapters() or "timecode" in stream.metadata)
    )


def _takes(container: str, stream: Stream) -> bool:
    """Whether the container's muxer takes the stream: tried, since no table tells."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (FFmpegError, ValueError):
        return False
    return True


def _converted(
    kind: type[Sound] | type[Subtitles], target: OutputContainer, stream: Any
) -> Track | None:
    try:
        return kind(target, stream)
    except (FFmpegError, ValueError, KeyError):
        return None


class Copy:
    """Packets as they are; damaged timestamps are mended, since muxers refuse them."""

    def __init__(self, target: OutputContainer, stream: Stream) -> None:
        self._target = target
        self._stream = stream
        self._next: Fraction | None = None  # seconds

    def put(self, packet: Packet[Any]) -> None:
        base = packet.time_base
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            packet.dts = 0 if self._next is None else round(self._next / base)
        if self._next is not None and packet.dts * base < self._next:
            packet.dts = -int(-self._next // base)  # rounded up
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        self._next = (packet.dts + 1) * base
        packet.stream = self._stream
        self._target.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""


class Sound:
    """Sound decoded and encoded anew."""

    def __init__(self, target: OutputContainer, stream: av.AudioStream) -> None:
        codec = _SOUND[target.format.name]
        self._target = target
        self._source = stream.codec_context
        rate = 48000 if codec == "libopus" else stream.codec_context.sample_rate
        self._made: Any = target.add_stream(codec, rate=rate)
        self._made.codec_context.layout = stream.codec_context.layout.name
        self._made.codec_context.time_base = Fraction(1, rate)
        self._made.codec_context.bit_rate = 96_000 * stream.codec_context.layout.nb_channels
        dress(self._made, stream)
        self._resampler: av.AudioResampler | None = None

    def put(self, packet: Packet[Any]) -> None:
        try:
            frames = self._source.decode(packet)
        except FFmpegError:
            return  # a gap in the timestamps, which the next frame's closes
        for frame in frames:
            self._encode(frame)

    def finish(self) -> None:
        self._encode(None)
        self._target.mux(self._made.encode(None))

    def _encode(self, frame: AudioFrame | None) -> None:
        if self._resampler is None:
            context = self._made.codec_context
            context.open(strict=False)
            self._resampler = av.AudioResampler(
                context.format, context.layout, context.sample_rate, context.frame_size or None
            )
        for resampled in self._resampler.resample(frame):
            self._target.mux(self._made.encode(resampled))


class Subtitles:
    """Text subtitles in the container's own form; pictures of text have none."""

    def __init__(self, target: OutputContainer, stream: Any) -> None:
        codec = _TEXT_SUBTITLES[target.format.name]
        self._target = target
        self._source = stream.codec_context
        if not self._source.codec.text_sub:
            raise ValueError("not text")
        self._source.open(strict=False)
        self._made: Any = target.add_stream(codec)
        self._made.codec_context.time_base = Fraction(1, 1000)
        self._made.codec_context.subtitle_header = self._source.subtitle_header
        self._made.time_base = Fraction(1, 1000)
        dress(self._made, stream)

    def put(self, packet: Packet[Any]) -> None:
        try:
            text = self._source.decode2(packet)
        except FFmpegError:
            return
        if text is None or packet.pts is None:
            return
        made = self._made.codec_context.encode_subtitle(text)
        made.stream = self._made
        made.time_base = Fraction(1, 1000)
        made.pts = made.dts = round(packet.pts * packet.time_base * 1000)
        made.duration = round((packet.duration or 0) * packet.time_base * 1000)
        self._target.mux(made)

    def finish(self) -> None:
        """Nothing is held back."""
