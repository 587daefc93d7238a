"""One film from start to end: choose the writer, run, and never leave half a file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.error import FFmpegError

from st.runtime.errors import BadInput, StError, printable
from st.runtime.files import write_beside
from st.video import codecs
from st.video.masks import Masks
from st.video.pipeline import Paint, run
from st.video.raw import RawSink, RawSource
from st.video.sequence import PictureSink, PictureSource, is_sequence
from st.video.sink import Encoding, FilmSink, Sink
from st.video.source import Film
from st.video.window import Window

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
    """What came of a job. frames_per_second: of work, not of the film."""

    output: str
    frames: int
    width: int
    height: int
    damaged: int
    seconds: float
    frames_per_second: float
    interrupted: bool = False


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


def default_target(job: Job, reader: Reader) -> Path:
    """`in_stylized` beside `in`, with a suffix that holds what is kept. Raises BadInput."""
    if not isinstance(job.source, Path):
        raise BadInput("reading standard input: say where to write, -o FILE or -o -")
    if isinstance(reader, PictureSource):
        folder = job.source if job.source.is_dir() else job.source.parent
        folder = folder.resolve()
        return folder.with_name(f"{folder.name}_stylized") / "%05d.png"
    suffix = codecs.output_suffix(job.source, job.codec, reader.look.alpha)
    return job.source.with_name(f"{job.source.stem}_stylized{suffix}")


def perform(
    job: Job,
    reader: Reader,
    target: Path | BinaryIO,
    paint: Paint,
    workers: int = 2,
    *,
    warn: Callable[[str], None] = lambda line: None,
    painted: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
    masks: Masks | None = None,
) -> Result:
    """Do the job; `target` gets its name only when the film is whole.

    warn: gets one line for everything that could not be kept. painted: called once a frame.
    masks: of the paint's regions, where they move.
    stop: when set, the film ends there, playable. If no file stood under `target` it is found
        there, else beside it as NAME_partial.

    Raises:
        BadInput: choices that do not go together, or output and input are one file.
        Interrupted: it was stopped.
        StError, OSError: decoding, painting or writing failed; nothing is left behind.
    """
    stop = stop or threading.Event()
    began = time.monotonic()
    with _place(job, target) as place:
        sink = _open_sink(job, reader, place, warn)
        try:
            frames = run(reader, sink, paint, workers, painted, stop, masks)
            if not frames and not stop.is_set():
                raise StError("not one frame could be decoded")
            sink.close()
        except FFmpegError as error:
            sink.abandon()
            raise _told(error, target) from None
        except BaseException:
            sink.abandon()
            raise
        interrupted = stop.is_set()
        if interrupted and isinstance(place, Path) and isinstance(target, Path):
            _keep_partial(place, target, frames)
    if reader.damaged:
        warn(f"{reader.damaged} damaged frames or packets in the source: repaired or skipped")
    if isinstance(reader, Film) and reader.deinterlaced:
        warn("interlaced source: made progressive, as many frames as before")
    if interrupted:
        raise Interrupted(f"stopped after {frames} frames: {_shown(target)} ends there")
    seconds = time.monotonic() - began
    return Result(
        output=_shown(target),
        frames=frames,
        width=sink.look.upright().width,
        height=sink.look.upright().height,
        damaged=reader.damaged,
        seconds=round(seconds, 3),
        frames_per_second=round(frames / seconds, 2),
    )


def _open_sink(
    job: Job, reader: Reader, target: Path | BinaryIO, warn: Callable[[str], None]
) -> Sink:
    look = reader.look.resized(job.size)
    film = reader if isinstance(reader, Film) else None
    if isinstance(target, Path) and _is_pictures(target):
        if film and film.others and job.sound:
            warn("pictures hold no sound or subtitles: left out")
        return PictureSink(target, look)
    if not isinstance(target, Path) and job.raw:
        return RawSink(target, reader.look, *job.raw)
    container = codecs.container_of(target) if isinstance(target, Path) else "matroska"
    codec = codecs.codec_for(container, job.codec, look.alpha)
    encoding = Encoding(codec, job.quality, job.preset, job.sound)
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
        with write_beside(target) as part:
            yield part


def _refuse_same(source: Path | BinaryIO, target: Path) -> None:
    if not isinstance(source, Path):
        return
    if _is_pictures(source) and not source.is_dir():
        source = source.parent
    if source.exists() and target.exists() and source.samefile(target):
        raise BadInput(f"{printable(target)}: is the input, choose another output")


def _keep_partial(part: Path, target: Path, frames: int) -> None:
    """Rename an interrupted film out of the way of the good one that stands there."""
    if not frames:
        raise Interrupted("stopped before the first frame: nothing written")
    if target.exists() and not _is_pictures(target):
        beside = target.with_stem(f"{target.stem}_partial")
        part.chmod(target.stat().st_mode & 0o777)
        part.replace(beside)
        raise Interrupted(
            f"stopped after {frames} frames: {printable(target)} is as it was, "
            f"what was done is {printable(beside)}"
        )


def _told(error: FFmpegError, target: Path | BinaryIO) -> Exception:
    """FFmpeg's errors in a line: the system's as such (a full disk), its own with its words."""
    if isinstance(error, OSError) and error.errno and 0 < error.errno < 200:
        return OSError(error.errno, os.strerror(error.errno), _shown(target))
    return StError(f"{_shown(target)}: {printable(error.strerror, 100)}")


def _shown(target: Path | BinaryIO) -> str:
    return printable(target, 1000) if isinstance(target, Path) else "standard output"
