"""One film from start to end: choose the writer, run, and never leave half a file."""

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
from st.runtime.system.atomic_files import atomic_write, durable_rename
from st.video.film import codecs
from st.video.film.image_sequence import PictureSink, PictureSource, is_sequence
from st.video.film.mask_films import Masks
from st.video.film.picture_format import Look
from st.video.film.raw import RawSink, RawSource
from st.video.film.reader import Film
from st.video.film.temporal_filter import TemporalFilter, steadied
from st.video.film.time_range import Window
from st.video.film.writer import Encoding, FilmSink, Sink
from st.video.jobs.pipeline import Paint, Source, run
from st.video.jobs.segment_store import Parts
from st.video.jobs.segments import PartSink, Rest, put_together

Reader = Film | RawSource | PictureSource
Raw = tuple[int, int, Fraction]  # width, height, frames a second


@dataclass(frozen=True)
class Job:
    """What to read, what to write, and how; `None` for a pipe's end or for the usual choice.

    size: as in Look.resized. fps: of pictures that are read.
    """

    source: Path | BinaryIO
    target: Path | BinaryIO | None = None
    codec: str | None = None
    quality: int | None = None
    preset: str | None = None
    size: tuple[int, int] | int | None = None
    window: Window = field(default_factory=Window)
    sound: bool = True
    raw: Raw | None = None
    fps: Fraction = Fraction(25)


@dataclass
class Result:
    """What came of a job.

    frames_per_second: of work, not of the film. resumed: frames that an earlier start had painted.
    """

    output: str
    frames: int
    width: int
    height: int
    damaged: int
    seconds: float
    frames_per_second: float
    resumed: int = 0


# Paints parts of the film and keeps them, from the first that is not there yet up to where it
# cannot: (job, reader, sink, parts, container, painted, warn, stop); see st.video.jobs.ray_cluster.
Elsewhere = Callable[
    [Job, Film, FilmSink, Parts, str, Callable[[], None], Callable[[str], None], threading.Event],
    None,
]


class Interrupted(StError):
    """Stopped on request; the message says what was kept."""


def open_reader(job: Job) -> Reader:
    """Raises BadInput: no film, pictures or frames there."""
    source = job.source
    if isinstance(source, Path):
        if is_sequence(source):
            return PictureSource(source, job.fps)
        return Film(source, job.window)
    return RawSource(source, *job.raw) if job.raw else Film(source, job.window)


def default_target(job: Job, reader: Reader, folder: Path | None = None) -> Path:
    """`in_stylized` beside `in`, or `in` in another folder, with a suffix that holds what is kept.

    Raises BadInput: a pipe has no name.
    """
    if not isinstance(job.source, Path):
        raise BadInput("reading standard input: say where to write, -o FILE or -o -")
    if isinstance(reader, PictureSource):
        source = job.source if job.source.is_dir() else job.source.parent
        source = source.resolve()
        name = folder / source.name if folder else source.with_name(f"{source.name}_stylized")
        return name / "%05d.png"
    suffix = codecs.output_suffix(job.source, job.codec, reader.look.alpha)
    if folder:
        return folder / f"{job.source.stem}{suffix}"
    return job.source.with_name(f"{job.source.stem}_stylized{suffix}")


