"""The worker processes that read pictures during a training."""

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
    """Restore the handler of SIGCHLD, which torch's DataLoader replaces.

    With the loader's handler left in place, a process that loaded TensorRT-RTX after a training
    crashed when a child process ended.
    """
    settable = hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if settable else None
    try:
        yield
    finally:
        if settable and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Limit OpenCV to one thread while workers are started.

    There are several workers, so more threads gain nothing; and a worker that is forked after
    OpenCV has started its threads deadlocks on its first use of them.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def begin_worker(worker: int) -> None:
    """Let a worker end quietly: Ctrl-C and often SIGTERM reach the workers, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


def until(stop: threading.Event, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, until `stop` is set. Workers ended by the same signal are then no error.

    Raises BadInput: a worker could not read the pictures.
    """
    waiting = iter(batches)
    while not stop.is_set():
        try:
            batch = next(waiting, None)
        except BadInput as error:  # its text from a worker includes a traceback
            raise BadInput(str(error).strip().rpartition("BadInput: ")[2]) from None
        except RuntimeError:
            if stop.is_set():
                return
            raise
        if batch is None:
            return
        yield batch
