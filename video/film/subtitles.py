"""Convert text subtitles to the format of another container."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

_ENCODERS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
# With ticks of a millisecond, FFmpeg's MP4 muxer would delay overlapping subtitles until the end of
# the previous one.
_TICK = Fraction(1, 1_000_000)


class SubtitleTrack:
    """Decodes and re-encodes text subtitles, but not bitmap subtitles.

    stream: the stream in the target.
    """

    def __init__(self, target: OutputContainer, source: Stream) -> None:
        """Raises KeyError: the container holds no text. ValueError: the source is not text."""
        decoder: Any = source.codec_context
        if not decoder.codec.text_sub:
            raise ValueError("not text")
        self._decoder = decoder
        self._decoder.open(strict=False)
        self._target = target
        self.stream: Any = target.add_stream(_ENCODERS[target.format.name])
        self.stream.codec_context.time_base = self.stream.time_base = _TICK
        self.stream.codec_context.subtitle_header = decoder.subtitle_header

    def put(self, packet: Packet[Any]) -> None:
        try:
            text = self._decoder.decode2(packet)
        except FFmpegError:
            return
        if text is None or packet.pts is None:
            return
        made = self.stream.codec_context.encode_subtitle(text)
        made.stream = self.stream
        made.time_base = _TICK
        made.pts = made.dts = round(packet.pts * packet.time_base / _TICK)
        made.duration = round((packet.duration or 0) * packet.time_base / _TICK)
        self._target.mux(made)

    def finish(self) -> None:
        """Do nothing: no packet is pending."""
