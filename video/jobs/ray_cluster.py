"""Paints the segments of a video on a Ray cluster.

Each worker opens the engine once and paints one segment after another. It decodes each segment
from the keyframe before it. This process paints whatever cannot be split, so the result always
equals that of a run without a cluster.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from st.runtime.engine.location import engine_path
from st.runtime.errors import MissingExtra, StError, Unavailable, printable
from st.runtime.loaded_engine import engine_files
from st.runtime.stylizer import Stylizer
from st.video.film.reader import Film
from st.video.film.writer import FilmSink
from st.video.jobs.cut_points import NotSplittable, SegmentPlan, split
from st.video.jobs.job import Callbacks, Job
from st.video.jobs.ray_worker import Fingerprint, Painted, Ready, SegmentWorker, Task, release
from st.video.jobs.segment_store import SegmentStore
from st.video.jobs.segments import segment_frames

ON_GPU = ("cuda", "rtx", "tensorrt")
MAX_SENT = 2 << 30  # bytes; larger videos are not sent to workers without access to the file
KNOCK = 5.0  # timeout of the first TCP connection, in seconds
CONNECT = 30.0  # timeout of ray.init at an address
BEGIN = 120.0  # timeout until the first worker has opened the engine
MAX_THREADS = 4
AHEAD = 64  # segments past the first missing one: early results stay in memory
TRIES = 3  # attempts per segment if its worker is lost
_POLL = 0.5


def connect(address: str) -> Any:
    """Connect, and return the module ray. address: host:port, ray://host:port, auto, or local.

    Raises MissingExtra: Ray is not installed. Unavailable: no cluster answers there.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("a Ray cluster", "scale") from None
    if ray.is_initialized():
        return ray
    shown = printable(address, 80)
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        try:
            socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()
        except (OSError, ValueError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise Unavailable(f"{shown}: no Ray cluster there ({why})") from None
    elif address not in ("auto", "local"):
        raise Unavailable(
            f"{shown}: not an address; give host:port, ray://host:port, auto or local"
        )
    trouble: list[Exception] = []

    def begin() -> None:  # ray.init retries for minutes and has no timeout
        try:
            ray.init(
                address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=None
            )
        except Exception as error:
            trouble.append(error)
        done.set()
        if not trouble:
            threading.Event().wait()  # Ray's processes end with the thread that started them

    done = threading.Event()
    threading.Thread(target=begin, name="ray", daemon=True).start()
    answered = done.wait(CONNECT if colon else BEGIN)
    if trouble:
        why = printable(str(trouble[0]).partition("\n")[0], 120)
        raise Unavailable(f"{shown}: no Ray cluster there ({why})")
    if not answered:
        raise Unavailable(f"{shown}: something listens there, but no Ray cluster answers")
    return ray


@dataclass(frozen=True)
class RayPainter:
    """Paints on a cluster.

    ray: the module that `connect` returned. engine: the name or path that opened the stylizer.
    threads: CPU threads per frame in a run without a cluster.
    """

    ray: Any
    engine: str
    stylizer: Stylizer
    threads: int

    def __call__(
        self,
        job: Job,
        film: Film,
        sink: FilmSink,
        store: SegmentStore,
        container: str,
        callbacks: Callbacks,
    ) -> None:
        """Paint and store the missing segments, until one cannot be split or a stop is requested.

        Raises:
            StError: painting failed on a worker. Unavailable: the cluster has no free worker.
        """
        assert isinstance(job.source, Path)
        try:
            plans = split(job.source, film, segment_frames(sink.video_format))
            if store.frames != sum(len(plan.times) for plan in plans[: len(store.done)]):
                raise NotSplittable("its finished segments have different lengths")
        except NotSplittable as error:
            callbacks.warn(f"the video is painted here, not on the Ray cluster: {error}")
            return
        left = plans[len(store.done) :]
        if not left:
            return
        path, threads = engine_path(self.engine), self.threads
        if self.stylizer.device == "cpu":  # few threads per frame are most efficient
            threads = min(threads, MAX_THREADS)
        task = Task(
            engine=path.name,
            files={file.name: file.read_bytes() for file in engine_files(path)},
            settings=self.stylizer.settings,
            identity=self.stylizer.identity,
            device=self.stylizer.device,
            threads=threads,
            source=job.source.absolute(),
            fingerprint=Fingerprint.of(job.source),
            job=job,
            container=container,
            encoder_threads=sink.threads,
            plan=sink.plan,
            release=release(),
        )
        workers = _Workers(self.ray, task, len(left), callbacks.warn)
        try:
            _distribute(workers, left, store, callbacks)
        finally:
            workers.end()


def _distribute(
    workers: _Workers,
    plans: list[SegmentPlan],
    store: SegmentStore,
    callbacks: Callbacks,
) -> None:
    """Distribute the segments, and store the results in order."""
    waiting, tries = deque(plans), dict.fromkeys((plan.number for plan in plans), 0)
    by_number = {plan.number: plan for plan in plans}
    early: dict[int, Painted] = {}
    end = plans[-1].number + 1  # the cluster paints the segments before this one
    while len(store.done) < end and not callbacks.stop.is_set():
        while waiting and waiting[0].number < min(end, len(store.done) + AHEAD) and workers.idle:
            workers.assign(waiting.popleft())
        for number, result in workers.results(_POLL):
            if result is None:
                tries[number] += 1
                if tries[number] == TRIES:
                    raise StError(
                        f"{TRIES} Ray workers were lost at segment {number + 1} of the video"
                    )
                waiting.appendleft(by_number[number])
            elif result.problem:
                raise StError(f"Ray worker {result.problem}")
            elif result.not_splittable:
                if number < end:
                    end, why = number, result.not_splittable
                    callbacks.warn(f"the video is painted here from segment {number + 1} on: {why}")
            else:
                early[number] = result
        while (number := len(store.done)) in early and number < end:
            plan = by_number[number]
            store.add_arrays(early.pop(number).arrays, len(plan.times), plan.last)
            for _ in plan.times:
                callbacks.frame_done()


class _Workers:
    """Actors on the cluster, and the task of each."""

    def __init__(self, ray: Any, task: Task, most: int, warn: Callable[[str], None]) -> None:
        """most: maximum number of workers. Raises Unavailable: the cluster is too small for one."""
        self._ray = ray
        self._warn = warn
        self._film = task.source
        self._size = task.fingerprint.size
        self._sent: Any = None
        self._began = False
        self.idle: list[Any] = []
        self._all: list[Any] = []
        self._beginning: dict[Any, Any] = {}
        self._painting: dict[Any, tuple[Any, int]] = {}
        self._why = ""
        self._waited = 0.0
        needs: dict[str, Any] = {"num_cpus": task.threads}
        kind, of_one = "CPU", task.threads
        if task.device in ON_GPU:
            needs = {"num_cpus": 1, "num_gpus": 1}
            kind, of_one = "GPU", 1
        # Count all resources, not only the free ones: those of the previous video may not be
        # released yet. A worker without resources waits while the others paint.
        have = ray.cluster_resources().get(kind, 0)
        room = int(have // of_one)
        if not room:
            more = "; use fewer threads" if kind == "CPU" else ""
            raise Unavailable(
                f"a Ray worker needs {of_one} {kind}, but the cluster has {have:g}{more}"
            )
        self._task = ray.put(task)
        actor = ray.remote(SegmentWorker).options(**needs)
        for _ in range(min(room, most)):
            worker = actor.remote()
            self._all.append(worker)
            self._beginning[worker.begin.remote(self._task)] = worker

    def assign(self, plan: SegmentPlan) -> None:
        worker = self.idle.pop()
        self._painting[worker.paint.remote(plan)] = (worker, plan.number)

    def results(self, seconds: float) -> list[tuple[int, Painted | None]]:
        """(segment number, result) of tasks that finish within `seconds`; the result is None if
        the worker was lost.

        Raises Unavailable: no worker is left, or none starts.
        """
        found: list[tuple[int, Painted | None]] = []
        refs = [*self._beginning, *self._painting]
        if not refs and not self.idle:
            why = f" ({self._why})" if self._why else ""
            raise Unavailable(f"no Ray worker is left{why}; finished segments are kept")
        done, _ = self._ray.wait(refs, num_returns=1, timeout=seconds) if refs else ([], [])
        for ref in done:
            if ref in self._beginning:
                self._has_begun(self._beginning.pop(ref), ref)
                continue
            worker, number = self._painting.pop(ref)
            result = self._get(ref)
            if result is not None:
                self.idle.append(worker)
            found.append((number, result))
        self._waited += 0 if done or self._began else seconds
        if self._waited > BEGIN:
            raise Unavailable(
                f"no Ray worker started within {BEGIN:g} seconds; is the cluster busy?"
            )
        return found

    def _has_begun(self, worker: Any, ref: Any) -> None:
        ready: Ready | None = self._get(ref)
        if ready is None:
            return
        if ready.needs_data:
            self._beginning[worker.begin.remote(self._task, self._bytes(ready.where))] = worker
        elif ready.problem:
            self._why = f"Ray worker {printable(ready.where, 60)}: {ready.problem}"
            self._warn(f"not used: {self._why}")
        else:
            self._began = True
            self.idle.append(worker)

    def _get(self, ref: Any) -> Any:
        """The result of a worker; None if it was lost. Raises StError: its code failed."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            why = printable(str(error).strip().rpartition("\n")[2], 200)
            raise StError(f"a Ray worker failed: {why}") from None
        except errors.RayError as error:
            self._why = printable(str(error).strip().rpartition("\n")[2], 200)
            return None

    def _bytes(self, where: str) -> Any:
        """A reference to the video in the cluster's object store; the video is stored once.

        Raises Unavailable: the video is too large.
        """
        if self._size > MAX_SENT:
            raise Unavailable(
                f"{printable(self._film)}: Ray worker {printable(where, 60)} has no such file, and "
                f"more than {MAX_SENT >> 30} GB are not sent; put it on a disk that all share"
            )
        if self._sent is None:
            # An array: Ray shares arrays among the workers of a machine, but copies other objects.
            self._sent = self._ray.put(np.fromfile(self._film, np.uint8))
        return self._sent

    def end(self) -> None:
        """Let the workers clean up, then release them."""
        ends = [worker.end.remote() for worker in self.idle]
        if ends:
            self._ray.wait(ends, num_returns=len(ends), timeout=KNOCK)
        for worker in self._all:
            self._ray.kill(worker)
