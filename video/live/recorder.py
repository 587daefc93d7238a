"""Records the displayed pictures to a video with their real timestamps."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from av.error import FFmpegError
from av.video.frame import VideoFrame

from st.runtime.errors import BadInput, StError, printable
from st.runtime.system.atomic_files import atomic_write
from st.video.film import codecs
from st.video.film.color import BT709, Converter, RgbFrame
from st.video.film.picture_format import VideoFormat
from st.video.film.writer import Encoding, FilmSink
from st.video.live.compose import Picture

CLOCK = Fraction(1, 90_000)


class Recorder:
    """See st.video.live.outlet.Writer. Writes a temporary file, then renames it to `target`."""

    def __init__(self, target: Path, size: tuple[int, int], rate: float) -> None:
        """size: (height, width). rate: nominal frame rate, in frames per second.

        Raises BadInput: unknown video suffix, or the folder does not exist.
        """
        container = codecs.container_of(target)
        self._stack = contextlib.ExitStack()
        part = self._stack.enter_context(atomic_write(target))
        video_format = VideoFormat(*size, BT709, Fraction(rate).limit_denominator(1000), CLOCK)
        encoding = Encoding(_codec(container))
        try:
            self._sink = FilmSink(part, container, encoding, video_format, None, _no_warning)
        except BaseException as error:
            self._stack.__exit__(type(error), error, None)
            raise
        self._converter = Converter()
        self._begin: float | None = None
        self._waiting: tuple[Picture, int] | None = None  # until the next one gives its duration

    def write(self, picture: Picture, when: float) -> None:
        """Raises StError, OSError: the disk is full or the encoder failed."""
        self._begin = when if self._begin is None else self._begin
        ticks = round((when - self._begin) / CLOCK)
        if self._waiting is not None:
            ticks = max(ticks, self._waiting[1] + 1)
            self._encode(ticks)
        self._waiting = picture, ticks

    def close(self, when: float) -> None:
        """Raises StError: nothing was recorded, or the video could not be finalized."""
        try:
            if self._begin is None or self._waiting is None:
                raise StError("no picture was recorded")
            self._encode(max(self._waiting[1] + 1, round((when - self._begin) / CLOCK)))
            self._sink.close()
        except BaseException as error:
            self.abandon()
            if isinstance(error, FFmpegError):
                raise StError(printable(error.strerror)) from None
            raise
        self._stack.close()

    def abandon(self) -> None:
        """Discard the recording and its temporary file."""
        self._sink.abandon()
        failed = StError("abandoned")
        with contextlib.suppress(StError):
            self._stack.__exit__(StError, failed, None)

    def _encode(self, until: int) -> None:
        assert self._waiting is not None
        picture, ticks = self._waiting
        stamp = VideoFrame(2, 2, "gray")
        stamp.pts, stamp.time_base, stamp.duration = ticks, CLOCK, until - ticks
        self._sink.write(
            self._sink.prepare_frame(self._converter, picture, RgbFrame(picture), stamp)
        )


def _codec(container: str) -> codecs.Codec:
    """The container's default codec, without B-frames: with them, the MP4 muxer takes the video's
    duration from a frame that is not the last one shown."""
    codec = codecs.codec_for(container, None, alpha=False)
    if codec.encoder == "libx264":
        codec = replace(codec, options=codec.options | {"bf": "0"})
    return codec


def check_target(target: Path) -> None:
    """Raises BadInput: unknown video suffix, or the folder does not exist."""
    codecs.container_of(target)
    if not target.parent.is_dir():
        raise BadInput(f"{printable(target.parent)}: no such folder")


def _no_warning(line: str) -> None:
    """Ignore the sink's warnings: live frames carry no metadata that could be lost."""
