"""Paint one video: choose reader and writer, run, and publish only a complete file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from av.error import FFmpegError

from st.runtime.errors import BadInput, StError, printable
from st.runtime.system.atomic_files import durable_rename
from st.video.film import codecs
from st.video.film.animated_webp import AnimatedWebpSource, is_animated_webp
from st.video.film.image_sequence import (
    SUFFIXES,
    ImageSequenceSink,
    ImageSequenceSource,
    is_sequence,
)
from st.video.film.mask_films import MaskFilms
from st.video.film.picture_format import Size, VideoFormat
from st.video.film.raw import RawSink, RawSource
from st.video.film.reader import Film
from st.video.film.temporal_filter import TemporalFilter, with_temporal_filter
from st.video.film.time_range import TimeRange
from st.video.film.writer import Encoding, FilmSink, Sink
from st.video.jobs.pipeline import Paint, Source, run
from st.video.jobs.segment_store import SegmentStore
from st.video.jobs.segments import RemainingFrames, SegmentSink, assemble
from st.video.jobs.stage_times import Stage, StageTimes, bottleneck
from st.video.jobs.targets import (
    Stream,
    Target,
    is_sequence_target,
    open_target,
    partial_name,
    refuse_same,
    shown,
    with_suffix_text,
    writing,
)

Reader = Film | RawSource | ImageSequenceSource | AnimatedWebpSource
Raw = tuple[int, int, Fraction]  # height, width, frames per second


@dataclass(frozen=True)
class Job:
    """What to read and how to write it; `None` selects the default.

    size: as in VideoFormat.resized. fps: frame rate of an image sequence.
    raw: size and frame rate of raw frames, for pipes.
    """

    source: Path | BinaryIO
    codec: str | None = None
    quality: int | None = None
    preset: str | None = None
    size: Size | int | None = None
    time_range: TimeRange = field(default_factory=TimeRange)
    sound: bool = True
    raw: Raw | None = None
    fps: Fraction = Fraction(25)


@dataclass(frozen=True)
class Callbacks:
    """How a job reports to its caller.

    warn: receives one line for everything that could not be kept. frame_done: called after each
        frame.
    stop: when set, the video ends there; the result is playable and is named NAME_partial.
    """

    warn: Callable[[str], None] = lambda line: None
    frame_done: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)


# Paints segments in other processes and stores them in order, from the first missing one up to one
# that it cannot paint. Arguments: (job, video, sink, store, container, callbacks).
RemotePainter = Callable[[Job, Film, FilmSink, SegmentStore, str, Callbacks], None]


@dataclass(frozen=True)
class Painter:
    """The paint function of a video and how to run it.

    paint: called from `workers` threads concurrently.
    identity: a text that is equal whenever `paint` gives the same pixels. With it, video files are
        painted in segments, and an interrupted job resumes after the last finished segment. None:
        the video is painted in one pass.
    masks: moving masks of the regions.
    temporal_filter: the flicker filter; frames are then painted in sequence.
    remote: paints segments in other processes, as many as it can.
    device: the device that `paint` runs on, for the result.
    """

    paint: Paint
    workers: int = 2
    identity: str | None = None
    masks: MaskFilms | None = None
    temporal_filter: TemporalFilter | None = None
    remote: RemotePainter | None = None
    device: str = ""

    def run(self, source: Source, sink: Sink, callbacks: Callbacks, times: StageTimes) -> int:
        """Paint `source` into `sink`; return the number of frames."""
        paint, workers = self.paint, self.workers
        if self.temporal_filter is not None:
            paint, workers = with_temporal_filter(paint, self.temporal_filter), 1
        return run(
            source, sink, paint, workers, callbacks.frame_done, callbacks.stop, self.masks, times
        )


@dataclass
class Result:
    """The outcome of a job.

    frames_per_second: frames painted per second of work; not the frame rate of the video.
    resumed: frames that an earlier run had painted.
    busy: the fraction of the time, 0..1, in which each stage was busy; see `StageTimes`. Empty if
        this process painted no frame, or a cluster painted some.
    slowest_stage: the stage that limited the rate; "" if `busy` is empty.
    device: the device that painted; "" if it is unknown.
    """

    output: str
    frames: int
    width: int
    height: int
    damaged: int
    seconds: float
    frames_per_second: float
    resumed: int = 0
    busy: dict[Stage, float] = field(default_factory=dict)
    slowest_stage: str = ""
    device: str = ""


class Interrupted(StError):
    """Stopped on request; the message names the output that was kept."""


def open_reader(job: Job) -> Reader:
    """Open the source of a job. Raises BadInput: it holds no video, pictures or frames."""
    source = job.source
    if isinstance(source, Path):
        if is_sequence(source):
            return ImageSequenceSource(source, job.fps)
        if is_animated_webp(source):
            return AnimatedWebpSource(source)
        return _open_film(source, job.time_range)
    return RawSource(source, *job.raw) if job.raw else Film(source, job.time_range)


def _open_film(source: Path, time_range: TimeRange) -> Film:
    try:
        return Film(source, time_range)
    except BadInput:
        if source.suffix.lower() in SUFFIXES and source.is_file():
            name = printable(source)
            raise BadInput(f"{name}: is a picture, not a video; st-image paints it") from None
        raise


def default_target(job: Job, reader: Reader, folder: Path | None = None) -> Path:
    """`in_stylized` beside `in`, or `in` in `folder`, with the suffix of a container that can hold
    all streams.

    Raises BadInput: the source is a pipe, which has no name.
    """
    if not isinstance(job.source, Path):
        raise BadInput("standard input has no name: choose an output")
    if isinstance(reader, ImageSequenceSource):
        source = job.source if job.source.is_dir() else job.source.parent
        source = source.resolve()
        name = folder / source.name if folder else source.with_name(f"{source.name}_stylized")
        return name / "%05d.png"
    suffix = codecs.output_suffix(job.source, job.codec, reader.video_format.alpha)
    if folder:
        return with_suffix_text(folder / job.source.name, "", suffix)
    return with_suffix_text(job.source, "_stylized", suffix)


def perform(
    job: Job,
    reader: Reader,
    target: Path | BinaryIO,
    painter: Painter,
    callbacks: Callbacks | None = None,
    resume: bool = True,
) -> Result:
    """Paint the video; a file gets the name `target` only when it is complete.

    target: a video file, a folder or pattern for pictures, a named pipe, or an open stream.
    resume: whether to use the finished segments of an earlier run.

    Raises:
        BadInput: the options contradict each other, output and input are the same file, or
            another process writes the same video.
        Interrupted: a stop was requested.
        StError, OSError: decoding, painting or writing failed; only finished segments are kept.
    """
    began = time.monotonic()
    callbacks = callbacks or Callbacks()
    with open_target(target, callbacks.stop) as place:
        work = _Work(job, reader, place, painter, callbacks)
        done = work.in_segments(resume) if work.resumable else work.at_once()
    _report(reader, callbacks.warn)
    name = shown(target) if isinstance(target, Path) else Stream(target).name
    if done.stopped:
        raise Interrupted(f"stopped after {done.frames} frames, where {name} ends")
    seconds = time.monotonic() - began
    busy = work.times.shares() if done.frames > done.resumed and painter.remote is None else {}
    return Result(
        output=str(target) if isinstance(target, Path) else name,
        frames=done.frames,
        width=done.video_format.upright().width,
        height=done.video_format.upright().height,
        damaged=reader.damaged,
        seconds=round(seconds, 3),
        frames_per_second=round((done.frames - done.resumed) / seconds, 2),
        resumed=done.resumed,
        busy={stage: round(share, 3) for stage, share in busy.items()},
        slowest_stage=bottleneck(busy) if busy else "",
        device=painter.device,
    )


def _report(reader: Reader, warn: Callable[[str], None]) -> None:
    """Warn about everything that was repaired in the source."""
    if reader.damaged:
        warn(f"{reader.damaged} damaged frames or packets in the source: repaired or skipped")
    if isinstance(reader, Film) and reader.deinterlaced:
        warn("interlaced source: deinterlaced, with the same number of frames")
    if isinstance(reader, Film) and reader.jumps:
        warn(f"{reader.jumps} timestamp jumps removed; sound and subtitles stay in sync")


@dataclass(frozen=True)
class _Done:
    frames: int
    video_format: VideoFormat
    resumed: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class _Work:
    """A job in progress."""

    job: Job
    reader: Reader
    target: Target
    painter: Painter
    callbacks: Callbacks
    times: StageTimes = field(default_factory=StageTimes)

    @property
    def resumable(self) -> bool:
        """Whether to paint in segments. Raises BadInput: a cluster needs it, but cannot."""
        painter = self.painter
        files = (
            isinstance(self.job.source, Path)
            and isinstance(self.reader, Film)
            and isinstance(self.target, Path)
            and not is_sequence_target(self.target)
        )
        # Moving masks are read together with the frames, so such a video cannot be resumed.
        if painter.identity is not None and painter.masks is None and files:
            return True
        if painter.remote is not None:
            raise BadInput("a cluster paints video files only, into files, without moving masks")
        return False

    def at_once(self) -> _Done:
        """Decode, paint and write in one pass."""
        stop = self.callbacks.stop
        with writing(self.job.source, self.target) as place:
            sink = _open_sink(self.job, self.reader, place, self.callbacks.warn)
            with _abandoning(sink, self.target):
                frames = self.painter.run(self.reader, sink, self.callbacks, self.times)
                if not frames and not stop.is_set():
                    raise StError("no frame could be decoded")
                with self.times.busy("encoding"):
                    sink.close()
            if stop.is_set() and isinstance(self.target, Path) and place != self.target:
                assert isinstance(place, Path)
                _keep_partial(place, self.job.source, self.target, frames)
        return _Done(frames, sink.video_format, stopped=stop.is_set())

    def in_segments(self, resume: bool) -> _Done:
        """Paint the segments that are missing, then write the video from all of them."""
        job, reader, target = self.job, self.reader, self.target
        assert isinstance(job.source, Path)
        assert isinstance(reader, Film)
        assert isinstance(target, Path)
        container = codecs.container_of(target)
        refuse_same(job.source, target)
        with closing(SegmentStore(target)) as store:
            place = store.folder / f"film{target.suffix}"
            sink = film_sink(job, reader, place, container, self.callbacks.warn)
            with _abandoning(sink, target):
                store.begin(_plan(job, self.painter, sink), resume)
                if resumed := store.frames:
                    self.callbacks.warn(f"resuming after {resumed} frames of an earlier run")
                elif store.discarded and resume:
                    self.callbacks.warn("starting over: an earlier run had other settings")
                segments = self._paint_segments(sink, store, container)
                frames = store.frames + segments.frames
                stopped = self.callbacks.stop.is_set()
                if not frames and not stopped:
                    raise StError("no frame could be decoded")
                with self.times.busy("encoding"):
                    self._write(sink, store, segments, stopped)
            if stopped:
                hint = "; run the same command to resume" if store.done else ""
                _keep_partial(place, job.source, target, frames, hint)
            durable_rename(place, target)
            store.discard()
        return _Done(frames, sink.video_format, resumed)

    def _write(
        self, sink: FilmSink, store: SegmentStore, segments: SegmentSink, stopped: bool
    ) -> None:
        """Finish the last segment, and write the video from all segments."""
        job = self.job
        assert isinstance(job.source, Path)
        if not stopped:
            segments.close()
        if store.frames or segments.frames:
            with closing(Film(job.source, job.time_range)) as again:
                assemble(sink, again, store.done, segments.unfinished(), cut=stopped)
        sink.close()

    def _paint_segments(self, sink: FilmSink, store: SegmentStore, container: str) -> SegmentSink:
        """Paint the missing segments; the last one is left open."""
        painter, callbacks = self.painter, self.callbacks
        assert isinstance(self.reader, Film)
        temporal_filter = painter.temporal_filter
        if temporal_filter:
            temporal_filter.restore(store.state())
        segments = SegmentSink(sink, store, temporal_filter and (lambda: temporal_filter.state))
        skipped_frame = callbacks.frame_done
        if painter.remote is not None and not store.whole:
            for _ in range(store.frames):
                callbacks.frame_done()
            painter.remote(self.job, self.reader, sink, store, container, callbacks)
            skipped_frame = _already_counted
        if not store.whole and not callbacks.stop.is_set():
            remaining = RemainingFrames(self.reader, store.frames, skipped_frame)
            painter.run(remaining, segments, callbacks, self.times)
        return segments


def _already_counted() -> None:
    """Replaces `frame_done` for frames that were counted before."""


def _plan(job: Job, painter: Painter, sink: FilmSink) -> dict[str, Any]:
    """Everything that the coded picture depends on: source, time range, painter and encoder."""
    assert isinstance(job.source, Path)
    status = job.source.stat()
    strength = painter.temporal_filter.strength if painter.temporal_filter else 0
    return {
        "source": [os.fsencode(job.source.name).hex(), status.st_size, status.st_mtime_ns],
        "time_range": repr(job.time_range),
        "painter": [painter.identity, strength],
        **sink.plan,
    }


@contextmanager
def _abandoning(sink: Sink, target: Target) -> Iterator[None]:
    """Abandon the sink on any failure, and convert FFmpeg's errors to one-line errors."""
    try:
        yield
    except FFmpegError as error:
        sink.abandon()
        raise _described(error, target) from None
    except BaseException:
        sink.abandon()
        raise


