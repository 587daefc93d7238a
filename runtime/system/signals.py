"""Handle Ctrl-C and SIGTERM: finish cleanly, or at least remove unfinished files."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return

    def request(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Ended(SystemExit):
    """By SIGTERM."""


@contextmanager
def tidy_end() -> Iterator[None]:
    """SIGTERM ends the program as an exception would, so that unfinished files are removed.

    `stoppable` within it goes first. The exit code is what a shell calls such an end: 143.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Ended(128 + signal.SIGTERM)

    def once_more(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, _Ended):
            told(lost)
            return
        # It came in the middle of a destructor, where Python drops exceptions.
        again = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    told, sys.unraisablehook = sys.unraisablehook, once_more
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = told


@contextmanager
def quick_interrupt() -> Iterator[None]:
    """Ctrl-C ends the program at once, with one line: for imports that take seconds.

    Python raises KeyboardInterrupt wherever it is, which some extension modules turn into other
    errors. Nothing must be half written meanwhile.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, b"Aborted!\n")
        os._exit(128 + signal.SIGINT)

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