def perform(
    job: Job,
    reader: Reader,
    target: Path | BinaryIO,
    paint: Paint,
    workers: int = 2,
    *,
    settings: str | None = None,
    resume: bool = True,
    warn: Callable[[str], None] = lambda line: None,
    painted: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
    masks: Masks | None = None,
    steady: TemporalFilter | None = None,
    elsewhere: Elsewhere | None = None,
) -> Result:
    """Do the job; `target` gets its name only when the film is whole.

    settings: a text that is the same when `paint` is: films into files are then painted in parts,
        and a job that was killed goes on after its last finished part when it is done again.
    resume: False begins anew.
    warn: gets one line for everything that could not be kept. painted: called once a frame.
    masks: of the paint's regions, where they move.
    steady: a filter against flicker; frames are then painted one after the other.
    elsewhere: paints the parts of a film away from here, as many as it can.
    stop: when set, the film ends there, playable, and is named NAME_partial: under `target` is
        the whole film or what stood there before.

    Raises:
        BadInput: choices that do not go together, output and input are one file, or another
            process is making the same film.
        Interrupted: it was stopped.
        StError, OSError: decoding, painting or writing failed; nothing but finished parts is left.
    """
    began = time.monotonic()
    stop = stop or threading.Event()
    work = _Work(paint, workers, warn, painted, stop, masks, steady, elsewhere)
    files = isinstance(job.source, Path) and isinstance(target, Path) and not _is_pictures(target)
    # Masks that move are read along with the film's frames: such a job begins at the beginning.
    if settings is not None and files and masks is None and isinstance(reader, Film):
        done = _in_parts(job, reader, target, work, settings, resume)
    elif elsewhere is not None:
        raise BadInput("--ray paints films from files into files, and without masks that move")
    else:
        done = _straight(job, reader, target, work)
    if reader.damaged:
        warn(f"{reader.damaged} damaged frames or packets in the source: repaired or skipped")
    if isinstance(reader, Film) and reader.deinterlaced:
        warn("interlaced source: made progressive, as many frames as before")
    if done.stopped:
        raise Interrupted(f"stopped after {done.frames} frames: {_shown(target)} ends there")
    seconds = time.monotonic() - began
    return Result(
        output=_shown(target),
        frames=done.frames,
        width=done.look.upright().width,
        height=done.look.upright().height,
        damaged=reader.damaged,
        seconds=round(seconds, 3),
        frames_per_second=round((done.frames - done.resumed) / seconds, 2),
        resumed=done.resumed,
    )


@dataclass(frozen=True)
class _Work:
    """How to paint, whom to tell, and when to stop: see `perform`."""

    paint: Paint
    workers: int
    warn: Callable[[str], None]
    painted: Callable[[], None]
    stop: threading.Event
    masks: Masks | None
    steady: TemporalFilter | None
    elsewhere: Elsewhere | None = None

    def run(self, source: Source, sink: Sink) -> int:
        paint, workers = self.paint, self.workers
        if self.steady is not None:
            paint, workers = steadied(self.paint, self.steady), 1
        return run(source, sink, paint, workers, self.painted, self.stop, self.masks)


@dataclass(frozen=True)
class _Done:
    frames: int
    look: Look
    resumed: int = 0
    stopped: bool = False


def _straight(job: Job, reader: Reader, target: Path | BinaryIO, work: _Work) -> _Done:
    """Decode, paint and write at once."""
    with _place(job, target) as place:
        sink = _open_sink(job, reader, place, work.warn)
        with _abandoning(sink, target):
            frames = work.run(reader, sink)
            if not frames and not work.stop.is_set():
                raise StError("not one frame could be decoded")
            sink.close()
        stopped = work.stop.is_set()
        if stopped and isinstance(place, Path) and isinstance(target, Path) and place != target:
            _keep_partial(place, job.source, target, frames)
    return _Done(frames, sink.look, stopped=stopped)


def _in_parts(
    job: Job, reader: Film, target: Path | BinaryIO, work: _Work, settings: str, resume: bool
) -> _Done:
    """Paint the parts that are not there yet, then write the film from them."""
    assert isinstance(job.source, Path)
    assert isinstance(target, Path)
    container = codecs.container_of(target)
    _refuse_same(job.source, target)
    with closing(Parts(target)) as parts:
        place = parts.folder / f"film{target.suffix}"
        sink = film_sink(job, reader, place, container, work.warn)
        with _abandoning(sink, target):
            parts.take_up(_plan(job.source, job.window, settings, work.steady, sink), resume)
            if resumed := parts.frames:
                work.warn(f"going on after {resumed} frames, which an earlier start painted")
            if steady := work.steady:
                steady.restore(parts.state())
            pieces = PartSink(sink, parts, steady and (lambda: steady.state))
            passed = work.painted
            if work.elsewhere is not None and not parts.whole:
                for _ in range(resumed):
                    work.painted()
                work.elsewhere(
                    job, reader, sink, parts, container, work.painted, work.warn, work.stop
                )
                passed = _nothing  # it has told of them
            frames = parts.frames
            if not parts.whole and not work.stop.is_set():
                frames += work.run(Rest(reader, frames, passed), pieces)
            stopped = work.stop.is_set()
            if not stopped:
                pieces.close()
            if not frames and not stopped:
                raise StError("not one frame could be decoded")
            if frames:
                with closing(Film(job.source, job.window)) as again:
                    put_together(sink, again, parts.done, pieces.rest(), cut=stopped)
            sink.close()
        if stopped:
            go_on = ": start it again to go on" if parts.done else ""
            _keep_partial(place, job.source, target, frames, go_on)
        durable_rename(place, target)
        parts.forget()
    return _Done(frames, sink.look, resumed)