def _open_sink(job: Job, reader: Reader, target: Target, warn: Callable[[str], None]) -> Sink:
    if isinstance(target, Path) and is_sequence_target(target):
        if isinstance(reader, Film) and reader.others and job.sound:
            warn("pictures hold no sound or subtitles: left out")
        return ImageSequenceSink(target, reader.video_format.resized(job.size))
    if isinstance(target, Path):
        return film_sink(job, reader, target, codecs.container_of(target), warn)
    if job.raw:
        return RawSink(target.file, reader.video_format, *job.raw)
    return film_sink(job, reader, target.file, target.container, warn)


def film_sink(
    job: Job,
    reader: Reader,
    target: Path | BinaryIO,
    container: str,
    warn: Callable[[str], None],
    threads: int | None = None,
) -> FilmSink:
    """The writer of the job's video. threads: encoder threads; None: the default of this machine.

    Raises BadInput: the container cannot hold the codec, or the codec lacks an option.
    """
    video_format = reader.video_format.resized(job.size)
    film = reader if isinstance(reader, Film) else None
    codec = codecs.codec_for(container, job.codec, video_format.alpha)
    threads = threads or codecs.encoder_threads()
    encoding = Encoding(codec, job.quality, job.preset, job.sound, threads)
    return FilmSink(target, container, encoding, video_format, film, warn)


def _keep_partial(
    part: Path, source: Path | BinaryIO, target: Path, frames: int, hint: str = ""
) -> NoReturn:
    """Rename the output of a stopped job to NAME_partial; raises Interrupted.

    hint: how to continue, for the message.
    """
    if not frames:
        raise Interrupted("stopped before the first frame: nothing written")
    partial = partial_name(source, target)
    durable_rename(part, partial)
    raise Interrupted(f"stopped after {frames} frames, saved as {printable(partial)}{hint}")


def _described(error: FFmpegError, target: Target) -> Exception:
    """FFmpeg's error as OSError if the system failed (a full disk), else as StError."""
    if isinstance(error, OSError) and error.errno and 0 < error.errno < 200:
        return OSError(error.errno, os.strerror(error.errno), shown(target))
    return StError(f"{shown(target)}: {printable(error.strerror, 100)}")
