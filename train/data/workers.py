"""The processes that read pictures while the training computes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator

import cv2

from st.runtime.errors import BadInput
from st.train.method import Batch


@contextlib.contextmanager
def child_signal_kept() -> Iterator[None]:
    """torch's loader sets a handler for SIGCHLD and leaves it: a process that trained and then
    loaded TensorRT-RTX crashed when any child of its ended."""
    settable = hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if settable else None
    try:
        yield
    finally:
        if settable and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Each worker is one of many, so OpenCV's threads are put away before they are made: where it
    had used some, a worker waited forever for them when it did so itself."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def begin_worker(worker: int) -> None:
    """Ctrl-C reaches the workers too, and often SIGTERM: neither may look like a crash."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


def until(stop: threading.Event, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, up to a stop; workers that the same signal ended are no error then."""
    waiting = iter(batches)
    while not stop.is_set():
        try:
            batch = next(waiting, None)
        except BadInput as error:  # from a worker it comes with a traceback in its text
            raise BadInput(str(error).strip().rpartition("BadInput: ")[2]) from None
        except RuntimeError:
            if stop.is_set():
                return
            raise
        if batch is None:
            return
        yield batch
