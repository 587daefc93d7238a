"""The Ray worker: paints segments of a video for the process that assembles it."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from av.error import FFmpegError
from av.packet import Packet

from st.runtime.errors import DISTRIBUTION, StError, printable
from st.runtime.painting.controls import Controls
from st.runtime.stylizer import Stylizer
from st.video.film.containers import MemoryFile
from st.video.film.reader import Film
from st.video.jobs.cut_points import NotSplittable, SegmentPlan, SegmentSource
from st.video.jobs.job import Job, film_sink
from st.video.jobs.pipeline import run
from st.video.jobs.segment_store import packets_to_arrays
from st.video.jobs.segments import SegmentSink
from st.video.jobs.upscale import with_upscaling

SAMPLE = 1 << 20  # bytes that are hashed at each end of a file


@dataclass(frozen=True)
class Fingerprint:
    """Identifies the contents of a file by its size and the hash of both ends."""

    size: int
    ends: bytes

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """Raises OSError."""
        digest, size = hashlib.sha256(), path.stat().st_size
        with path.open("rb") as file:
            digest.update(file.read(SAMPLE))
            file.seek(max(0, size - SAMPLE))
            digest.update(file.read(SAMPLE))
        return cls(size, digest.digest())


@dataclass(frozen=True)
class Task:
    """Everything that a worker needs to paint segments of a video.

    engine: name of the engine file. files: contents of this file and its companions, by name.
    settings, identity: of the Stylizer. plan: of the video's sink, see `FilmSink.plan`.
    container: FFmpeg's name of the output format. encoder_threads: the coded bytes depend on it.
    """

    engine: str
    files: dict[str, bytes]
    settings: Controls
    identity: str
    device: str
    threads: int
    source: Path
    fingerprint: Fingerprint
    job: Job
    container: str
    encoder_threads: int
    plan: dict[str, Any]
    release: str


@dataclass(frozen=True)
class Ready:
    """A worker that has started. problem: why it cannot work; "" if it can.

    needs_data: whether it cannot read the video's file.
    """

    where: str
    problem: str = ""
    needs_data: bool = False


@dataclass(frozen=True)
class Painted:
    """A painted segment. arrays: of its packets, see `packets_to_arrays`.

    not_splittable, problem: why there is no result; "" if there is one.
    """

    number: int
    arrays: dict[str, Any]
    not_splittable: str = ""
    problem: str = ""


def release() -> str:
    """The installed version of st."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


class SegmentWorker:
    """Opens the engine once, and paints one segment of the video after another."""

    def __init__(self) -> None:
        self._where = f"{socket.gethostname()} ({os.getpid()})"

    def begin(self, task: Task, data: Any = None) -> Ready:
        """Open engine, video and encoder. data: the video's bytes if it cannot read the file."""
        try:
            return Ready(self._where, self._begin(task, data))
        except FileNotFoundError:
            return Ready(self._where, needs_data=True)
        except (StError, FFmpegError, OSError, MemoryError) as error:
            return Ready(self._where, printable(error, 300) or type(error).__name__)

    def _begin(self, task: Task, data: Any) -> str:
        """Returns a problem, or "". Raises FileNotFoundError: the video is not readable here."""
        if task.release != release():
            return f"it has st {release()}, this machine {task.release}; install one release"
        self._task = task
        self._memory = None if data is None else memoryview(data)
        if data is None and not _same(task.source, task.fingerprint):
            raise FileNotFoundError
        self._folder = tempfile.TemporaryDirectory(prefix="st-ray-")
        for name, content in task.files.items():
            (Path(self._folder.name) / name).write_bytes(content)
        engine = Path(self._folder.name) / task.engine
        self._stylizer = Stylizer(engine, device=task.device, threads=task.threads)
        self._stylizer.take_settings(task.settings)
        if self._stylizer.identity != task.identity:
            return "its settings differ"
        with closing(self._open()) as film:
            self._job, self._paint = with_upscaling(task.job, film, self._stylizer)
            place = Path(self._folder.name) / f"film{task.source.suffix}"
            self._sink = film_sink(
                self._job, film, place, task.container, lambda line: None, task.encoder_threads
            )
        # Encoders select code by the processor, so equal frames may give different bytes.
        return (
            "" if self._sink.plan == task.plan else "its encoder would code the frames differently"
        )

    def paint(self, plan: SegmentPlan) -> Painted:
        """Decode, paint and encode one segment."""
        kept = _Kept()
        try:
            with closing(self._open()) as film:
                sink = SegmentSink(self._sink, kept)
                run(SegmentSource(film, plan), sink, self._paint, workers=1)
                sink.close()
            return Painted(plan.number, packets_to_arrays(kept.packets))
        except NotSplittable as error:
            return Painted(plan.number, {}, not_splittable=str(error))
        except (StError, FFmpegError, OSError, MemoryError) as error:
            problem = printable(error, 300) or type(error).__name__
            return Painted(plan.number, {}, problem=f"{self._where}: {problem}")

    def end(self) -> None:
        """Release all resources and delete temporary files."""
        with suppress(AttributeError):  # `begin` was not called
            self._sink.abandon()
            self._stylizer.close()
            self._folder.cleanup()

    def _open(self) -> Film:
        task = self._task
        source = task.source if self._memory is None else MemoryFile(self._memory)
        return Film(source, task.job.time_range)


class _Kept:
    """A `SegmentConsumer` in memory."""

    packets: Sequence[Packet[Any]] = ()

    def add(
        self, packets: Sequence[Packet[Any]], frames: int, last: bool, state: dict[str, Any]
    ) -> None:
        self.packets = packets


def _same(path: Path, wanted: Fingerprint) -> bool:
    try:
        return Fingerprint.of(path) == wanted
    except OSError:
        return False