def _nothing() -> None:
    """Called for a frame that was told of before."""


def _plan(
    source: Path, window: Window, settings: str, steady: TemporalFilter | None, sink: FilmSink
) -> dict[str, Any]:
    """What decides the coded picture: the source, the part of it, the painter and the encoder."""
    status = source.stat()
    return {
        "source": [source.name, status.st_size, status.st_mtime_ns],
        "window": repr(window),
        "painter": [settings, steady.strength if steady else 0],
        **sink.plan,
    }


@contextmanager
def _abandoning(sink: Sink, target: Path | BinaryIO) -> Iterator[None]:
    """Let go of the sink on any failure, and tell FFmpeg's in a line."""
    try:
        yield
    except FFmpegError as error:
        sink.abandon()
        raise _told(error, target) from None
    except BaseException:
        sink.abandon()
        raise


def _open_sink(
    job: Job, reader: Reader, target: Path | BinaryIO, warn: Callable[[str], None]
) -> Sink:
    if isinstance(target, Path) and _is_pictures(target):
        if isinstance(reader, Film) and reader.others and job.sound:
            warn("pictures hold no sound or subtitles: left out")
        return PictureSink(target, reader.look.resized(job.size))
    if not isinstance(target, Path) and job.raw:
        return RawSink(target, reader.look, *job.raw)
    container = codecs.container_of(target) if isinstance(target, Path) else "matroska"
    return film_sink(job, reader, target, container, warn)


def film_sink(
    job: Job,
    reader: Reader,
    target: Path | BinaryIO,
    container: str,
    warn: Callable[[str], None],
    threads: int | None = None,
) -> FilmSink:
    """What the job's film is written by. threads: of the encoder, in place of what suits here.

    Raises BadInput: the container does not take the codec, or the codec not the choices.
    """
    look = reader.look.resized(job.size)
    film = reader if isinstance(reader, Film) else None
    codec = codecs.codec_for(container, job.codec, look.alpha)
    threads = threads or codecs.encoder_threads()
    encoding = Encoding(codec, job.quality, job.preset, job.sound, threads)
    return FilmSink(target, container, encoding, look, film, warn)


def _is_pictures(target: Path) -> bool:
    return is_sequence(target) or not target.suffix


@contextmanager
def _place(job: Job, target: Path | BinaryIO) -> Iterator[Path | BinaryIO]:
    """Where to write: beside the target for a film, renamed at the end."""
    if not isinstance(target, Path):
        yield target
    elif _is_pictures(target):
        _refuse_same(job.source, target if target.is_dir() else target.parent)
        yield target
    else:
        codecs.container_of(target)
        _refuse_same(job.source, target)
        with atomic_write(target) as part:
            yield part


def _refuse_same(source: Path | BinaryIO, target: Path) -> None:
    if not isinstance(source, Path):
        return
    if _is_pictures(source) and not source.is_dir():
        source = source.parent
    if source.exists() and target.exists() and source.samefile(target):
        raise BadInput(f"{printable(target)}: is the input, choose another output")


def _keep_partial(
    part: Path, source: Path | BinaryIO, target: Path, frames: int, again: str = ""
) -> NoReturn:
    """Name what a stop cut short so that nobody takes it for the whole film; raises Interrupted.

    again: how to go on, for the message.
    """
    if not frames:
        raise Interrupted("stopped before the first frame: nothing written")
    beside = target.with_stem(f"{target.stem}_partial")
    if isinstance(source, Path) and beside.exists() and beside.samefile(source):
        beside = target.with_stem(f"{target.stem}_partial-2")
    durable_rename(part, beside)
    raise Interrupted(f"stopped after {frames} frames, which are {printable(beside)}{again}")


def _told(error: FFmpegError, target: Path | BinaryIO) -> Exception:
    """FFmpeg's errors in a line: the system's as such (a full disk), its own with its words."""
    if isinstance(error, OSError) and error.errno and 0 < error.errno < 200:
        return OSError(error.errno, os.strerror(error.errno), _shown(target))
    return StError(f"{_shown(target)}: {printable(error.strerror, 100)}")


def _shown(target: Path | BinaryIO) -> str:
    return printable(target, 1000) if isinstance(target, Path) else "standard output"
