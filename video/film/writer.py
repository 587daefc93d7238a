"""Writes painted frames to a video file or pipe, with the other streams of the source."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from st.runtime.errors import BadInput, StError, printable
from st.video.film.captions import ENCODERS, CaptionDetector, with_captions
from st.video.film.codecs import Codec, encoder_threads
from st.video.film.color import BT709, LIMITED, Converter, RgbFrame, Tags, is_rgb
from st.video.film.picture_format import VideoFormat
from st.video.film.pipes import Pipe
from st.video.film.reader import Film
from st.video.film.tracks import Track, add_tracks, copy_metadata, described, file_metadata

logging.getLogger("av").setLevel(logging.CRITICAL)  # PyAV logs unused options by itself

_HOLDS_ROTATION = ("mp4", "mov", "matroska", "webm")
_HOLDS_ASPECT = ("mp4", "mov")  # others only if the coded stream stores it


class Sink(Protocol):
    """Receives painted frames in order.

    video_format: the format of the output; `prepare_frame` gets frames of this size.
    """

    video_format: VideoFormat

    def prepare_frame(
        self,
        converter: Converter,
        rgb: NDArray[np.uint8],
        opened: RgbFrame,
        source: VideoFrame,
    ) -> Any:
        """Convert a painted frame to the input of `write`. Called from several threads.

        rgb: (H, W, 3) uint8. opened: the frame before painting, for its alpha channel.
        source: the decoded frame, for its timestamp.
        """

    def write(self, prepared: Any) -> None: ...
    def copy(self, packet: Packet[Any]) -> None: ...
    def close(self) -> None:
        """Finish the output, which is then complete and playable."""

    def abandon(self) -> None:
        """Release resources after a failure; the output may be unusable."""


@dataclass(frozen=True)
class Encoding:
    """The user's encoding options."""

    codec: Codec
    quality: int | None = None
    preset: str | None = None
    sound: bool = True
    threads: int = field(default_factory=encoder_threads)


class FilmSink:
    """Encodes frames into `target`. container: FFmpeg's name of the format."""

    def __init__(
        self,
        target: Path | BinaryIO,
        container: str,
        encoding: Encoding,
        video_format: VideoFormat,
        film: Film | None,
        warn: Callable[[str], None],
    ) -> None:
        """video: the source of the other streams, the metadata and the chapters.

        Raises:
            BadInput: the container cannot hold the codec, or the codec lacks such an option.
        """
        codec = encoding.codec
        self._warn = warn
        self.video_format = video_format = _supported_format(video_format, container, codec, warn)
        self._pixels = codec.pixel_format(
            video_format.height, video_format.width, video_format.bits, video_format.alpha
        )
        self._tags = _output_tags(video_format.tags, codec, self._pixels, warn)
        self._codec = codec
        self._captions = CaptionDetector()
        self._lost: dict[str, str] = {}  # what the output lacks -> the warning
        self.threads = encoding.threads
        self._options = codec.encoder_options(self._pixels, encoding.quality, encoding.preset)
        self.written = Fraction(0)  # end of the packets so far, in seconds
        self._target = _open(target, container, film)
        self._tracks: dict[int, Track] = {}
        try:
            self._video = self._add_picture(container)
            if film is not None:
                copy_metadata(self._video, film.video)
                with closing(film.samples()) as samples:
                    self._tracks = add_tracks(
                        self._target, film.others, encoding.sound, samples, warn
                    )
                self._target.metadata.update(file_metadata(film.container.metadata))
                self._target.set_chapters(_chapters(film))
            self._start()
        except BaseException:
            self.abandon()
            raise

    def _add_picture(self, container: str) -> Any:
        video_format, codec = self.video_format, self._codec
        try:
            video: Any = self._target.add_stream(codec.encoder, rate=video_format.rate)
        except ValueError:
            raise BadInput(f"{container} cannot hold {codec.encoder}; use .mkv or .mov") from None
        context = video.codec_context
        video.time_base = video_format.time_base
        self._set(context)
        if codec.encoder == "libx265" and container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # QuickTime requires this tag
        if video_format.rotation.matrix:
            video.set_display_matrix(video_format.rotation.matrix)
        return video

    def _set(self, context: Any) -> None:
        """Set the format of the video and the user's options on an encoder."""
        video_format, options = self.video_format, dict(self._options)
        context.width, context.height, context.pix_fmt = (
            video_format.width,
            video_format.height,
            self._pixels,
        )
        context.time_base = video_format.time_base
        context.sample_aspect_ratio = video_format.aspect
        self._tags.stamp(context)
        context.thread_count = self.threads
        context.thread_type = "FRAME" if self._codec.encoder.startswith("libx264") else "SLICE"
        context.flags |= Flags.frame_duration
        if "global_quality" in options:  # in FFmpeg's lambda units; requires this flag
            context.qscale = True
            options["global_quality"] = str(int(options["global_quality"]) * 118)
        context.options = options

    def _start(self) -> None:
        try:
            self._target.start_encoding()
        except FFmpegError as error:
            if isinstance(error, OSError) and error.errno and error.errno < 200 and error.filename:
                raise
            raise StError(f"the encoder failed to start: {printable(error.strerror, 80)}") from None

    def prepare_frame(
        self,
        converter: Converter,
        rgb: NDArray[np.uint8],
        opened: RgbFrame,
        source: VideoFrame,
    ) -> VideoFrame:
        if not self._codec.alpha and "alpha" not in self._lost:
            alpha = opened.alpha
            if alpha is not None and alpha.min() < 255:
                self._lost["alpha"] = "transparency is left out: .mov, .webm and .mkv keep it"
        frame = converter.to_frame(rgb, opened, self._pixels, self._tags)
        frame.pts, frame.time_base, frame.duration = source.pts, source.time_base, source.duration
        if self._captions.detect(source):
            if self._codec.encoder in ENCODERS:
                frame = with_captions(frame, source)
                self._tags.stamp(frame)
            else:
                self._lost["captions"] = "closed captions are left out: h264 keeps them"
        return frame

    def write(self, prepared: VideoFrame) -> None:
        self._target.mux(self._video.encode(prepared))

    @property
    def plan(self) -> dict[str, Any]:
        """All settings that the coded stream depends on, as JSON values."""
        coding = (self._codec.encoder, self._options, self._pixels, self._tags, self.video_format)
        return {"coding": repr(coding), "threads": self.threads}

    def encoder(self) -> VideoCodecContext:
        """A new encoder with the settings of the video's own; `put` writes its packets."""
        own = self._video.codec_context
        context: Any = VideoCodecContext.create(self._codec.encoder, "w")
        context.framerate = own.framerate
        self._set(context)
        context.flags |= own.flags & Flags.global_header
        return context

    def put(self, packet: Packet[Any]) -> None:
        """Write a packet of an `encoder`, in order, with times in `video_format.time_base`."""
        packet.time_base = self.video_format.time_base
        packet.stream = self._video
        if packet.pts is not None:
            self.written = max(self.written, (packet.pts + 1) * self.video_format.time_base)
        self._target.mux(packet)

    def copy(self, packet: Packet[Any]) -> None:
        if track := self._tracks.get(packet.stream_index):
            what, when = described(packet.stream), float((packet.dts or 0) * packet.time_base)
            try:
                track.put(packet)
            except FFmpegError as error:
                if _of_the_system(error):
                    raise
                del self._tracks[packet.stream_index]
                self._warn(f"{what} cannot be written after {when:.1f} s; the rest is left out")

    def close(self) -> None:
        if not self.written:
            self._target.mux(self._video.encode(None))
        for track in self._tracks.values():
            track.finish()
        self._target.close()
        for warning in self._lost.values():
            self._warn(warning)

    def abandon(self) -> None:
        # Keep the first error; later ones follow from it.
        with contextlib.suppress(FFmpegError, OSError, ValueError):
            self._target.close()


