"""Re-encode sound tracks for containers that cannot hold the codec of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

_CODECS = {
    "mp4": ("aac",),
    "mov": ("aac",),
    "matroska": ("aac",),
    "webm": ("libopus",),
    "mpegts": ("aac",),
}
_NAMES = {"aac": "AAC", "libopus": "Opus"}
# FFmpeg's default layouts, for sound that has only a number of channels.
_USUAL = {
    1: "mono",
    2: "stereo",
    3: "2.1",
    4: "4.0",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
    16: "hexadecagonal",
}
_OTHER_COUNTS = (10, 12, 14, 24)  # further numbers of channels for which FFmpeg has a layout
_MIXES = (
    "7.1",
    "6.1",
    "5.1",
    "5.0",
    "quad",
    "3.0",
    "stereo",
    "mono",
)  # descending
_BITS = 96_000  # per second and channel


@dataclass(frozen=True)
class SoundEncoder:
    """An encoder with a layout and rate that it supports. rate: samples per second."""

    codec: str
    codec_id: int
    layout: str
    rate: int

    def described(self, source: AudioCodecContext) -> str:
        """A description of what the encoder changes, for a warning."""
        if self.codec == source.name:
            return f"its channel layout is now {self.layout}"
        channels = av.AudioLayout(self.layout).nb_channels
        lost = ""
        if channels < source.layout.nb_channels:
            lost += f", mixed down from {source.layout.nb_channels} channels to {channels}"
        if self.rate < source.sample_rate:
            lost += f", resampled from {source.sample_rate} to {self.rate} Hz"
        return f"converted to {_NAMES.get(self.codec, self.codec)}{lost}"


def encoders_for(container: str, source: AudioCodecContext) -> Iterator[SoundEncoder]:
    """Encoders that the container accepts, the closest to the source first."""
    own = (source.name,) if source.name.startswith("pcm_") else ()  # only the layout changes
    for name in (*own, *_CODECS[container]):
        try:
            codec: Any = av.Codec(name, "w")
        except ValueError:
            continue
        rate = _rate(codec.audio_rates, source.sample_rate)
        for layout in _layouts(source):
            if _opens(name, codec, layout, rate):
                yield SoundEncoder(name, codec.id, layout, rate)


def _rate(offered: list[int] | None, wanted: int) -> int:
    """The wanted rate, else the next higher one, else the highest."""
    if not offered or wanted in offered:
        return wanted
    return min((rate for rate in offered if rate > wanted), default=max(offered))


def _layouts(source: AudioCodecContext) -> Iterator[str]:
    count = source.layout.nb_channels
    if not unspecified(source.layout):
        yield source.layout.name
    elif count in _USUAL:
        yield _USUAL[count]
    elif count not in _OTHER_COUNTS:
        yield from ("stereo", "mono")
        return
    for name in _MIXES:
        if av.AudioLayout(name).nb_channels < count or name == _USUAL.get(count):
            yield name


def unspecified(layout: av.AudioLayout) -> bool:
    """Whether a layout is only a number of channels ("2 channels")."""
    return layout.name.endswith(" channels")


def _opens(name: str, codec: Any, layout: str, rate: int) -> bool:
    trial: Any = AudioCodecContext.create(name, "w")
    trial.sample_rate, trial.layout, trial.format = rate, layout, codec.audio_formats[0]
    trial.time_base = Fraction(1, rate)
    try:
        trial.open(strict=False)
    except (FFmpegError, ValueError):
        return False
    return True


class SoundTrack:
    """Decodes a sound track, converts it to the encoder's layout, rate and format, and encodes it.

    stream: the stream in the target.
    """

    def __init__(self, target: OutputContainer, source: Stream, encoder: SoundEncoder) -> None:
        self._target = target
        self._decoder: Any = source.codec_context
        self.stream: Any = target.add_stream(encoder.codec, rate=encoder.rate)
        context: Any = self.stream.codec_context
        context.layout = encoder.layout
        context.time_base = Fraction(1, encoder.rate)
        if not encoder.codec.startswith("pcm_"):
            context.bit_rate = _BITS * av.AudioLayout(encoder.layout).nb_channels
        self._resampler: av.AudioResampler | None = None
        self._next = -(1 << 62)  # the earliest time of the next samples, in ticks of the rate

    def put(self, packet: Packet[Any]) -> None:
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            return  # leaves a gap in the timestamps, as the damage did
        for frame in frames:
            self._encode(mixable(frame))

    def finish(self) -> None:
        self._encode(None)
        self._target.mux(self.stream.encode(None))

    def _encode(self, frame: AudioFrame | None) -> None:
        if self._resampler is None:
            context = self.stream.codec_context
            context.open(strict=False)
            self._resampler = av.AudioResampler(
                context.format, context.layout, context.sample_rate, context.frame_size or None
            )
        for resampled in self._resampler.resample(frame):
            # The samples of a frame may last longer than its packet (the first one of WMA).
            if resampled.pts is not None:
                resampled.pts = max(resampled.pts, self._next)
                self._next = resampled.pts + resampled.samples
            self._target.mux(self.stream.encode(resampled))


def mixable(frame: AudioFrame) -> AudioFrame:
    """A frame that FFmpeg can mix. If the number of channels has no layout, the result is stereo:
    the mean of the even channels and the mean of the odd ones."""
    count = frame.layout.nb_channels
    if not unspecified(frame.layout) or count in _USUAL or count in _OTHER_COUNTS:
        return frame
    if frame.format.is_planar:
        return frame  # PyAV cannot read the planes of more than eight channels
    samples: Any = frame.to_ndarray()
    channels = samples.reshape(-1, count).T
    sides = np.stack([channels[0::2].mean(0), channels[1::2].mean(0)]).astype(samples.dtype)
    planar = av.AudioFormat(frame.format.name).planar.name
    mixed = AudioFrame.from_ndarray(np.ascontiguousarray(sides), planar, "stereo")
    mixed.sample_rate, mixed.pts, mixed.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mixed