def _of_the_system(error: FFmpegError) -> bool:
    """Whether the system failed, as on a full disk; else FFmpeg rejected the packet."""
    code = error.errno or 0
    return 0 < code < 200 and code not in (errno.EINVAL, errno.ERANGE, errno.ENOSYS, errno.EDOM)


def _supported_format(
    video_format: VideoFormat, container: str, codec: Codec, warn: Callable[[str], None]
) -> VideoFormat:
    """The format that container and codec can hold; the rest is applied to the pixels."""
    if container not in _HOLDS_ROTATION and video_format.rotation.matrix:
        video_format = video_format.upright()
    if video_format.aspect != 1 and not (codec.carries_aspect or container in _HOLDS_ASPECT):
        warn(
            f"{container} with {codec.encoder} stores no pixel aspect ratio; pixels are made square"
        )
        video_format = video_format.square()
    return video_format


def _output_tags(tags: Tags, codec: Codec, pixels: str, warn: Callable[[str], None]) -> Tags:
    """Color tags of the output: the source's, unless it is HDR or the output is RGB."""
    if tags.hdr:
        warn("HDR source: tone-mapped to standard dynamic range (BT.709)")
        tags = BT709
    elif not tags.known_matrix:
        warn("unknown color matrix: treated as BT.709")
    if is_rgb(pixels):
        return tags.of_rgb()
    tags = tags.of_yuv()
    # ProRes supports limited range only.
    return replace(tags, range=LIMITED) if codec.encoder == "prores_ks" else tags


def _open(target: Path | BinaryIO, container: str, film: Film | None) -> OutputContainer:
    options = {}
    names = film.container.metadata if film is not None else {}
    # Keys such as com.apple.quicktime.make need this kind of metadata.
    if container in ("mp4", "mov") and any("." in name for name in names):
        options["movflags"] = "use_metadata_tags"
    if isinstance(target, Path):
        return av.open(str(target.absolute()), "w", format=container, container_options=options)
    return av.open(Pipe(target), "w", format=container, container_options=options)


def _chapters(film: Film) -> list[Any]:
    """The video's chapters, shifted and cut to the time range."""
    kept = []
    for chapter in film.container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        start = chapter["start"] * base - film.begins
        end = chapter["end"] * base - film.begins
        if film.time_range.starts_after(end) or film.time_range.ends_before(start):
            continue
        start = max(start, film.time_range.start)
        if film.time_range.duration is not None:
            end = min(end, film.time_range.start + film.time_range.duration)
        shift = film.begins - film.offset
        kept.append(
            {
                **chapter,
                "time_base": base,
                "start": round((start + shift) / base),
                "end": round((end + shift) / base),
            }
        )
    return kept
